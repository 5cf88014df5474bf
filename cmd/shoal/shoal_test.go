package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/bench"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// With this variable set the test binary is shoal itself, and so are the processes that its playground starts.
const asShoal = "SHOAL_TEST_AS_SHOAL"

func TestMain(m *testing.M) {
	if os.Getenv(asShoal) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func shoal(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asShoal+"=1")
	return cmd
}

// must runs a command that has to succeed, and returns what it prints.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := shoal(args...).CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
	return string(out)
}

// cluster is a running playground.
type cluster struct {
	t    *testing.T
	cmd  *exec.Cmd
	pd   string
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *cluster) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *cluster) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *cluster) waitFor(pattern string) []string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	require.Eventually(c.t, func() bool { return re.MatchString(c.printed()) }, time.Minute, 10*time.Millisecond, pattern)
	return re.FindStringSubmatch(c.printed())
}

func startCluster(t *testing.T, dir string, flags ...string) *cluster {
	t.Helper()
	args := append([]string{"playground", "--data-dir", dir, "--port-offset", strconv.Itoa(freeOffset(t))}, flags...)
	c := &cluster{t: t, cmd: shoal(args...)}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil { // the test failed on its way; the children die with their parent
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
		if t.Failed() {
			t.Log(c.printed())
		}
	})
	c.pd = c.waitFor(`(?m)^ready: (\S+)$`)[1]
	return c
}

// stop asks the cluster to stop and sees that it does so without waiting for any of its time limits.
func (c *cluster) stop() {
	c.t.Helper()
	began := time.Now()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(c.t, c.cmd.Wait(), "a cluster that was asked to stop has not failed")
	require.Less(c.t, time.Since(began), 15*time.Second)
}

// freeOffset finds an offset at which all ports of a cluster are free.
func freeOffset(t *testing.T) int {
	for offset := 3000 + os.Getpid()%500*20; offset < 40000; offset += 1013 {
		free := true
		for _, port := range []int{2379, 2380, 2381, 2382, 2383, 2384, 20160, 20161, 20162, 20180, 20181, 20182} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
			if err != nil {
				free = false
				break
			}
			require.NoError(t, l.Close())
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free ports")
	return 0
}

// TestANewcomersHour does with real processes what the README tells to do, kills a store, and comes back the next day.
func TestANewcomersHour(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	c := startCluster(t, dir)
	ctl := func(args ...string) string { return must(t, append([]string{"ctl", "--pd", c.pd}, args...)...) }

	require.Equal(t, "OK\n", ctl("kv", "put", "hello", "world"))
	require.Equal(t, "world\n", ctl("kv", "get", "hello"))
	require.Equal(t, "OK\n", ctl("kv", "put", "--read-as", "hex", "68656c7000", "00ff"))
	require.Contains(t, ctl("kv", "scan", "--prefix", "hel"), `help\x00 │ \x00\xff`)
	require.JSONEq(t, `[{"key":"help\\x00","encoding":"escaped"},{"key":"hello","encoding":"escaped"}]`, ctl("kv", "scan", "i", "--reverse", "--keys-only", "-o", "json"))
	require.Equal(t, "OK\n", ctl("kv", "del", "hello", "never-there"))
	out, err := shoal("ctl", "--pd", c.pd, "kv", "get", "hello").CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "Error: there is no key 'hello'; `shoal ctl kv scan 'hello' --limit 5` shows the next ones\n", string(out))

	var stores []pdapi.Store
	require.NoError(t, json.Unmarshal([]byte(ctl("store", "-o", "json")), &stores))
	require.Len(t, stores, 3)
	var regions []pdapi.Region
	require.NoError(t, json.Unmarshal([]byte(ctl("region", "-o", "json")), &regions))
	require.Len(t, regions[0].Peers, 3)

	require.Contains(t, runExample(t, c.pd), "\nworld <nil>\n", "among what the client library logs")
	c.killUnderLoad("store-2")
	require.Equal(t, "OK\n", ctl("kv", "put", "day", "one"))
	c.stop()

	c = startCluster(t, dir)
	require.Equal(t, "one\n", ctl("kv", "get", "day"))
	c.stop()
}

// TestOneProcessOrMany moves a cluster from processes into one process and back: the data is the same.
func TestOneProcessOrMany(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	for i, flags := range [][]string{{"--in-process"}, nil, {"--in-process"}} {
		c := startCluster(t, dir, flags...)
		if i > 0 {
			require.Equal(t, "here\n", must(t, "ctl", "--pd", c.pd, "kv", "get", fmt.Sprint(i-1)))
		}
		must(t, "ctl", "--pd", c.pd, "kv", "put", fmt.Sprint(i), "here")
		c.stop()
	}
}

// runExample runs the README's Go program, with the address of this cluster in place of the usual one.
func runExample(t *testing.T, pd string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)[1]
	program = bytes.ReplaceAll(program, []byte("127.0.0.1:2379"), []byte(pd))
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, program, 0o600))
	cmd := exec.Command("go", "run", file)
	var out bytes.Buffer
	cmd.Stderr = &out
	printed, err := cmd.Output()
	require.NoError(t, err, "%s", out.String())
	return string(printed)
}

// killUnderLoad kills a store while clients read and write, starts it again by its written command line, and sees that nobody lost
// anything.
func (c *cluster) killUnderLoad(name string) {
	t := c.t
	t.Helper()
	pid, err := strconv.Atoi(c.waitFor(name + ` +│ +(\d+) │`)[1])
	require.NoError(t, err)
	type outcome struct {
		result *bench.Result
		err    error
	}
	finished := make(chan outcome, 1)
	go func() {
		r, err := bench.RunRaw(t.Context(), bench.Raw{
			Options:  bench.Options{PD: c.pd, Clients: 8, Duration: 6 * time.Second, Prefix: "load/"},
			Workload: bench.Mixed, ValueSize: 64, Keys: 200, Check: true,
		})
		finished <- outcome{r, err}
	}()
	loaded := func() bool {
		out, err := shoal("ctl", "--pd", c.pd, "kv", "get", "load/000000000199").CombinedOutput()
		return err == nil && len(out) > 0
	}
	require.Eventually(t, loaded, 30*time.Second, 100*time.Millisecond)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	again := c.waitFor(`(?s)` + name + ` \(pid \d+\) died: signal: killed.*start it again with: \S+ (store [^\n]+)\n`)[1]

	cmd := shoal(strings.Fields(again)...)
	require.NoError(t, cmd.Start())
	defer func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait())
	}()
	o := <-finished
	require.NoError(t, o.err)
	require.NoError(t, o.result.Check.Err(), "%v", o.result.Check)
	require.Zero(t, o.result.Total.Errors, o.result.FirstError)
	require.Positive(t, o.result.Total.Operations)
}

// TestAStoreWithoutASchedulerCanBeStopped sees that the first signal ends the wait for a scheduler.
func TestAStoreWithoutASchedulerCanBeStopped(t *testing.T) {
	log := filepath.Join(t.TempDir(), "store.log")
	cmd := shoal("store", "--pd", "127.0.0.1:1", "--addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--data-dir", t.TempDir(), "-f", log)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "starting a store")
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

func TestMistakesEndWithOne(t *testing.T) {
	for want, args := range map[string][]string{
		"\"no-such-command\" is not a command of":  {"no-such-command"},
		"(did you mean raftstore.prevote?)":        {"store", "--config-check", "-C", sample(t, "[raftstore]\nprevot = true")},
		"cannot be reached":                        {"ctl", "--pd", "127.0.0.1:1", "kv", "get", "k"},
		"--workload is \"scan\"":                   {"bench", "raw", "--workload", "scan"},
		"client-urls has \"x\"; each must be http": {"scheduler", "--client-urls", "x"},
	} {
		out, err := shoal(args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%v", args)
		require.Equal(t, 1, exit.ExitCode(), "%v", args)
		require.Contains(t, string(out), want)
		require.NotContains(t, string(out), "goroutine", "an error is no crash")
	}
}

func sample(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "store.toml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestHelpIsThere(t *testing.T) {
	require.Contains(t, must(t), "shoal playground")
	require.Contains(t, must(t, "-V"), "Release Version:")
	require.Equal(t, must(t, "-V"), must(t, "version"))
	walk(command(), func(c *cobra.Command) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.Contains(t, must(t, append(strings.Fields(c.CommandPath())[1:], "--help")...), "Usage:", c.CommandPath())
	})
}
