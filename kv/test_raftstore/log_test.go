package test_raftstore

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
)

// S15: while one store of three is out of reach, the others' log stays within its limit of bytes; when the store is back it
// needs one snapshot at most.
func TestLogStaysWithinItsSizeLimit2C(t *testing.T) {
	const limit = 64 << 10
	cfg := config.NewTestConfig()
	cfg.Raftstore.RaftLogGcSizeLimit, cfg.Raftstore.RaftLogGcThreshold = limit, 10
	c := NewTestCluster(t, 3, cfg)
	c.Start()
	defer c.Shutdown()
	c.MustPut([]byte("a"), []byte("first"))
	lead := c.LeaderOfRegion(c.GetRegion(nil).Id)
	away := lead.StoreId%3 + 1
	var snapshots atomic.Int32
	count := func(_, _ uint64, msg *raft_serverpb.RaftMessage) bool {
		if msg.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
			snapshots.Add(1)
		}
		return true
	}
	c.AddFilter(PartitionFilter([]uint64{lead.StoreId, away%3 + 1}, []uint64{away}))
	value, region := bytes.Repeat([]byte("v"), 2<<10), c.GetRegion(nil).Id
	logBytes := func() uint64 { return c.node(lead.StoreId).store.View(region).Log.Bytes }
	for i := range 300 {
		c.MustPut(fmt.Appendf(nil, "k%03d", i), value)
		if i%50 == 0 {
			c.Eventually(func() bool { return logBytes() <= limit }, "the log is cut below its limit")
		}
	}
	v := c.node(lead.StoreId).store.View(region)
	require.Positive(t, v.Log.Truncated)
	c.ClearFilters()
	c.AddFilter(count)
	c.Eventually(func() bool { return bytes.Equal(c.engineValue(away, []byte("k299")), value) }, "the store has caught up")
	require.LessOrEqual(t, snapshots.Load(), int32(1), "none, when the leader still had the entries in memory")
}

// S2, S22: a received snapshot file that has rotted by the time it is to be installed does not stop the store: it is thrown away and fetched
// again, by a peer that has data and by one that is new.
func TestRottenSnapshotIsFetchedAgain2C(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Raftstore.RaftLogGcCountLimit, cfg.Raftstore.RaftLogGcThreshold = 50, 10
	cfg.Raftstore.RaftEntryCacheBytes = config.KiB // what the leader has in memory it would send instead
	c := NewTestCluster(t, 3, cfg)
	c.net.rot.Store(true) // for one of those that the first replicas are made of
	c.Start()
	defer c.Shutdown()
	require.False(t, c.net.rot.Load())
	region := c.GetRegion(nil).Id
	lead := c.LeaderOfRegion(region)
	away := lead.StoreId%3 + 1
	for round := range 3 {
		c.AddFilter(PartitionFilter([]uint64{lead.StoreId, away%3 + 1}, []uint64{away}))
		for i := range 120 {
			c.MustPut(fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "round %d", round))
		}
		c.Eventually(func() bool {
			return c.inspect(lead.StoreId, region).Log.Truncated > c.inspect(away, region).Log.Last
		}, "the log is cut")
		c.net.rot.Store(true)
		c.ClearFilters()
		c.Eventually(func() bool { return string(c.engineValue(away, []byte("k119"))) == fmt.Sprintf("round %d", round) }, "the store has caught up")
		require.False(t, c.net.rot.Load())
		c.MustPut([]byte("more"), fmt.Appendf(nil, "%d", round))
		c.Eventually(func() bool { return string(c.engineValue(away, []byte("more"))) == fmt.Sprint(round) }, "the store goes on")
	}
}
