package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a scheduler or a store as a service manager runs it: with a configuration file and a socket for its news.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	news *net.UnixConn
	log  string
	url  string // of its HTTP side
}

func startProcess(t *testing.T, kind, url, settings string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "shoal") // a socket's name is limited to about a hundred bytes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	p := &process{t: t, log: filepath.Join(dir, "logs", kind+".log"), url: url}
	socket := filepath.Join(dir, "notify")
	p.news, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.news.Close()) })
	file := filepath.Join(dir, "config.toml")
	settings = fmt.Sprintf("memory-usage-limit = \"512MB\"\n%s\n[log.file]\nfilename = %q\n", strings.ReplaceAll(settings, "DIR", dir), p.log)
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	p.cmd = shoal(kind, "--config", file)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=60000000", "GOMEMLIMIT=", "GOMAXPROCS=")
	p.cmd.Stdout, p.cmd.Stderr = os.Stderr, os.Stderr
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	p.hears("READY=1")
	p.hears("WATCHDOG=1")
	return p
}

// hears waits for the next thing that the process tells its service manager.
func (p *process) hears(want string) {
	p.t.Helper()
	buf := make([]byte, 256)
	require.NoError(p.t, p.news.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := p.news.Read(buf)
	require.NoError(p.t, err)
	require.Equal(p.t, want, string(buf[:n]))
}

func (p *process) ask(method, path, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	require.NoError(p.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	return res.StatusCode, string(text)
}

// logged waits until a text is in the log.
func (p *process) logged(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		content, err := os.ReadFile(p.log)
		return err == nil && strings.Contains(string(content), text)
	}, time.Minute, 10*time.Millisecond, text)
}

// operate does to a process what its operators do, and stops it.
func (p *process) operate(method, levelPath, level string) {
	t := p.t
	t.Helper()
	code, _ := p.ask(method, levelPath, level)
	require.Equal(t, http.StatusOK, code)
	p.logged(`["the log level is changed"] [from=info] [to=debug]`)
	_, now := p.ask("GET", levelPath, "")
	require.Contains(t, now, "debug")
	code, _ = p.ask(method, levelPath, strings.ReplaceAll(level, "debug", "loud"))
	require.Equal(t, http.StatusBadRequest, code)

	_, metrics := p.ask("GET", "/metrics", "")
	require.Contains(t, metrics, "\ngo_gc_gomemlimit_bytes 5.36870912e+08\n")
	for path, sample := range map[string]string{"heap": "inuse_space", "profile?seconds=1": "cpu"} {
		code, profile := p.ask("GET", "/debug/pprof/"+path, "")
		require.Equal(t, http.StatusOK, code)
		z, err := gzip.NewReader(strings.NewReader(profile))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		require.Contains(t, string(text), sample)
	}

	require.NoError(t, os.Rename(p.log, p.log+".1"))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.logged("the log file is reopened")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.hears("STOPPING=1")
	require.NoError(t, p.cmd.Wait())
	p.logged("[stopped]")
}

// TestServicesUnderAServiceManager runs a scheduler and a store as services with log files.
func TestServicesUnderAServiceManager(t *testing.T) {
	offset := freeOffset(t)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port+offset) }
	scheduler := startProcess(t, "scheduler", "http://"+at(2379), fmt.Sprintf(
		"data-dir = \"DIR/data\"\nclient-urls = \"http://%s\"\npeer-urls = \"http://%s\"\nenable-pprof = true", at(2379), at(2380)))
	store := startProcess(t, "store", "http://"+at(20180), fmt.Sprintf(
		"storage.data-dir = \"DIR/data\"\npd.endpoints = [%q]\n[server]\naddr = %q\nstatus-addr = %q\nenable-pprof = true", at(2379), at(20160), at(20180)))
	require.Equal(t, "OK\n", must(t, "ctl", "--pd", at(2379), "kv", "put", "ready", "when it said so"))

	metrics := ""
	for _, p := range []*process{store, scheduler} {
		_, page := p.ask("GET", "/metrics", "")
		metrics += page
	}
	quota := regexp.MustCompile("\ntikv_server_cpu_cores_quota ([0-9]+)\n").FindStringSubmatch(metrics)
	require.NotNil(t, quota)
	cores, err := strconv.Atoi(quota[1])
	require.NoError(t, err)
	require.Contains(t, metrics, fmt.Sprintf("\ngo_sched_gomaxprocs_threads %d\n", cores+1), "the store's: a thread that waits for the disk keeps one")
	require.Contains(t, metrics, fmt.Sprintf("\ngo_sched_gomaxprocs_threads %d\n", cores), "the scheduler's")
	guide, err := os.ReadFile("../../docs/operating.md")
	require.NoError(t, err)
	for _, name := range regexp.MustCompile("`((?:tikv|pd|go|process)_[a-z_]+)`").FindAllStringSubmatch(string(guide), -1) {
		require.Contains(t, metrics, "# TYPE "+name[1]+" ", "the guide names it")
	}

	for _, level := range []string{"warn", "info"} {
		code, _ := store.ask("PUT", "/log-level", fmt.Sprintf(`{"log-level":%q}`, level))
		require.Equal(t, http.StatusOK, code)
		_, config := store.ask("GET", "/config", "")
		require.Contains(t, config, fmt.Sprintf(`"level":%q`, level), "what is in effect")
	}
	store.operate("PUT", "/log-level", `{"log-level":"debug"}`)
	scheduler.operate("POST", "/pd/api/v1/admin/log", `"debug"`)
}
