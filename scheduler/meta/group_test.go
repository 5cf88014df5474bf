package meta_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

func startThree(t *testing.T, change func(*meta.Config)) []*meta.Node {
	var cfgs []meta.Config
	group := ""
	for i := range 3 {
		cfg := config(t, &clock{})
		cfg.Name, cfg.Logger = fmt.Sprintf("m%d", i), zap.NewNop()
		change(&cfg)
		group += "," + cfg.Name + "=" + cfg.PeerURLs[0]
		cfgs = append(cfgs, cfg)
	}
	nodes := make(chan *meta.Node, 3)
	for _, cfg := range cfgs {
		cfg.InitialCluster = group[1:]
		go func() { nodes <- start(t, cfg) }()
	}
	return []*meta.Node{<-nodes, <-nodes, <-nodes}
}

// etcdLeader waits until all members agree on who leads etcd, and returns that one first.
func etcdLeader(t *testing.T, nodes ...*meta.Node) (leader *meta.Node, others []*meta.Node) {
	require.Eventually(t, func() bool {
		leader, others = nil, nil
		for _, n := range nodes {
			m, ok := n.EtcdLeader()
			first, _ := nodes[0].EtcdLeader()
			switch {
			case !ok || m.ID != first.ID:
				return false
			case m.ID == n.Self().ID:
				leader = n
			default:
				others = append(others, n)
			}
		}
		return leader != nil
	}, soon, poll)
	return leader, others
}

// One of three leads; when it goes, another does, and sees what was written.
func TestThreeMembersFailOver(t *testing.T) {
	all := startThree(t, func(*meta.Config) {})
	require.Equal(t, all[0].ClusterID(), all[1].ClusterID())
	require.Equal(t, all[0].ClusterID(), all[2].ClusterID())

	type won struct {
		node *meta.Node
		l    *meta.Leadership
	}
	ctx, cancel := context.WithCancel(context.Background())
	wins := make(chan won, 3)
	ended := make(chan struct{}, 3)
	for _, n := range all {
		go func() {
			defer func() { ended <- struct{}{} }()
			if l, err := n.Campaign(ctx); err == nil {
				wins <- won{n, l}
			}
		}()
	}
	first := <-wins
	require.NoError(t, first.l.Store().Write(meta.Put("a", []byte("1"))))
	for _, n := range all {
		require.Eventually(t, func() bool {
			m, ok := n.Leader()
			return ok && m.ID == first.node.Self().ID
		}, soon, poll)
	}
	require.Empty(t, wins, "two members lead")
	first.l.Resign()
	first.node.Close()

	second := <-wins
	require.NotEqual(t, first.node.Self().ID, second.node.Self().ID)
	value, err := second.l.Store().Load(context.Background(), "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
	cancel()
	for range 3 {
		<-ended
	}
	second.l.Resign()
	for _, n := range all {
		if n != first.node {
			n.Close()
		}
	}
}

// P1: whoever follows a leader that did not resign waits for as long as that one may believe that it leads, and not for
// etcd's lease, which is longer. The lease is longer than the test here, so only the moved clock can end the wait.
func TestTheNextLeaderWaitsForTheLeaseOfTheLast(t *testing.T) {
	const lease = time.Minute
	mono := &clock{}
	all := startThree(t, func(cfg *meta.Config) { cfg.Lease, cfg.Monotonic = lease, mono.now })
	defer func() {
		for _, n := range all {
			n.Close()
		}
	}()
	first, others := etcdLeader(t, all...)
	l := campaign(t, first)
	require.NoError(t, l.Store().Write(meta.Put("a", []byte("1"))))
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	require.ErrorIs(t, others[0].MoveLead(ctx, others[1].Self().ID), meta.ErrNotLeader)
	require.NoError(t, first.MoveLead(ctx, others[0].Self().ID))
	lost(t, l) // but it does not resign: its key stays
	require.False(t, l.Holds())
	second, _ := etcdLeader(t, all...)
	require.Equal(t, others[0].Self(), second.Self())

	tryFor := func(d time.Duration) *meta.Leadership {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		next, _ := second.Campaign(ctx)
		return next
	}
	require.Nil(t, tryFor(500*time.Millisecond), "it has only just seen the key")
	mono.ahead.Add(int64(lease))
	require.Nil(t, tryFor(500*time.Millisecond), "clocks may drift")
	mono.ahead.Add(int64(lease / 10))
	next := tryFor(soon)
	require.NotNil(t, next)
	value, err := next.Store().Load(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
	next.Resign()
}

// A member that was removed stops by itself and says so.
func TestARemovedMemberStops(t *testing.T) {
	all := startThree(t, func(*meta.Config) {})
	leader, others := etcdLeader(t, all...)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	require.ErrorContains(t, leader.Remove(ctx, leader.Self().ID), "hand the lead over first")
	require.Eventually(t, func() bool { // etcd takes nobody out before all have been connected for some seconds
		return leader.Remove(ctx, others[0].Self().ID) == nil
	}, soon, 100*time.Millisecond)
	select {
	case err := <-others[0].Err():
		require.ErrorContains(t, err, "removed from its group")
	case <-ctx.Done():
		require.Fail(t, "the removed member goes on")
	}
	require.Len(t, leader.Members(), 2)
	for _, n := range all {
		n.Close()
	}
}

func TestStartReportsABadGroup(t *testing.T) {
	cfg := config(t, &clock{})
	for initial, want := range map[string]string{
		"one":                                    `"one" must have the form name=http://host:port`,
		"two=" + cfg.PeerURLs[0]:                 "does not name this member, one",
		"one=http://127.0.0.1:1,two=http://[::]": "one has the peer URL http://127.0.0.1:1, but advertises " + cfg.PeerURLs[0],
	} {
		cfg.InitialCluster = initial
		_, err := meta.Start(context.Background(), cfg)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.Mkdir(filepath.Join(cfg.DataDir, "join"), 0o700))
	_, err := meta.Start(context.Background(), cfg)
	require.ErrorContains(t, err, "read the group that was joined")
}
