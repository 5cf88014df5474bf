package raft_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
	"github.com/shoal-kv/shoal/raft/quorum"
	"github.com/shoal-kv/shoal/raft/rafttest"
)

// Clauses of the Raft paper (section 5) and of Ongaro's thesis (3.10 leadership transfer, 4 membership, 6.4 read-only
// requests), each held against a group in async mode. A test's name says the section; its comment is the clause.
// (raft_paper_test.go does the same for single nodes in the course's mode.)

type group struct {
	rafttest.Cluster
	t *testing.T
	// always, if set, is called after every message.
	always func()
}

// newGroup returns members 1 … voters and, behind them, empty nodes.
func newGroup(t *testing.T, voters, empty int, change func(*raft.Config)) *group {
	t.Helper()
	g := &group{t: t}
	var ids []uint64
	for id := range voters {
		ids = append(ids, uint64(id)+1)
	}
	for id := range voters + empty {
		cfg := raft.Config{ID: uint64(id) + 1, ElectionTick: 10, HeartbeatTick: 1, Seed: 7}
		if change != nil {
			change(&cfg)
		}
		var conf confchange.Config
		if id < voters {
			conf.Voters[0] = quorum.NewMajority(ids...)
		}
		n, err := rafttest.NewNode(cfg, conf)
		require.NoError(t, err)
		g.Nodes = append(g.Nodes, n)
	}
	return g
}

// run lets these nodes, or all, do and exchange everything there is; messages to and from others are lost.
func (g *group) run(ids ...uint64) {
	g.t.Helper()
	in := func(id uint64) bool { return len(ids) == 0 || slices.Contains(ids, id) }
	for range 200 {
		busy := false
		for _, n := range g.Nodes {
			if !in(n.ID()) {
				continue
			}
			busy = g.work(n) || busy
		}
		for len(g.Queue) > 0 {
			if m := g.Take(0); in(m.From) && in(m.To) {
				busy = true
				_ = g.Deliver(m)
				if g.always != nil {
					g.always()
				}
			}
		}
		if !busy {
			return
		}
	}
	g.t.Fatal("the group does not come to rest")
}

// work takes a node's Readies and carries them out.
func (g *group) work(n *rafttest.Node) (busy bool) {
	for {
		rd, ok := n.Process()
		if !ok {
			return busy
		}
		busy = true
		g.Send(rd.Messages...)
		for {
			done, ok := n.Persist()
			if !ok {
				break
			}
			g.Send(done.PersistedMessages...)
		}
		for len(n.Tasks) > 0 {
			n.Apply()
		}
	}
}

func (g *group) lead(id uint64, among ...uint64) *rafttest.Node {
	g.t.Helper()
	require.NoError(g.t, g.Node(id).Campaign())
	g.run(among...)
	require.Equal(g.t, raft.StateLeader, g.role(id))
	return g.Node(id)
}

func (g *group) role(id uint64) raft.StateType { return g.Node(id).Raft.State }

func (g *group) propose(id uint64, data ...string) {
	g.t.Helper()
	for _, d := range data {
		require.NoError(g.t, g.Node(id).Propose([]byte(d)))
	}
}

func (g *group) tick(id uint64, n int) {
	for range n {
		g.Node(id).Tick()
	}
}

func (g *group) terms(id uint64) (terms []uint64) {
	d := g.Node(id).Disk
	first, _ := d.FirstIndex()
	last, _ := d.LastIndex()
	for i := first; i <= last; i++ {
		term, err := d.MemoryStorage.Term(i)
		require.NoError(g.t, err)
		terms = append(terms, term)
	}
	return terms
}

func confChange(kind eraftpb.ConfChangeType, id uint64) eraftpb.ConfChange {
	return eraftpb.ConfChange{ChangeType: kind, NodeId: id}
}

// If a server receives a request with a stale term number, it rejects the request.
func TestPaper5_1_StaleTermIsRejected(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.lead(2)
	before := g.terms(3)
	require.NoError(t, g.Node(3).Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, From: 1, To: 3, Term: 2, LogTerm: 1, Index: 1,
		Entries: []*eraftpb.Entry{{Term: 2, Index: 2}, {Term: 2, Index: 3}, {Term: 2, Index: 4}},
	}))
	rd := g.Node(3).Ready()
	require.Empty(t, rd.Entries)
	require.EqualValues(t, 3, rd.Messages[0].Term)
	require.Equal(t, before, g.terms(3))
}

// Each server votes for at most one candidate in a term; a vote survives a crash.
func TestPaper5_2_VoteIsDurable(t *testing.T) {
	g := newGroup(t, 5, 0, nil)
	ask := func(from uint64) bool {
		require.NoError(t, g.Node(2).Step(eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgRequestVote, From: from, To: 2, Term: 2, LogTerm: 1, Index: 1,
		}))
		rd, _ := g.Node(2).Process()
		for _, m := range rd.Messages {
			require.True(t, m.Reject, "a vote may not leave before it is durable")
			return false
		}
		rd, ok := g.Node(2).Persist()
		require.True(t, ok)
		return len(rd.PersistedMessages) == 1 && !rd.PersistedMessages[0].Reject
	}
	require.True(t, ask(1))
	g.Node(2).Crash()
	require.NoError(t, g.Node(2).Restart())
	require.False(t, ask(3))
}

// The leader keeps its office by heartbeats; without them a follower begins an election.
func TestPaper5_2_HeartbeatsPreventElections(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	for range 100 {
		for id := uint64(1); id <= 3; id++ {
			g.tick(id, 1)
		}
		g.run()
	}
	require.Equal(t, raft.StateLeader, g.role(1))
	require.EqualValues(t, 2, g.Node(3).Raft.Term)
	g.tick(3, 20)
	require.Equal(t, raft.StateCandidate, g.role(3))
}

// The leader retries AppendEntries indefinitely until all followers eventually store all log entries.
func TestPaper5_3_LostAppendsAreRepeated(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.MaxInflightMsgs = 2 })
	g.lead(1)
	g.propose(1, "a", "b", "c", "d", "e")
	g.run(1, 2)
	require.Len(t, g.terms(3), 1)
	g.tick(1, 1)
	g.run()
	require.Equal(t, g.terms(1), g.terms(3))
}

// A follower removes what conflicts with the leader's log, and then agrees with it.
func TestPaper5_3_ConflictsAreOverwritten(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.propose(1, "only", "on", "one")
	g.run(1)
	g.lead(2, 2, 3)
	g.propose(2, "wins")
	g.run(2, 3)
	require.Equal(t, []uint64{2, 2, 2, 2}, g.terms(1))
	g.tick(2, 1)
	g.run()
	require.Equal(t, []uint64{2, 3, 3}, g.terms(1))
	require.Equal(t, g.Node(2).Machine, g.Node(1).Machine)
}

// A candidate cannot win unless its log contains all committed entries.
func TestPaper5_4_1_ElectionRestriction(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.propose(1, "committed")
	g.run(1, 2)
	require.NoError(t, g.Node(3).Campaign())
	g.run(2, 3)
	require.NotEqual(t, raft.StateLeader, g.role(3))
	g.lead(2, 2, 3)
	require.EqualValues(t, g.Node(2).Machine, g.Node(3).Machine)
}

// A leader cannot conclude that an entry of an earlier term is committed once it is stored on a majority (R1).
func TestPaper5_4_2_OldTermsAreCommittedIndirectly(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.MaxSizePerMsg = 1 })
	g.lead(1)
	g.propose(1, "old")
	g.run(1)
	g.Node(1).Crash()
	require.NoError(t, g.Node(1).Restart())
	// Appends hold one entry each, so that the old one is on a majority before the one of the new term is.
	stored := false
	g.always = func() {
		last, _ := g.Node(2).Disk.LastIndex()
		stored = stored || last == 3
		require.NotEqualValues(t, 3, g.Node(1).Raft.RaftLog.Committed())
	}
	lead := g.lead(1, 1, 2)
	require.True(t, stored)
	require.EqualValues(t, 4, lead.Raft.RaftLog.Committed())
}

// Raft RPCs are idempotent: a repeated append changes nothing.
func TestPaper5_5_RepeatedAppendsAreIgnored(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.propose(1, "x")
	g.work(g.Node(1))
	again := slices.Clone(g.Queue)
	g.run()
	before := g.Node(2).Machine
	g.Send(again...)
	g.run()
	require.Equal(t, before, g.Node(2).Machine)
	require.Equal(t, []uint64{2, 2}, g.terms(2))
}

// A crashed follower that restarts catches up.
func TestPaper5_5_CrashedFollowerCatchesUp(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.Node(3).Crash()
	g.propose(1, "a", "b")
	g.run(1, 2)
	require.NoError(t, g.Node(3).Restart())
	g.tick(1, 1)
	g.run()
	require.Equal(t, g.Node(1).Machine, g.Node(3).Machine)
}

// Timing: as long as broadcasts are faster than election timeouts, a leader emerges; also with every node alike.
func TestPaper5_6_LeaderEmerges(t *testing.T) {
	g := newGroup(t, 5, 0, func(c *raft.Config) { c.PreVote, c.CheckQuorum = true, true })
	for range 100 {
		for id := uint64(1); id <= 5; id++ {
			g.tick(id, 1)
		}
		g.run()
	}
	leaders := 0
	for id := uint64(1); id <= 5; id++ {
		if g.role(id) == raft.StateLeader {
			leaders++
		}
	}
	require.Equal(t, 1, leaders)
}

// 1. The prior leader stops accepting new client requests. 2. It fully updates the target server's log. 3. It sends a
// TimeoutNow request, and the target starts an election at once.
func TestThesis3_10_TransferBringsTargetUpToDateFirst(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.PreVote, c.CheckQuorum = true, true })
	lead := g.lead(1)
	g.propose(1, "a", "b")
	g.run(1, 3)
	lead.TransferLeader(2)
	require.Equal(t, raft.ErrProposalDropped, lead.Propose([]byte("c")))
	g.work(lead)
	for _, m := range g.Queue {
		require.NotEqual(t, eraftpb.MessageType_MsgTimeoutNow, m.MsgType)
	}
	g.run()
	require.Equal(t, raft.StateLeader, g.role(2))
	require.EqualValues(t, 3, g.Node(2).Raft.Term)
}

// If leadership transfer does not complete after about an election timeout, the prior leader aborts the transfer and resumes
// accepting client requests (R7).
func TestThesis3_10_TransferIsAborted(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	lead := g.lead(1)
	lead.TransferLeader(2)
	g.tick(1, 9)
	require.Equal(t, raft.ErrProposalDropped, lead.Propose([]byte("x")))
	g.tick(1, 1)
	require.NoError(t, lead.Propose([]byte("x")))
	require.Equal(t, raft.None, lead.Raft.LeadTransferee())
}

// A transfer to a node that leaves the group ends (R7).
func TestThesis3_10_TransferEndsWithTheTarget(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	lead := g.lead(1)
	require.NoError(t, lead.ProposeConfChange(confChange(eraftpb.ConfChangeType_RemoveNode, 3)))
	lead.TransferLeader(3)
	require.Equal(t, raft.None, lead.Raft.LeadTransferee(), "not while a change is pending")
	g.run(1, 2)
	lead.TransferLeader(3)
	require.Equal(t, raft.None, lead.Raft.LeadTransferee(), "not to one that is no member")
	lead.TransferLeader(2)
	require.EqualValues(t, 2, lead.Raft.LeadTransferee())
	lead.ApplyConfChange(confChange(eraftpb.ConfChangeType_RemoveNode, 2))
	require.Equal(t, raft.None, lead.Raft.LeadTransferee())
}

// Membership changes one server at a time, and the next change begins only when the one before is committed (R3).
func TestThesis4_1_OneServerAtATime(t *testing.T) {
	g := newGroup(t, 3, 2, nil)
	lead := g.lead(1)
	for _, id := range []uint64{4, 5} {
		require.NoError(t, lead.ProposeConfChange(confChange(eraftpb.ConfChangeType_AddNode, id)))
		require.Equal(t, raft.ErrConfChangePending, lead.ProposeConfChange(confChange(eraftpb.ConfChangeType_AddNode, 6-id)))
		g.run()
	}
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, lead.Machine.Conf.Members())
	g.tick(1, 1)
	g.run()
	require.Equal(t, lead.Machine, g.Node(5).Machine)
}

// A new server joins with an empty log and catches up.
func TestThesis4_2_1_NewServersCatchUp(t *testing.T) {
	g := newGroup(t, 1, 1, nil)
	lead := g.lead(1)
	for i := range 50 {
		g.propose(1, fmt.Sprint(i))
	}
	g.run()
	require.NoError(t, lead.Compact(30))
	require.NoError(t, lead.ProposeConfChange(confChange(eraftpb.ConfChangeType_AddNode, 2)))
	g.run()
	require.Equal(t, lead.Machine, g.Node(2).Machine)
}

// A leader that is removed manages the group while it is no part of it, does not count itself, and steps down (R4).
func TestThesis4_2_2_RemovedLeaderStepsDown(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	lead := g.lead(1)
	require.NoError(t, lead.ProposeConfChange(confChange(eraftpb.ConfChangeType_RemoveNode, 1)))
	g.run()
	require.Equal(t, raft.StateFollower, g.role(1))
	require.Equal(t, []uint64{2, 3}, g.Node(2).Machine.Conf.Members())
	g.tick(1, 100)
	require.Equal(t, raft.StateFollower, g.role(1), "it does not campaign")
	g.lead(3)
}

// Servers that hear from a leader within the minimum election timeout neither update their term nor grant votes (R5) …
func TestThesis4_2_3_DisruptiveServersAreIgnored(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.CheckQuorum = true })
	g.lead(1)
	require.NoError(t, g.Node(2).Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, To: 2, Term: 9, LogTerm: 9, Index: 9,
	}))
	require.EqualValues(t, 2, g.Node(2).Raft.Term)
	require.False(t, g.Node(2).HasReady())
	// … except for one that the leader itself has told to campaign (R6).
	require.NoError(t, g.Node(2).Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, To: 2, Term: 3, LogTerm: 9, Index: 9,
		Context: []byte("CampaignTransfer\x00\x00\x00\x00\x00\x00\x00\x01"),
	}))
	require.EqualValues(t, 3, g.Node(2).Raft.Term)
}

// A leader that has been partitioned from a majority for an election timeout steps down.
func TestThesis6_2_LeaderWithoutQuorumStepsDown(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.CheckQuorum = true })
	g.lead(1)
	for range 20 {
		g.tick(1, 1)
		g.run(1)
	}
	require.Equal(t, raft.StateFollower, g.role(1))
}

// 1. If the leader has not yet marked an entry from its current term committed, it waits until it has done so (R8).
func TestThesis6_4_ReadsWaitForTheLeadersFirstCommit(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	require.NoError(t, g.Node(1).Campaign())
	g.work(g.Node(1))
	for _, id := range []uint64{2, 3} {
		for len(g.Queue) > 0 {
			require.NoError(t, g.Deliver(g.Take(0)))
		}
		g.work(g.Node(id))
	}
	for len(g.Queue) > 0 {
		require.NoError(t, g.Deliver(g.Take(0)))
	}
	require.Equal(t, raft.StateLeader, g.role(1))
	g.Node(1).ReadIndex([]byte("r"))
	g.work(g.Node(1))
	require.Zero(t, g.Node(1).HeartbeatRound())
	g.run()
	require.Equal(t, []raft.ReadState{{Index: 2, RequestCtx: []byte("r")}}, g.Node(1).Reads)
}

// 3. The leader makes sure that it has not been superseded: a round of heartbeats acknowledged by a majority.
func TestThesis6_4_ReadsNeedAMajority(t *testing.T) {
	g := newGroup(t, 3, 0, nil)
	g.lead(1)
	g.Node(1).ReadIndex([]byte("r"))
	g.run(1)
	require.Empty(t, g.Node(1).Reads)
	g.tick(1, 1) // a later round does as well
	g.run(1, 3)
	require.Len(t, g.Node(1).Reads, 1)
	require.EqualValues(t, 2, g.Node(1).QuorumRound())
}

// Followers help offload reads: they ask the leader for its commit index and serve once they have applied it.
func TestThesis6_4_FollowersAsk(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.LazyCommit = true })
	g.lead(1)
	g.propose(1, "x")
	g.run()
	require.EqualValues(t, 3, g.Node(1).Machine.Index)
	g.Node(2).ReadIndex([]byte("r"))
	g.run()
	require.Equal(t, []raft.ReadState{{Index: 3, RequestCtx: []byte("r")}}, g.Node(2).Reads)
	require.EqualValues(t, 3, g.Node(2).Machine.Index, "the heartbeat round told it the commit index")
}

// 6.4.1: a lease counts from the beginning of a round that a majority has acknowledged, and leadership transfer ends it (R11).
func TestThesis6_4_1_LeaseRounds(t *testing.T) {
	g := newGroup(t, 3, 0, func(c *raft.Config) { c.CheckQuorum = true })
	lead := g.lead(1)
	g.tick(1, 1)
	require.EqualValues(t, 1, lead.HeartbeatRound())
	require.Zero(t, lead.QuorumRound())
	g.run(1, 2)
	require.EqualValues(t, 1, lead.QuorumRound())

	lead.TransferLeader(3)
	require.Zero(t, lead.QuorumRound(), "a MsgTimeoutNow is out")
	g.run(1, 2)
	g.tick(1, 9)
	g.run(1, 2)
	require.Zero(t, lead.QuorumRound())
	g.tick(1, 1)
	require.Zero(t, lead.QuorumRound(), "given up, but nobody has heard of it")
	g.run(1, 2)
	require.EqualValues(t, 11, lead.QuorumRound())
}
