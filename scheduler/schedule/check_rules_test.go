package schedule_test

import (
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// A region that has just been split off, with a peer that was lost long before, is repaired at once: its leader cannot have counted yet how long that peer is silent.
// Found by the simulator (seed 3490).
func TestAYoungLeadersLostPeerIsReplaced(t *testing.T) {
	for _, learner := range []bool{false, true} { // one that an operator has left on store 4
		c := paper.New(paper.Config{Schedule: configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(2 * time.Minute) })}, 4)
		c.Split(1, 10*mebibyte, func(int) []uint64 { return []uint64{1, 2, 4} })
		c.Kill(3)
		c.Run(time.Minute, nil)
		report := func() []operator.Record {
			r := &cluster.Region{Meta: proto.Clone(c.Regions()[0].Meta).(*metapb.Region), Term: c.Regions()[0].Term}
			r.Meta.RegionEpoch.ConfVer += 10
			r.Meta.Peers = nil
			for store := range uint64(3) {
				r.Meta.Peers = append(r.Meta.Peers, &metapb.Peer{Id: 1<<40 + store, StoreId: 1 + store})
			}
			r.Leader, r.Pending = r.Meta.Peers[0], r.Meta.Peers[2:]
			if learner {
				r.Meta.Peers = append(r.Meta.Peers, &metapb.Peer{Id: 1<<40 + 3, StoreId: 4, Role: metapb.PeerRole_Learner})
			}
			require.NoError(t, c.Report(r))
			return c.Term.Schedule.Operators().Running()
		}
		require.Empty(t, report(), "the store may come back")
		c.Run(2*time.Minute, nil)
		done := report()
		require.Len(t, done, 1)
		require.Equal(t, "mv peer: store [3] to [4]", done[0].Brief)
	}
}

// A learner that shall vote is left a learner while nobody hears of it: as a voter it would count against the majority (P8).
func TestSilentLearnerIsNotPromoted(t *testing.T) {
	cfg := configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(10 * time.Minute) })
	c := paper.New(paper.Config{Schedule: cfg}, 3)
	c.Split(1, 10*mebibyte, func(int) []uint64 { return []uint64{1, 2, 3} })
	r := c.Regions()[0]
	c.Kill(3)
	c.Run(time.Minute, nil)
	r.Meta = proto.Clone(r.Meta).(*metapb.Region)
	r.Meta.Peers[2].Role = metapb.PeerRole_Learner
	r.Meta.RegionEpoch.ConfVer++
	c.Run(2*time.Minute, nil)
	require.Equal(t, metapb.PeerRole_Learner, c.Region(r.Meta.Id).Meta.Peers[2].Role)
	reason, ok := c.Term.Schedule.Reason(r.Meta.Id)
	require.True(t, ok, "%v", c.Term.Picture.Region(r.Meta.Id))
	require.Contains(t, reason.Text, "is not heard of")
	c.Revive(3)
	require.True(t, c.Run(2*time.Minute, func() bool { return lacking(c, 3) == "" }), lacking(c, 3))
}

// leaveLearner kills store 3 of a region that has voters on stores 1 to 3 and, left over by an operator, a learner on store 4.
func leaveLearner(c *paper.Cluster) (region uint64) {
	c.Split(1, 10*mebibyte, func(int) []uint64 { return []uint64{1, 2, 3} })
	region = c.Regions()[0].Meta.Id
	c.Kill(3)
	c.Run(time.Minute, nil)
	r := c.Region(region)
	r.Meta = proto.Clone(r.Meta).(*metapb.Region)
	r.Meta.Peers = append(r.Meta.Peers, &metapb.Peer{Id: 1 << 40, StoreId: 4, Role: metapb.PeerRole_Learner})
	r.Meta.RegionEpoch.ConfVer++
	return region
}

// A learner that a move within a zone left behind does not take the place of a voter of a zone that fell: the isolation level forbids two in one.
func TestLearnerLeftBehindBesideAVoter(t *testing.T) {
	c := paper.New(paper.Config{Schedule: configured(func(c *schedule.Config) {
		c.MaxStoreDownTime, c.LocationLabels, c.IsolationLevel = schedule.Duration(2*time.Minute), schedule.Labels{"zone"}, "zone"
	})}, 4)
	for id, zone := range map[uint64]string{1: "a", 2: "b", 3: "c", 4: "b"} {
		require.NoError(t, c.Save(c.Term.LabelStore(id, map[string]string{"zone": zone}, false)))
	}
	id := leaveLearner(c)
	c.Run(10*time.Minute, nil)
	require.Empty(t, c.Term.Schedule.Operators().History(10))
	reason, ok := c.Term.Schedule.Reason(id)
	require.True(t, ok)
	require.Contains(t, reason.Text, "lacks 1 peers, and no store can take one")
	c.Revive(3)
	require.True(t, c.Run(10*time.Minute, func() bool { return lacking(c, 3) == "" }), lacking(c, 3))
}

// A learner that an operator of an earlier term left behind takes the lost voter's place in one step: a fourth voter, while one of them is dead, would make the next
// loss one too many (P8). Found by the simulator.
func TestLearnerLeftBehindTakesTheLostVotersPlace(t *testing.T) {
	c := paper.New(paper.Config{Schedule: configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(2 * time.Minute) })}, 4)
	leaveLearner(c)
	require.True(t, c.Run(10*time.Minute, func() bool { return lacking(c, 3) == "" }), lacking(c, 3))
	history := c.Term.Schedule.Operators().History(10)
	require.Len(t, history, 1)
	require.Equal(t, "replace-rule-down-peer", history[0].Desc)
}
