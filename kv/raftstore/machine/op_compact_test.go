package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/raft"
)

// leading makes a machine whose peer 2 leads a region with peers 3 and 4, of which the last is a learner when learner is set.
func leading(t *testing.T, learner bool) (*RaftMachine, *peer) {
	r := &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 3}, Peers: []*metapb.Peer{
		{Id: 2, StoreId: 1}, {Id: 3, StoreId: 3}, {Id: 4, StoreId: 4},
	}}
	if learner {
		r.Peers[2].Role = metapb.PeerRole_Learner
	}
	at := Pair{InitIndex, InitTerm}
	cfg := testConfig(1)
	cfg.PreVote, cfg.LeaseDuration = false, 0 // it may campaign at once
	m, err := NewRaftMachine(cfg, []Restored{{
		Region: r, PeerID: 2, Apply: ApplyState(at, at),
		Raft: &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: InitTerm, Commit: InitIndex}, LastIndex: InitIndex},
	}})
	require.NoError(t, err)
	p := m.peers[1]
	require.NoError(t, p.node.Campaign())
	m.touch(p)
	settle(m, m.Handle(nil, 1), 1)
	term := p.term()
	answer(m, p, 3, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, Term: term})
	require.True(t, p.isLeader())
	return m, p
}

func answer(m *RaftMachine, p *peer, from uint64, msg eraftpb.Message) {
	env := message(1, from, 2, msg.MsgType, p.region.RegionEpoch.ConfVer)
	msg.From, msg.To = from, 2
	env.Message = &msg
	settle(m, m.Handle([]Mail{Step{env}}, 2), 2)
}

// has tells the leader that a follower's log reaches up to index.
func has(m *RaftMachine, p *peer, from, index uint64) {
	answer(m, p, from, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, Term: p.term(), Index: index, Commit: index})
}

// grow writes n entries of about size bytes, which peer 3 has.
func grow(t *testing.T, m *RaftMachine, p *peer, n, size int) {
	for range n {
		pr := proposal(0, func(err error) { require.NoError(t, err) })
		pr.RegionID, pr.Command.Epoch.Version, pr.Command.Body = 1, 1, make([]byte, size)
		round := m.Handle([]Mail{Propose{pr}}, 3)
		settle(m, round, 3)
		has(m, p, 3, p.node.Raft.RaftLog.LastIndex())
	}
	require.Equal(t, p.node.Raft.RaftLog.LastIndex(), p.applied.Index)
}

// S15: what all have is cut; a replica that lags is waited for, a learner like a voter, until the log has reached its limit in
// entries or bytes, or the replica has been silent for too long.
func TestLogIsKeptForALaggingReplicaWithinLimits(t *testing.T) {
	for _, learner := range []bool{false, true} {
		m, p := leading(t, learner)
		m.cfg.LogGC = LogGC{Ticks: 1, Threshold: 10, Count: 1000, Bytes: 1 << 20, Silence: 50}
		has(m, p, 4, p.applied.Index)
		start := p.applied.Index
		grow(t, m, p, 40, 900)
		require.Zero(t, m.compactTarget(p), "peer 4 needs it all")
		has(m, p, 4, start+20)
		require.Equal(t, start+20, m.compactTarget(p))
		m.afterCompact(withRound(m, p), Pair{start + 20, p.term()})

		m.cfg.LogGC.Count = 15
		require.Equal(t, p.applied.Index-7, m.compactTarget(p), "more entries than the limit allows")
		m.cfg.LogGC.Count, m.cfg.LogGC.Bytes = 1000, 8<<10
		require.Greater(t, p.log.bytes.size(), uint64(8<<10))
		to := m.compactTarget(p)
		require.Greater(t, to, start+20, "more bytes than the limit allows")
		m.afterCompact(withRound(m, p), Pair{to, p.term()})
		require.LessOrEqual(t, p.log.bytes.size(), uint64(8<<10))

		m.cfg.LogGC.Bytes = 1 << 20
		grow(t, m, p, 20, 100)
		require.Zero(t, m.compactTarget(p))
		p.ticks += 51
		p.members.hear(3, p.ticks)
		require.Equal(t, p.applied.Index, m.compactTarget(p), "nobody waits for the silent")
	}
}

// What is shown of replicas that lag: the slowest counts, at each look, and nobody of whom the leader has not heard.
func TestLagIsSeenAtEachLook(t *testing.T) {
	m, p := leading(t, true)
	m.cfg.LogGC = LogGC{Ticks: 2, Threshold: 1000}
	lags := func() (seen []uint64) {
		for range 4 {
			round := m.Handle([]Mail{Tick{}}, 4)
			seen = append(seen, round.Lags...)
		}
		return seen
	}
	grow(t, m, p, 10, 10)
	require.Equal(t, []uint64{0, 0}, lags(), "peer 3 has all, and peer 4 has not been heard of")
	has(m, p, 4, p.applied.Index)
	grow(t, m, p, 7, 10)
	require.Equal(t, []uint64{7, 7}, lags(), "the learner is behind")
	has(m, p, 4, p.applied.Index)
	require.Equal(t, []uint64{0, 0}, lags())
}

// withRound lets a test call what runs within Handle.
func withRound(m *RaftMachine, p *peer) *peer {
	m.round = new(Round)
	return p
}

// S15, S16: while a replica gets a snapshot, what follows the snapshot stays.
func TestLogBehindASnapshotOnItsWayStays(t *testing.T) {
	m, p := leading(t, false)
	m.cfg.LogGC = LogGC{Ticks: 1, Threshold: 1, Count: 1000}
	start := p.applied.Index
	grow(t, m, p, 20, 10)
	require.Zero(t, m.compactTarget(p))
	m.afterCompact(withRound(m, p), Pair{start + 10, p.term()})
	m.round = nil
	has(m, p, 4, 0) // it lives, and lacks what is gone
	answer(m, p, 4, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, Term: p.term(), Reject: true, RejectHint: 0, Index: p.node.GetProgress()[4].Next - 1})
	at := Pair{start + 15, p.term()}
	m.Handle([]Mail{SnapshotBuilt{RegionID: 1, PeerID: 2, Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
		Index: at.Index, Term: at.Term, ConfState: &eraftpb.ConfState{Voters: []uint64{2, 3, 4}},
	}}}}, 3)
	require.Equal(t, raft.ProgressSnapshot, p.node.GetProgress()[4].State)
	grow(t, m, p, 20, 10)
	require.Equal(t, at.Index, m.compactTarget(p))
}

// The record of bytes never strays from the truth by more than about a part, however entries are appended, replaced and cut.
func TestLogBytesAreAboutRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b logBytes
		first, sizes := uint64(1), []uint64(nil)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			last := first + uint64(len(sizes)) - 1
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				from := last + 1
				if back := rapid.Uint64Range(0, 3).Draw(t, "back"); len(sizes) > 0 && back < uint64(len(sizes)) {
					from -= back
				}
				entries := make([]eraftpb.Entry, rapid.IntRange(1, 200).Draw(t, "n"))
				sizes = sizes[:from-first]
				for i := range entries {
					entries[i].Index = from + uint64(i)
					entries[i].Data = make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))
					sizes = append(sizes, uint64(len(entries[i].Data))+entryOverhead)
				}
				b.append(entries, last)
			case 2:
				to := first + uint64(rapid.IntRange(0, len(sizes)).Draw(t, "cut"))
				b.cut(to-1, last)
				sizes, first = sizes[to-first:], to
			case 3:
				want := rapid.Uint64Range(0, 1<<14).Draw(t, "keep")
				if to := b.cutFor(want); to > 0 {
					require.Less(t, to, first+uint64(len(sizes)))
				}
			}
			truth := uint64(0)
			for _, s := range sizes {
				truth += s
			}
			require.InDelta(t, truth, b.size(), 40<<10)
			require.Less(t, len(b.marks), 2000)
		}
	})
	b := foundBytes(10, 20, 1000)
	require.Equal(t, uint64(1000), b.size())
	require.Equal(t, uint64(15), b.cutFor(500))
	b.cut(15, 20)
	require.Equal(t, uint64(500), b.size())
}
