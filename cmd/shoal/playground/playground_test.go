package playground

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// output is what the playground prints, readable while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a playground of fakes.
type running struct {
	t       *testing.T
	out     *output
	signals chan os.Signal
	outcome chan error
	offset  int
}

func start(t *testing.T, mode string, change func(*Options)) *running {
	t.Helper()
	t.Setenv(fakeEnv, mode)
	self, err := os.Executable()
	require.NoError(t, err)
	r := &running{t: t, out: &output{}, signals: make(chan os.Signal, 2), outcome: make(chan error, 1), offset: freeOffset(t)}
	opts := &Options{Stores: 2, Schedulers: 1, Host: "127.0.0.1", PortOffset: r.offset, binary: self}
	if change != nil {
		change(opts)
	}
	go func() { r.outcome <- Run(opts, r.out, r.signals) }()
	return r
}

// freeOffset finds an offset at which nobody listens, below the ports from which systems take those of outgoing connections.
func freeOffset(t *testing.T) int {
	for offset := 4000 + os.Getpid()%400*20; offset < 12500; offset += 97 {
		o := &Options{Stores: 3, Schedulers: 3, Host: "127.0.0.1", PortOffset: offset}
		if requireFree(o.plan(t.TempDir())) == nil {
			return offset
		}
	}
	t.Fatal("no free ports")
	return 0
}

func (r *running) waitFor(pattern string) []string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	require.Eventually(r.t, func() bool { return re.MatchString(r.out.String()) }, 20*time.Second, 5*time.Millisecond, pattern)
	return re.FindStringSubmatch(r.out.String())
}

// up waits until the cluster is ready and every fake has found itself: the fake scheduler does not wait for the stores.
func (r *running) up() {
	r.t.Helper()
	r.waitFor(`(?m)^ready: \S+$`)
	for _, name := range []string{"scheduler", "store-1", "store-2"} {
		log := strings.TrimSpace(r.waitFor(`│ ([^│]+` + name + `\.log) +│`)[1])
		require.Eventually(r.t, func() bool {
			text, err := os.ReadFile(log)
			return err == nil && strings.HasSuffix(string(text), "begins\n")
		}, 20*time.Second, 5*time.Millisecond)
	}
}

func (r *running) stop() {
	r.t.Helper()
	r.signals <- syscall.SIGINT
	require.NoError(r.t, <-r.outcome)
}

func (r *running) pid(name string) int {
	pid, err := strconv.Atoi(r.waitFor(name + ` +│ +(\d+) │`)[1])
	require.NoError(r.t, err)
	return pid
}

func TestUpAndDown(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := start(t, "good", nil)
	r.up()
	addr := r.waitFor(`(?m)^ready: (\S+)$`)[1]
	require.Equal(t, fmt.Sprintf("127.0.0.1:%d", clientPort+r.offset), addr)
	for _, name := range []string{"scheduler", "store-1", "store-2"} {
		require.NoError(t, syscall.Kill(r.pid(name), 0), "the printed pid is a process")
	}
	require.Contains(t, r.out.String(), fmt.Sprintf("127.0.0.1:%d", storePort+1+r.offset))
	pid := r.pid("store-2")
	r.stop()
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "shoal-playground-*"))
	require.NoError(t, err)
	require.Empty(t, left, "temporary data is removed")
}

func TestDataIsKeptWhereItWasAskedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my cluster")
	r := start(t, "good", func(o *Options) { o.DataDir = dir })
	r.up()
	r.stop()
	for _, name := range []string{"scheduler", "store-1", "store-2"} {
		require.DirExists(t, filepath.Join(dir, name))
		log, err := os.ReadFile(filepath.Join(dir, name+".log"))
		require.NoError(t, err)
		require.Contains(t, string(log), "ends", "stopped gracefully")
	}
	commands, err := os.ReadFile(filepath.Join(dir, commandsFile))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^# store-2\n\S+ store --pd=\S+ --addr=\S+ --status-addr=\S+ '--data-dir=.*/my cluster/store-2'$`, string(commands))

	again := start(t, "good", func(o *Options) { o.DataDir = dir })
	again.up()
	again.stop()
}

func TestADeathIsReported(t *testing.T) {
	r := start(t, "good", nil)
	r.up()
	require.NoError(t, syscall.Kill(r.pid("store-1"), syscall.SIGKILL))
	r.waitFor(`store-1 \(pid \d+\) died: signal: killed; the end of \S+/store-1.log:\n  \| fake store begins\nstart it again with: \S+ store`)
	require.NoError(t, syscall.Kill(r.pid("store-2"), syscall.SIGKILL))
	require.EqualError(t, <-r.outcome, "no store is left")
}

// TestAStoreStartedByHandCounts kills every store after another process has taken the place of one.
func TestAStoreStartedByHandCounts(t *testing.T) {
	r := start(t, "good", nil)
	r.up()
	require.NoError(t, syscall.Kill(r.pid("store-1"), syscall.SIGKILL))
	r.waitFor(`store-1 \(pid \d+\) died`)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", storePort+r.offset))
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.NoError(t, syscall.Kill(r.pid("store-2"), syscall.SIGKILL))
	r.waitFor(`store-2 \(pid \d+\) died`)
	r.stop()
}

func TestASchedulerThatDoesNotComeUp(t *testing.T) {
	r := start(t, "broken-scheduler", nil)
	require.EqualError(t, <-r.outcome, "the scheduler did not come up")
	require.Contains(t, r.out.String(), "died: exit status 3")
	require.Contains(t, r.out.String(), "| no way to live")
}

func TestTheSecondSignalKills(t *testing.T) {
	r := start(t, "deaf", nil)
	r.up()
	r.signals <- syscall.SIGINT // asks; the children do not listen
	r.waitFor(`stopping`)
	r.signals <- syscall.SIGINT // the stores
	r.signals <- syscall.SIGINT // the scheduler
	require.NoError(t, <-r.outcome)
}

func TestTakenPortsAreNamed(t *testing.T) {
	offset := freeOffset(t)
	addr := fmt.Sprintf("127.0.0.1:%d", statusPort+1+offset)
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	r := start(t, "good", func(o *Options) { o.PortOffset = offset })
	err = <-r.outcome
	require.ErrorContains(t, err, addr+" (store-2): ")
	require.ErrorContains(t, err, "--port-offset")
}

// Three schedulers know each other, and every store knows all three.
func TestThreeSchedulersArePlanned(t *testing.T) {
	o := &Options{Stores: 2, Schedulers: 3, Host: "127.0.0.1", PortOffset: 10}
	specs := o.plan("/d")
	require.Len(t, specs, 5)
	for i, want := range []struct{ name, client, peer string }{
		{"scheduler-1", "127.0.0.1:2389", "127.0.0.1:2390"},
		{"scheduler-2", "127.0.0.1:2391", "127.0.0.1:2392"},
		{"scheduler-3", "127.0.0.1:2393", "127.0.0.1:2394"},
	} {
		require.Equal(t, want.name, specs[i].name)
		require.False(t, specs[i].store)
		require.Equal(t, []string{want.client, want.peer}, specs[i].ports)
		require.Equal(t, []string{
			"scheduler", "--name=" + want.name, "--data-dir=/d/" + want.name,
			"--client-urls=http://" + want.client, "--peer-urls=http://" + want.peer,
			"--initial-cluster=scheduler-1=http://127.0.0.1:2390,scheduler-2=http://127.0.0.1:2392,scheduler-3=http://127.0.0.1:2394",
		}, specs[i].args)
	}
	for _, s := range specs[3:] {
		require.True(t, s.store)
		require.Contains(t, s.args, "--pd=127.0.0.1:2389,127.0.0.1:2391,127.0.0.1:2393")
	}
}

// One of three schedulers may die; the playground says so and goes on.
func TestThreeSchedulersUpAndDown(t *testing.T) {
	dir := t.TempDir()
	r := start(t, "good", func(o *Options) { o.Schedulers, o.DataDir = 3, dir })
	addr := r.waitFor(`(?m)^ready: (\S+)$`)[1]
	require.Len(t, strings.Split(addr, ","), 3)
	require.NoError(t, syscall.Kill(r.pid("scheduler-2"), syscall.SIGKILL))
	r.waitFor(`scheduler-2 \(pid \d+\) died: signal: killed`)
	r.stop()
}

// Data of a group of another size is not started on.
func TestTheNumberOfSchedulersStays(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"scheduler-1", "scheduler-2", "scheduler-3"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name, "member"), 0o700))
	}
	for n := 1; n <= 4; n++ {
		err := (&Options{Schedulers: n}).requireSameGroup(dir, "pebble")
		if n == 3 {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "holds the data of a cluster with 3 schedulers: say --pd 3")
		}
	}
	require.NoError(t, (&Options{Schedulers: 2}).requireSameGroup(t.TempDir(), "mem"))
	require.ErrorContains(t, (&Options{Schedulers: 3}).requireSameGroup(dir, "mem"), "cannot go on with an engine in memory")
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`--mode is "full"`:        func(o *Options) { o.Mode = "full" },
		"--pd is 8":               func(o *Options) { o.Schedulers = 8 },
		"--kv is 0":               func(o *Options) { o.Stores = 0 },
		"--kv is 21":              func(o *Options) { o.Stores = 21 },
		"--port-offset is 60000":  func(o *Options) { o.PortOffset = 60000 },
		"--pd.port is 65530":      func(o *Options) { o.SchedulerPort = 65530 },
		"--kv.port is -1":         func(o *Options) { o.StorePort = -1 },
		"--db.timeout is -1":      func(o *Options) { o.ReadyWithin = -1 },
		"--port-offset is -1":     func(o *Options) { o.PortOffset = -1 },
		`--host is "0.0.0.0"`:     func(o *Options) { o.Host = "0.0.0.0" },
		`--host is ""`:            func(o *Options) { o.Host = "" },
		"--verbose prints":        func(o *Options) { o.InProcess, o.Verbose = true, true },
		"--tag and --data-dir":    func(o *Options) { o.Tag, o.DataDir = "t", "d" },
		`--tag is "../elsewhere"`: func(o *Options) { o.Tag = "../elsewhere" },
	} {
		opts := &Options{Stores: 3, Schedulers: 1, Host: "127.0.0.1"}
		require.NoError(t, opts.validate())
		change(opts)
		require.ErrorContains(t, Run(opts, &output{}, nil), want)
	}
}

// static is a scheduler that always knows the same.
type static struct {
	stores, regions error
	up              int
	region          *pdapi.Region
}

func (s *static) Stores(context.Context) ([]pdapi.Store, error) {
	list := make([]pdapi.Store, s.up+1) // one more that is not up
	for i := range s.up {
		list[i].Store.StateName = "Up"
	}
	return list, s.stores
}

func (s *static) Regions(context.Context) ([]pdapi.Region, error) {
	if s.region == nil {
		return nil, s.regions
	}
	return []pdapi.Region{*s.region}, s.regions
}

func TestWhatIsMissing(t *testing.T) {
	region := func(peers, pending int, led bool) *pdapi.Region {
		r := &pdapi.Region{ID: 7, Peers: make([]pdapi.Peer, peers), Pending: make([]pdapi.Peer, pending)}
		if led {
			r.Leader = &pdapi.Peer{}
		}
		return r
	}
	for _, tc := range []struct {
		cluster *static
		stores  int
		want    string
	}{
		{&static{stores: errors.New("silence")}, 3, "silence"},
		{&static{up: 2}, 3, "2 of 3 stores are up"},
		{&static{up: 3}, 3, "there is no region yet"},
		{&static{up: 3, regions: errors.New("silence")}, 3, "silence"},
		{&static{up: 3, region: region(1, 0, true)}, 3, "region 7 has 1 of 3 replicas"},
		{&static{up: 3, region: region(3, 1, true)}, 3, "region 7 has 2 of 3 replicas"},
		{&static{up: 3, region: region(3, 0, false)}, 3, "region 7 has no leader"},
		{&static{up: 3, region: region(3, 0, true)}, 3, ""},
		{&static{up: 5, region: region(3, 0, true)}, 5, ""},
		{&static{up: 1, region: region(1, 0, true)}, 1, ""},
	} {
		require.Equal(t, tc.want, whatIsMissing(t.Context(), tc.cluster, tc.stores, 3))
	}
}

func TestLastLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	require.Contains(t, lastLines(name, 3)[0], "no such file")
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	require.NoError(t, os.WriteFile(name, []byte(text.String()), 0o600))
	require.Equal(t, []string{"line 4998", "line 4999"}, lastLines(name, 2))
	require.NoError(t, os.WriteFile(name, []byte("only"), 0o600))
	require.Equal(t, []string{"only"}, lastLines(name, 2))
}

func TestCommandLineCanBePasted(t *testing.T) {
	require.Equal(t, `/bin/shoal store '--data-dir=/a b/it'\''s'`, commandLine("/bin/shoal", &spec{args: []string{"store", "--data-dir=/a b/it's"}}))
}

func TestEngineGoesToTheStores(t *testing.T) {
	for engine, want := range map[string]string{"": "", "pebble": "--engine=pebble", "badger": "--engine=badger", "mem": "--engine=mem"} {
		o := &Options{Stores: 2, Schedulers: 1, Host: "127.0.0.1", Engine: engine}
		require.NoError(t, o.validate())
		for _, s := range o.plan("/data") {
			line := commandLine("shoal", s)
			require.Equal(t, s.store && want != "", strings.Contains(line, "--engine"), line)
			if s.store {
				require.Contains(t, line, want)
			}
		}
	}
	o := &Options{Stores: 2, Schedulers: 1, Host: "127.0.0.1", Engine: "rocks"}
	require.ErrorContains(t, o.validate(), `--engine is "rocks"; it must be one of pebble, badger, mem`)
}
