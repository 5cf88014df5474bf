package playground

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
)

func inside(change func(*Options)) func(*Options) {
	return func(o *Options) {
		o.InProcess, o.Engine = true, config.EngineMem
		if change != nil {
			change(o)
		}
	}
}

// TestInside runs a cluster in this process, with configuration files, and looks at its parts over the network; goleak sees
// that nothing of it stays.
func TestInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	r := start(t, "", inside(func(o *Options) {
		o.DataDir, o.Stores, o.Schedulers = dir, 2, 3
		o.StoreConfig = file(t, "[raftstore]\nraft-log-gc-threshold = 77\n[server]\nadvertise-addr = \"10.0.0.1:99\"\n")
		o.SchedulerConfig = file(t, "name = \"nobody\"\njoin = \"http://10.0.0.1:1\"\n[replication]\nmax-replicas = 1\n")
	}))
	pd := r.waitFor(`(?m)^ready: (\S+)$`)[1]
	require.Equal(t, fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", clientPort+r.offset, clientPort+2+r.offset, clientPort+4+r.offset), pd)
	for i := range 2 {
		require.Equal(t, os.Getpid(), r.pid(fmt.Sprintf("store-%d", i+1)))
		cfg := get(t, fmt.Sprintf("http://127.0.0.1:%d/config", statusPort+i+r.offset))
		require.Contains(t, cfg, `"raft-log-gc-threshold":77`)
		require.Contains(t, cfg, fmt.Sprintf(`"advertise-addr":"127.0.0.1:%d"`, storePort+i+r.offset))
	}
	require.Eventually(t, func() bool { // a follower hears of the leader a moment later
		return strings.Contains(get(t, fmt.Sprintf("http://127.0.0.1:%d/pd/api/v1/regions", clientPort+r.offset)), `"count":1`)
	}, 30*time.Second, 10*time.Millisecond)
	second := options(func(o *Options) { o.DataDir, o.PortOffset = dir, freeOffset(t) })
	require.ErrorContains(t, Run(second, io.Discard, nil), "another playground runs on "+dir)
	r.stop()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for _, name := range []string{"scheduler-1", "scheduler-2", "scheduler-3", "store-1", "store-2"} {
		require.DirExists(t, filepath.Join(dir, name))
		require.FileExists(t, filepath.Join(dir, name+".log"))
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.toml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// TestInsideIsLeftBeforeItStands asks to stop as soon as there is something to stop.
func TestInsideIsLeftBeforeItStands(t *testing.T) {
	dir := t.TempDir()
	r := start(t, "", inside(func(o *Options) { o.DataDir = dir }))
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "scheduler"))
		return err == nil
	}, 30*time.Second, time.Millisecond)
	r.stop()
	require.NotContains(t, r.out.String(), "ready:")
}

// What is wrong is told at once, with the part that it is about.
func TestInsideSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "store-1"), nil, 0o600))
	r := start(t, "", inside(func(o *Options) { o.DataDir, o.Engine = dir, config.EnginePebble }))
	require.ErrorContains(t, <-r.outcome, "store-1: ")

	r = start(t, "", inside(func(o *Options) { o.Engine = config.EngineBadger }))
	require.ErrorContains(t, <-r.outcome, `storage.engine is "badger", which this program does not have`)
}

func TestHurried(t *testing.T) {
	signals := make(chan os.Signal, 1)
	p := &playground{signals: signals}
	require.NoError(t, p.hurried(func() {}))
	signals <- syscall.SIGINT
	never := make(chan struct{})
	require.ErrorContains(t, p.hurried(func() { <-never }), "stopped at once")
	close(never)
}

// TestALateClusterIsGivenUp has more stores than will ever come: a fake scheduler knows of two.
func TestALateClusterIsGivenUp(t *testing.T) {
	r := start(t, "good", func(o *Options) { o.Stores, o.ReadyWithin = 3, 1 })
	// What is missing then depends on how fast the fakes come up.
	require.ErrorContains(t, <-r.outcome, "the cluster is not ready after 1 s (--db.timeout): ")
}
