// Package schedulertest starts real schedulers on loopback for the tests of everything that needs one.
package schedulertest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/shoal-kv/shoal/scheduler/server"
)

const (
	startBy = 20 * time.Second
	poll    = 5 * time.Millisecond
)

// Config is a scheduler of its own on free ports, with its data in a directory of the test's.
func Config(t testing.TB) server.Config {
	t.Helper()
	return server.Config{
		Name: "scheduler", DataDir: t.TempDir(),
		ClientURLs: []string{FreeURL(t)}, PeerURLs: []string{FreeURL(t)},
		Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
	}
}

// Start runs a scheduler until it leads, and closes it when the test ends.
func Start(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	s := Run(t, cfg)
	t.Cleanup(s.Close)
	return s
}

// Run is Start for a test that closes the scheduler itself.
func Run(t testing.TB, cfg server.Config) *server.Server {
	t.Helper()
	s, err := server.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), startBy)
	defer cancel()
	require.NoError(t, s.Start(ctx))
	require.Eventually(t, s.Leads, startBy, poll, "the scheduler does not come to lead")
	return s
}

// FreeURL is http://127.0.0.1 with a port that was free a moment ago.
func FreeURL(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return fmt.Sprintf("http://%s", l.Addr())
}

// Group is the configurations of n schedulers that begin a group together, named pd1, pd2, ….
func Group(t testing.TB, n int) []server.Config {
	t.Helper()
	group := make([]server.Config, n)
	var initial []string
	for i := range group {
		group[i] = Config(t)
		group[i].Name = fmt.Sprintf("pd%d", i+1)
		initial = append(initial, group[i].Name+"="+group[i].PeerURLs[0])
	}
	for i := range group {
		group[i].InitialCluster = strings.Join(initial, ",")
	}
	return group
}

// RunGroup runs the schedulers of a group until all of them have started. The caller closes them.
func RunGroup(t testing.TB, group []server.Config) []*server.Server {
	t.Helper()
	servers, errs := make([]*server.Server, len(group)), make([]error, len(group))
	ctx, cancel := context.WithTimeout(context.Background(), startBy)
	defer cancel()
	var starting sync.WaitGroup
	for i, cfg := range group {
		starting.Go(func() {
			if servers[i], errs[i] = server.New(cfg); errs[i] == nil {
				errs[i] = servers[i].Start(ctx)
			}
		})
	}
	starting.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return servers
}

// Leader waits until one of the schedulers leads and returns it.
func Leader(t testing.TB, servers ...*server.Server) *server.Server {
	t.Helper()
	var leader *server.Server
	require.Eventually(t, func() bool {
		i := slices.IndexFunc(servers, (*server.Server).Leads)
		if i >= 0 {
			leader = servers[i]
		}
		return leader != nil
	}, startBy, poll, "no scheduler comes to lead")
	return leader
}
