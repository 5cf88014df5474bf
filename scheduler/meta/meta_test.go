package meta_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/shoal-kv/shoal/scheduler/meta"
	"github.com/shoal-kv/shoal/scheduler/schedulertest"
)

const soon, poll = 20 * time.Second, 5 * time.Millisecond

// Members of one group in one process leave each other's idle HTTP connections open; a lone member leaves nothing.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	)
}

// clock is a monotonic clock that a test can move on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func config(t *testing.T, mono *clock) meta.Config {
	client, peer := []string{schedulertest.FreeURL(t)}, []string{schedulertest.FreeURL(t)}
	return meta.Config{
		Name: "one", DataDir: t.TempDir(),
		ClientURLs: client, AdvertiseClientURLs: client, PeerURLs: peer, AdvertisePeerURLs: peer,
		Lease: time.Second, Wall: time.Now, Monotonic: mono.now,
		Logger: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)),
	}
}

func start(t *testing.T, cfg meta.Config) *meta.Node {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	n, err := meta.Start(ctx, cfg)
	require.NoError(t, err)
	return n
}

func campaign(t *testing.T, n *meta.Node) *meta.Leadership {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	l, err := n.Campaign(ctx)
	require.NoError(t, err)
	return l
}

func etcdClient(t *testing.T, n *meta.Node) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: n.Self().ClientURLs, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func lost(t *testing.T, l *meta.Leadership) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(soon):
		require.Fail(t, "the leadership is not lost")
	}
}

func TestClusterIDIsDrawnOnce(t *testing.T) {
	cfg := config(t, &clock{})
	n := start(t, cfg)
	id := n.ClusterID()
	require.NotZero(t, id)
	require.Equal(t, []meta.Member{n.Self()}, n.Members())
	n.Close()
	n = start(t, cfg)
	defer n.Close()
	require.Equal(t, id, n.ClusterID())
}

func TestStoreWritesLoadsAndScans(t *testing.T) {
	cfg := config(t, &clock{})
	n := start(t, cfg)
	l := campaign(t, n)
	s := l.Store()
	for i := range 25 {
		var ops []meta.Op
		for j := range meta.MaxWrite {
			ops = append(ops, meta.Put(fmt.Sprintf("many/%04d", i*meta.MaxWrite+j), []byte{byte(j)}))
		}
		require.NoError(t, s.Write(ops...))
	}
	require.NoError(t, s.Write(meta.Put("many!", nil), meta.Put("other", []byte("x")), meta.Delete("many/0003")))
	l.Resign()
	n.Close()

	n = start(t, cfg)
	defer n.Close()
	l = campaign(t, n)
	defer l.Resign()
	s = l.Store()
	var keys []string
	require.NoError(t, s.Scan(context.Background(), "many/", func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	}))
	require.Len(t, keys, 25*meta.MaxWrite-1)
	require.Equal(t, "many/0000", keys[0])
	require.Equal(t, "many/0004", keys[3])
	value, err := s.Load(context.Background(), "other")
	require.NoError(t, err)
	require.Equal(t, "x", string(value))
	value, err = s.Load(context.Background(), "none")
	require.NoError(t, err)
	require.Nil(t, value)
	require.Error(t, s.Write(make([]meta.Op, meta.MaxWrite+1)...))
}

func TestWriteIfAbsent(t *testing.T) {
	n := start(t, config(t, &clock{}))
	defer n.Close()
	l := campaign(t, n)
	defer l.Resign()
	ok, err := l.Store().WriteIfAbsent("a", meta.Put("a", []byte("1")), meta.Put("b", []byte("1")))
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = l.Store().WriteIfAbsent("a", meta.Put("a", []byte("2")), meta.Put("b", []byte("2")))
	require.NoError(t, err)
	require.False(t, ok)
	require.True(t, l.Holds(), "a refused condition does not end the term")
	value, err := l.Store().Load(context.Background(), "b")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
}

// The heart of P1, P2 and P10: what a leader writes after it was replaced does not happen.
func TestGuardedWriteFailsAfterLossOfLeadership(t *testing.T) {
	cfg := config(t, &clock{})
	cfg.Lease = time.Hour // so that only the guard can tell
	n := start(t, cfg)
	defer n.Close()
	l := campaign(t, n)
	defer l.Resign()
	require.NoError(t, l.Store().Write(meta.Put("a", []byte("mine"))))

	key := fmt.Sprintf("/pd/%d/leader", n.ClusterID())
	_, err := etcdClient(t, n).Delete(context.Background(), key)
	require.NoError(t, err)
	_, err = etcdClient(t, n).Put(context.Background(), key, `{"id":7,"name":"other"}`)
	require.NoError(t, err)

	require.ErrorIs(t, l.Store().Write(meta.Put("a", []byte("late"))), meta.ErrNotLeader)
	lost(t, l)
	require.False(t, l.Holds())
	_, err = l.Store().WriteIfAbsent("b", meta.Put("b", nil))
	require.ErrorIs(t, err, meta.ErrNotLeader)
	value, err := l.Store().Load(context.Background(), "a")
	require.NoError(t, err)
	require.Equal(t, "mine", string(value))
}

func TestLeadershipEndsWithItsLease(t *testing.T) { // P1
	mono := &clock{}
	n := start(t, config(t, mono))
	defer n.Close()
	l := campaign(t, n)
	m, ok := n.Leader()
	require.True(t, ok)
	require.Equal(t, n.Self(), m)
	require.True(t, l.Holds())
	first := l.End()
	require.Eventually(t, func() bool { return l.End().After(first) }, soon, poll, "the lease is not renewed")

	mono.ahead.Add(int64(time.Minute)) // as if the process had been suspended
	require.False(t, l.Holds())
	l.Resign()
	lost(t, l)
	require.ErrorIs(t, l.Store().Write(meta.Put("a", nil)), meta.ErrNotLeader)

	l = campaign(t, n)
	defer l.Resign()
	require.True(t, l.Holds())
	require.NoError(t, l.Store().Write(meta.Put("a", nil)))
}

func TestLeadershipEndsWhenItsKeyIsDeleted(t *testing.T) {
	n := start(t, config(t, &clock{}))
	defer n.Close()
	l := campaign(t, n)
	_, err := etcdClient(t, n).Delete(context.Background(), fmt.Sprintf("/pd/%d/leader", n.ClusterID()))
	require.NoError(t, err)
	lost(t, l)
	l.Resign()
	campaign(t, n).Resign()
}

func TestStartReportsBadConfig(t *testing.T) {
	for name, change := range map[string]func(*meta.Config){
		"no client url":   func(c *meta.Config) { c.ClientURLs = nil },
		"no scheme":       func(c *meta.Config) { c.ClientURLs = []string{"127.0.0.1:2379"} },
		"initial cluster": func(c *meta.Config) { c.InitialCluster = "one" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, &clock{})
			change(&cfg)
			_, err := meta.Start(context.Background(), cfg)
			require.Error(t, err)
		})
	}
}
