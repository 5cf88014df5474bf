package playground

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// command runs a command as its own process would.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// A playground in one process grows and shrinks while it runs: real stores, a real scheduler.
func TestInsideGrowsAndShrinks(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := filepath.Join(t.TempDir(), "cluster")
	r := start(t, "", inside(func(o *Options) {
		o.DataDir, o.Engine = dir, ""
		o.SchedulerConfig = file(t, "[replication]\nmax-replicas = 2\n")
	}))
	pd := r.waitFor(`(?m)^ready: (\S+)$`)[1]
	api, err := pdapi.New(pd)
	require.NoError(t, err)
	stores := func() []pdapi.Store {
		all, err := api.Stores(t.Context())
		require.NoError(t, err)
		return all
	}
	first := stores()[0].Store
	_, err = command(t, "scale-in", "--store", fmt.Sprint(first.ID))
	require.ErrorContains(t, err, "1 while need 2")
	require.ErrorContains(t, err, "scale-out")

	out, err := command(t, "scale-out", "--kv", "1")
	require.NoError(t, err, out)
	require.Contains(t, out, "store-3 is up at 127.0.0.1:")
	require.Len(t, stores(), 3)
	out, err = command(t, "display", "--at", pd)
	require.NoError(t, err)
	require.Contains(t, out, "store-3")
	require.Contains(t, out, dir)

	out, err = command(t, "scale-in", "--store", fmt.Sprint(first.ID))
	require.NoError(t, err, out)
	require.Contains(t, out, "was drained")
	require.Len(t, stores(), 2)
	gone := r.waitFor(`(?m)^(store-\d) was removed`)[1]
	require.NoDirExists(t, filepath.Join(dir, gone))
	regions, err := api.Regions(t.Context())
	require.NoError(t, err)
	for _, region := range regions {
		require.Len(t, region.Peers, 2)
	}
	out, err = command(t, "scale-out")
	require.NoError(t, err, out)
	require.Contains(t, out, gone+" is up", "the first free place is taken, with new data")

	_, err = command(t, "scale-in", "--store", "99")
	require.ErrorContains(t, err, "there is no store 99")
	_, err = command(t, "scale-in")
	require.ErrorContains(t, err, "--store ID")
	_, err = command(t, "scale-out", "--kv", "0")
	require.ErrorContains(t, err, "between 1 and")
	_, err = command(t, "display", "--at", "127.0.0.1:1")
	require.ErrorContains(t, err, "no playground of yours runs at 127.0.0.1:1")
	r.stop()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	_, err = command(t, "scale-out")
	require.ErrorContains(t, err, "no playground of yours runs; `shoal playground` starts one")
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left, "the socket is gone, and its directory")
}

// What a playground of processes starts and stops for others is its own: it dies with it, and its end is no news.
func TestProcessesGrowAndShrink(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := filepath.Join(t.TempDir(), "cluster")
	r := start(t, "good", func(o *Options) { o.DataDir = dir })
	r.up()
	ctx := context.Background()
	remote, err := findRemote(ctx, "")
	require.NoError(t, err)
	var added parts
	require.NoError(t, remote.ask(ctx, http.MethodPost, "/stores?count=2", &added))
	require.Equal(t, []string{"store-3", "store-4"}, []string{added.Parts[0].Name, added.Parts[1].Name})
	commands, err := os.ReadFile(filepath.Join(dir, commandsFile))
	require.NoError(t, err)
	require.Contains(t, string(commands), "# store-4\n")
	require.NoError(t, remote.ask(ctx, http.MethodDelete, "/stores/store-3", nil))
	require.NoDirExists(t, filepath.Join(dir, "store-3"))
	require.ErrorContains(t, remote.ask(ctx, http.MethodDelete, "/stores/store-3", nil), "there is no store store-3 here")
	require.ErrorContains(t, remote.ask(ctx, http.MethodDelete, "/stores/scheduler", nil), "there is no store scheduler here")
	require.ErrorContains(t, remote.ask(ctx, http.MethodPost, "/stores?count=99", nil), "there are 3 stores, and a playground has at most 20")
	// A store that was told to end before it began has no data.
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "store-4")); return err == nil }, 20*time.Second, 5*time.Millisecond)
	r.stop()
	require.NotContains(t, r.out.String(), "died")

	r = start(t, "good", func(o *Options) { o.DataDir = dir })
	r.waitFor("store-4 has data in .*, so it is started, too")
	r.waitFor(`store-4 +│`)
	r.stop()
}

// With two playgrounds one must be named.
func TestTwoPlaygrounds(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	a := start(t, "good", nil)
	a.up()
	b := start(t, "good", nil)
	b.up()
	_, err := command(t, "display")
	require.ErrorContains(t, err, "several playgrounds run; say which with --at")
	out, err := command(t, "display", "--at", fmt.Sprintf("127.0.0.1:%d", clientPort+b.offset))
	require.NoError(t, err)
	require.Contains(t, out, fmt.Sprintf("127.0.0.1:%d", storePort+b.offset))
	require.Equal(t, 3, strings.Count(out, "running"))
	b.stop()
	_, err = command(t, "display")
	require.NoError(t, err)
	a.stop()
}
