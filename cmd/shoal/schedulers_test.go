package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/bench"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// TestThreeSchedulers hands the lead of a group from one to the next, and kills the leader while clients read and write:
// neither they nor the stores notice more than a delay.
func TestThreeSchedulers(t *testing.T) {
	c := startCluster(t, filepath.Join(t.TempDir(), "cluster"), "--pd", "3")
	endpoints := strings.Split(c.pd, ",")
	require.Len(t, endpoints, 3)
	ctl := func(args ...string) string { return must(t, append([]string{"ctl", "--pd", c.pd}, args...)...) }
	var leader pdapi.Member
	leads := func() string {
		require.NoError(t, json.Unmarshal([]byte(ctl("member", "leader", "show", "-o", "json")), &leader))
		return leader.Name
	}
	require.Equal(t, 3, strings.Count(ctl("member"), "│ up "))
	for _, name := range []string{"scheduler-2", "scheduler-3"} {
		require.Equal(t, "The transfer command is submitted\n", ctl("member", "leader", "transfer", name))
		require.Eventually(t, func() bool { return leads() == name }, time.Minute, 100*time.Millisecond)
	}
	require.Equal(t, "The resign command is submitted\n", ctl("member", "leader", "resign"))
	require.Eventually(t, func() bool { return leads() != "scheduler-3" }, time.Minute, 100*time.Millisecond)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type outcome struct {
		result *bench.Result
		err    error
	}
	finished := make(chan outcome, 1)
	go func() {
		r, err := bench.RunRaw(ctx, bench.Raw{
			Options:  bench.Options{PD: c.pd, Clients: 8, Duration: time.Minute, Prefix: "load/"},
			Workload: bench.Mixed, ValueSize: 64, Keys: 200, Check: true,
		})
		finished <- outcome{r, err}
	}()
	require.Eventually(t, func() bool {
		out, err := shoal("ctl", "--pd", c.pd, "kv", "get", "load/000000000199").CombinedOutput()
		return err == nil && len(out) > 0
	}, time.Minute, 100*time.Millisecond)
	api, err := pdapi.New(c.pd)
	require.NoError(t, err)
	dead := leads()
	pid, err := strconv.Atoi(c.waitFor(dead + ` +│ +(\d+) │`)[1])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	again := c.waitFor(`(?s)` + dead + ` \(pid \d+\) died: signal: killed.*start it again with: \S+ (scheduler [^\n]+)\n`)[1]
	require.Eventually(t, func() bool {
		l, err := api.Leader(t.Context())
		return err == nil && l.Name != dead
	}, time.Minute, 100*time.Millisecond)
	allUp := func() bool {
		stores, err := api.Stores(t.Context())
		for _, s := range stores {
			if s.Store.StateName != "Up" {
				return false
			}
		}
		return err == nil && len(stores) == 3
	}
	require.Eventually(t, allUp, time.Minute, 100*time.Millisecond)
	require.Contains(t, ctl("member"), "│ down ")

	cmd := shoal(strings.Fields(again)...)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return !strings.Contains(ctl("member"), "│ down ") }, time.Minute, 100*time.Millisecond)
	stop()
	o := <-finished
	require.NoError(t, o.err)
	require.NoError(t, o.result.Check.Err(), "%v", o.result.Check)
	require.Zero(t, o.result.Total.Errors, o.result.FirstError)
	require.Positive(t, o.result.Total.Operations)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
	c.stop()
	require.Regexp(t, regexp.MustCompile(`(?m)^stopping`), c.printed())
}
