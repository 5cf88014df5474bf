package dashboard_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const soon, poll = 30 * time.Second, 50 * time.Millisecond

// browser is a headless Chromium with one page, told what to do over a pair of pipes in the DevTools protocol.
type browser struct {
	t       *testing.T
	to      *os.File
	session string

	mu      sync.Mutex
	lastID  int
	waiting map[int]chan message
	// complaints are what the page has written to the console as errors or warnings, and exceptions.
	complaints []string
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// newBrowser is nil on a machine without Chromium: what a page does can be seen only in a browser, and to build and test Shoal takes none.
func newBrowser(t *testing.T) *browser {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Log("there is no Chromium here: the page is not tried in a browser")
		return nil
	}
	fromTest, to, err := os.Pipe()
	require.NoError(t, err)
	from, toTest, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
		"--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "about:blank")
	cmd.ExtraFiles = []*os.File{fromTest, toTest} // it reads 3 and writes 4
	require.NoError(t, cmd.Start())
	require.NoError(t, fromTest.Close())
	require.NoError(t, toTest.Close())
	b := &browser{t: t, to: to, waiting: make(map[int]chan message)}
	var reading sync.WaitGroup
	reading.Go(func() { b.read(from) })
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil)
		_ = cmd.Wait()
		_ = to.Close()
		reading.Wait()
		_ = from.Close()
	})
	var target struct{ TargetID, SessionID string }
	require.NoError(t, json.Unmarshal(b.call("Target.createTarget", object{"url": "about:blank"}), &target))
	require.NoError(t, json.Unmarshal(b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}), &target))
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil)
	}
	return b
}

type object = map[string]any

// read takes in what the browser says, each message ended by a zero byte, until it is gone.
func (b *browser) read(from *os.File) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line[:len(line)-1], &m) == nil {
			b.take(m)
		}
	}
}

func (b *browser) take(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answer := b.waiting[m.ID]; m.ID != 0 && answer != nil {
		answer <- m
		delete(b.waiting, m.ID)
		return
	}
	var p struct {
		Type  string
		Entry struct{ Level string }
	}
	_ = json.Unmarshal(m.Params, &p)
	if m.Method == "Runtime.exceptionThrown" || m.Method == "Runtime.consoleAPICalled" && (p.Type == "error" || p.Type == "warning") ||
		m.Method == "Log.entryAdded" && (p.Entry.Level == "error" || p.Entry.Level == "warning") {
		b.complaints = append(b.complaints, string(m.Params))
	}
}

// call waits for the answer.
func (b *browser) call(method string, params object) json.RawMessage {
	b.t.Helper()
	answer := make(chan message, 1)
	b.mu.Lock()
	b.lastID++
	ask := object{"id": b.lastID, "method": method}
	b.waiting[b.lastID] = answer
	b.mu.Unlock()
	if params != nil {
		ask["params"] = params
	}
	if b.session != "" {
		ask["sessionId"] = b.session
	}
	line, err := json.Marshal(ask)
	require.NoError(b.t, err)
	_, err = b.to.Write(append(line, 0))
	require.NoError(b.t, err)
	select {
	case m := <-answer:
		require.Empty(b.t, m.Error, "%s", method)
		return m.Result
	case <-time.After(soon):
		require.FailNow(b.t, "the browser does not answer", method)
		return nil
	}
}

// open shows a page in a window of some size.
func (b *browser) open(url string, width, height int, scheme string) {
	b.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	b.call("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}})
	b.call("Page.navigate", object{"url": url})
}

// eval is the value of a JavaScript expression, awaited.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var res struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	require.NoError(b.t, json.Unmarshal(b.call("Runtime.evaluate", object{"expression": expression, "awaitPromise": true, "returnByValue": true}), &res))
	require.Nil(b.t, res.ExceptionDetails, expression)
	return res.Result.Value
}

// becomes waits until an expression is true.
func (b *browser) becomes(expression string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.eval("!!("+expression+")") == true }, soon, poll, expression)
}

// quiet wants the console to be empty.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.complaints)
}

// shoot writes a picture of the whole page.
func (b *browser) shoot(file string) {
	var res struct {
		CSSContentSize object
		Data           string
	}
	require.NoError(b.t, json.Unmarshal(b.call("Page.getLayoutMetrics", nil), &res))
	clip := res.CSSContentSize
	clip["scale"] = 1
	require.NoError(b.t, json.Unmarshal(b.call("Page.captureScreenshot", object{"captureBeyondViewport": true, "clip": clip}), &res))
	png, err := base64.StdEncoding.DecodeString(res.Data)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(file, png, 0o600))
}
