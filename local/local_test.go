package local_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/scheduler/server"
)

func TestMain(m *testing.M) {
	// etcd ends the connections between the members of a group after their time limit, some seconds later.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	)
}

func start(t *testing.T, opts local.Options) *local.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	c, err := local.Start(ctx, opts)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.WaitWhole(ctx))
	return c
}

// The group's addresses are all told, every part has its directory, and what was asked of every part reaches it.
func TestThreeSchedulers(t *testing.T) {
	dir := t.TempDir()
	c := start(t, local.Options{Dir: dir, Stores: 2, Schedulers: 3, InMemory: true, Scheduler: server.Config{MaxReplicas: 1}})
	require.Len(t, strings.Split(c.PD(), ","), 3)
	require.Len(t, c.Addrs(), 2)
	for _, name := range []string{"scheduler-1", "scheduler-2", "scheduler-3", "store-1", "store-2"} {
		require.DirExists(t, filepath.Join(dir, name))
	}
	c.Close()
	require.ErrorContains(t, c.StartStore(t.Context(), 0), "the cluster is closed")
}

func TestPartsListenWhereTheyAreTold(t *testing.T) {
	first := start(t, local.Options{Stores: 1, InMemory: true})
	scheduler, store := first.PD(), first.Addrs()[0]
	first.Close()
	again := start(t, local.Options{Stores: 1, InMemory: true, Listen: func(part string) local.Listen {
		l := local.Listen{Addr: scheduler, Other: "127.0.0.1:0"}
		if part == local.StoreName(0) {
			l.Addr = store
		}
		return l
	}})
	require.Equal(t, scheduler, again.PD())
	require.Equal(t, []string{store}, again.Addrs())
}

// What cannot start says which part it is and why, and leaves nothing running.
func TestAPartThatCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	for _, part := range []string{"scheduler", "store-1"} {
		_, err := local.Start(t.Context(), local.Options{Dir: t.TempDir(), Stores: 1, InMemory: true, Listen: func(name string) local.Listen {
			if name == part {
				return local.Listen{Addr: taken.Addr().String(), Other: "127.0.0.1:0"}
			}
			return local.Listen{Addr: "127.0.0.1:0", Other: "127.0.0.1:0"}
		}})
		require.ErrorContains(t, err, part+": ")
		require.ErrorContains(t, err, "address already in use")
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Raftstore.HeartbeatTicks = 0
	_, err := local.Start(t.Context(), local.Options{Dir: t.TempDir(), InMemory: true, Config: cfg})
	require.ErrorContains(t, err, "store-1: invalid configuration: raftstore.raft-heartbeat-ticks is 0")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = local.Start(t.Context(), local.Options{Dir: file})
	require.ErrorContains(t, err, "not a directory")
}

// TestAStartIsGivenUp ends the wait for schedulers that cannot find each other.
func TestAStartIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := local.Start(ctx, local.Options{Dir: t.TempDir(), Schedulers: 3, InMemory: true, Listen: func(name string) local.Listen {
		if name == "scheduler-3" {
			<-ctx.Done()
		}
		return local.Listen{Addr: "127.0.0.1:0", Other: "127.0.0.1:0"}
	}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestAFailureIsTold breaks the disk of one store.
func TestAFailureIsTold(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Storage.Engine = config.EngineBadger
	broken := make(chan func(error), 4)
	c := start(t, local.Options{Stores: 1, Config: cfg, NodeOptions: []node.Option{
		node.WithEngine(config.EngineBadger, func(_ string, _ int64, _ *config.Config, _ *zap.Logger, onFatal func(error)) (engine.Engine, func() uint64, error) {
			broken <- onFatal
			return memdb.New(), func() uint64 { return 0 }, nil
		}),
	}})
	(<-broken)(errors.New("the disk is on fire"))
	select {
	case err := <-c.Fatal():
		require.ErrorContains(t, err, "store-1 cannot go on: ")
		require.ErrorContains(t, err, "the disk is on fire")
	case <-time.After(30 * time.Second):
		require.Fail(t, "nobody was told")
	}
}
