package raft_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
	"github.com/shoal-kv/shoal/raft/quorum"
	"github.com/shoal-kv/shoal/raft/rafttest"
)

var (
	simSeeds = flag.Int("raft.seeds", 600, "number of seeds that TestSimulation plays")
	simFirst = flag.Uint64("raft.seed", 1, "first seed that TestSimulation plays")
)

// TestSimulation plays random schedules: five nodes in async mode whose messages are lost, repeated and reordered, whose
// writes and applies complete in any interleaving, which crash and lose what was not durable, while leadership is
// transferred, members come and go, logs are compacted, and snapshots are asked for. Whatever happens, there is one leader a term, a leader holds
// all that is committed, all nodes apply the same entries, and only durable ones (R1, R2, R3, R12, R15); reads see what was
// committed when they arrived (R8, R9); and a lease outlives no leadership (R11). In the end, without faults, a leader
// emerges and everybody catches up (R4, R5, R7).
//
// A failure names its seed; -raft.seed=N -raft.seeds=1 plays it again.
func TestSimulation(t *testing.T) {
	renewals := 0
	for i := range *simSeeds {
		s := newSimulation(t, *simFirst+uint64(i))
		for k := range s.steps {
			s.step()
			if k%1000 == 0 {
				s.checkLogs()
			}
		}
		s.settle()
		s.checkLogs()
		if t.Failed() {
			return
		}
		renewals += s.renewals
	}
	require.Positive(t, renewals, "somebody asked for a snapshot")
}

const (
	simNodes    = 5
	simElection = 10
)

type simulation struct {
	rafttest.Cluster
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	steps int

	// lockstep lets all clocks run alike, so that leases can be judged; now is their time.
	lockstep bool
	now      int
	lossy    float64
	crashy   float64
	restless int // how many of 100 inputs are campaigns
	// final lets whoever knows that it has been removed be gone, unless it is added again; gone tells since which index.
	final  bool
	gone   map[uint64]uint64
	faulty bool
	cut    map[[2]uint64]bool

	leaders   map[uint64]uint64           // term → leader
	stamps    map[uint64]map[uint64]int   // leader's term → round → time at which it began
	applied   map[uint64]rafttest.Machine // index → the state there, on every node
	last      uint64                      // last index applied anywhere
	committed uint64                      // last index that any node knew to be committed
	reads     map[uint64]uint64           // read → what was committed when it arrived
	answered  int
	renewals  int
	proposals uint64
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), faulty: true,
		cut: map[[2]uint64]bool{}, leaders: map[uint64]uint64{}, stamps: map[uint64]map[uint64]int{},
		applied: map[uint64]rafttest.Machine{}, reads: map[uint64]uint64{}, last: 1,
		gone: map[uint64]uint64{},
	}
	s.steps = 5000 + s.rng.IntN(20000)
	s.lockstep = s.chance(0.5)
	s.lossy = []float64{0, 0.02, 0.2}[s.rng.IntN(3)]
	s.crashy = []float64{0, 0.3, 1}[s.rng.IntN(3)]
	s.restless = int(s.pick(0, 3, 30))
	s.final = s.chance(0.5)
	cfg := raft.Config{
		ElectionTick: simElection, HeartbeatTick: 1 + s.rng.IntN(2), Seed: seed,
		PreVote: s.chance(0.5), CheckQuorum: s.lockstep || s.chance(0.5), LazyCommit: s.chance(0.5),
		MaxSizePerMsg: s.pick(0, 1, 60), MaxInflightMsgs: int(s.pick(0, 1, 3)), MaxInflightBytes: s.pick(0, 100),
		MaxCachedBytes: s.pick(0, 1, 1000), MaxUncommittedEntriesSize: s.pick(0, 64), MaxCommittedSizePerReady: s.pick(0, 1, 50), CommitLag: s.pick(0, 2, 64),
	}
	if cfg.CheckQuorum {
		cfg.VoteSilenceTicks = simElection
	}
	for id := uint64(1); id <= simNodes; id++ {
		var conf confchange.Config
		if id <= 3 {
			conf.Voters[0] = quorum.NewMajority(1, 2, 3)
		}
		cfg.ID = id
		n, err := rafttest.NewNode(cfg, conf)
		require.NoError(t, err)
		n.OnApply = func(e eraftpb.Entry) { s.checkApplied(n, e) }
		s.Nodes = append(s.Nodes, n)
	}
	return s
}

func (s *simulation) chance(p float64) bool { return s.rng.Float64() < p }

func (s *simulation) pick(values ...uint64) uint64 { return values[s.rng.IntN(len(values))] }

func (s *simulation) anyNode() *rafttest.Node { return s.Nodes[s.rng.IntN(len(s.Nodes))] }

// anyRunning returns any node that runs, or this one.
func (s *simulation) anyRunning(n *rafttest.Node) *rafttest.Node {
	if m := s.anyNode(); m.Running() {
		return m
	}
	return n
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d: %s", s.seed, fmt.Sprintf(format, args...))
}

// step does one random thing.
func (s *simulation) step() {
	n := s.anyNode()
	switch p := s.rng.IntN(1000); {
	case p < 380:
		s.deliverAny()
	case p < 640:
		s.process(n)
	case p < 810:
		s.persist(n)
	case p < 900:
		n.Apply()
	case p < 925:
		s.tick(n)
	case p < 980:
		s.input(n)
	case p < 990:
		s.housekeeping(n)
	default:
		s.fault(n)
	}
	s.check()
}

func (s *simulation) tick(n *rafttest.Node) {
	s.now++
	for _, m := range s.Nodes {
		if m.Running() && (s.lockstep || m == n) {
			m.Tick()
		}
	}
}

func (s *simulation) process(n *rafttest.Node) {
	if rd, ok := n.Process(); ok {
		s.Send(rd.Messages...)
		s.stampRound(n)
		for _, rs := range rd.ReadStates {
			s.checkRead(rs)
		}
	}
}

func (s *simulation) persist(n *rafttest.Node) {
	if rd, ok := n.Persist(); ok {
		s.Send(rd.PersistedMessages...)
	}
}

// deliverAny takes a message out of the middle of the queue; it may be lost, and it may come again.
func (s *simulation) deliverAny() {
	if len(s.Queue) == 0 {
		return
	}
	// Mostly nearly in order: a network that reorders everything all the time makes no progress.
	i := min(s.rng.IntN(len(s.Queue)), s.rng.IntN(len(s.Queue)), s.rng.IntN(8))
	m := s.Take(i)
	lost := s.faulty && (s.cut[[2]uint64{m.From, m.To}] || s.chance(s.lossy))
	if s.faulty && s.chance(0.05) {
		s.Send(m)
	}
	if !lost {
		err := s.Deliver(m)
		require.True(s.t, err == nil || err == raft.ErrStepPeerNotFound, "seed %d: %v", s.seed, err)
	}
	if from := s.Node(m.From); m.MsgType == eraftpb.MessageType_MsgSnapshot && from.Running() && !(s.faulty && s.chance(0.3)) {
		from.ReportSnapshot(m.To, !lost)
	}
	for s.faulty && len(s.Queue) > 500 {
		s.Take(0)
	}
}

// input asks something of a node, mostly of a leader.
func (s *simulation) input(n *rafttest.Node) {
	for _, m := range s.Nodes {
		if m.Running() && m.Raft.State == raft.StateLeader && s.chance(0.7) {
			n = m
		}
	}
	if !n.Running() {
		return
	}
	leads := n.Status().RaftState == raft.StateLeader
	switch p := s.rng.IntN(100); {
	case s.rng.IntN(100) < s.restless:
		require.NoError(s.t, s.anyRunning(n).Campaign())
	case p < 8:
		n.TransferLeader(1 + uint64(s.rng.IntN(simNodes)))
	case p < 25:
		s.proposals++ // also numbers the reads
		s.reads[s.proposals] = s.committed
		n.ReadIndex(binary.BigEndian.AppendUint64(nil, s.proposals))
	case p < 40 && leads:
		s.changeMembers(n)
	case leads:
		s.proposals++
		_ = n.Propose([]byte(fmt.Sprint(s.proposals)))
	}
}

// changeMembers asks a leader for any change, legal or not; in a joint configuration mostly to leave it.
func (s *simulation) changeMembers(n *rafttest.Node) {
	one := func() *eraftpb.ConfChangeSingle {
		return &eraftpb.ConfChangeSingle{ChangeType: eraftpb.ConfChangeType(s.rng.IntN(3)), NodeId: uint64(s.rng.IntN(simNodes + 1))}
	}
	cc := eraftpb.ConfChangeV2{Transition: eraftpb.ConfChangeTransition(s.rng.IntN(3))}
	switch p := s.rng.IntN(100); {
	case p < 40:
		_ = n.ProposeConfChange(eraftpb.ConfChange{ChangeType: one().ChangeType, NodeId: one().NodeId})
		return
	case p < 60 || n.Machine.Conf.Joint() && p < 90:
		cc.Transition = eraftpb.ConfChangeTransition_Auto
	case p < 75:
		for range s.rng.IntN(5) {
			cc.Changes = append(cc.Changes, one())
		}
	default:
		// Everybody is given a role: the majorities before and after may have nobody in common.
		for id := range uint64(simNodes) {
			cc.Changes = append(cc.Changes, &eraftpb.ConfChangeSingle{ChangeType: eraftpb.ConfChangeType(s.rng.IntN(3)), NodeId: id + 1})
		}
	}
	_ = n.ProposeConfChangeV2(cc)
}

// housekeeping is what a node's owner does from time to time.
func (s *simulation) housekeeping(n *rafttest.Node) {
	if !n.Running() {
		return
	}
	switch s.rng.IntN(6) {
	case 0:
		n.Checkpoint()
	case 1:
		_ = n.Compact(n.Machine.Index - uint64(s.rng.IntN(4)))
	case 2:
		n.Disk.Cold, n.Disk.SnapshotBusy = n.Machine.Index, s.chance(0.5)
	case 3:
		s.warmUp(n)
	case 4:
		n.ReportUnreachable(1 + uint64(s.rng.IntN(simNodes)))
	case 5:
		if n.RequestSnapshot() {
			s.renewals++
		}
	}
}

func (s *simulation) warmUp(n *rafttest.Node) {
	n.Disk.Cold, n.Disk.SnapshotBusy = 0, false
	n.EntriesAvailable()
	n.SnapshotAvailable()
}

func (s *simulation) fault(n *rafttest.Node) {
	switch s.rng.IntN(5) {
	case 4:
		s.partition()
	case 0:
		s.cut[[2]uint64{1 + uint64(s.rng.IntN(simNodes)), n.ID()}] = true
	case 1:
		clear(s.cut)
	case 2:
		if n.Running() && s.chance(s.crashy) {
			n.Crash()
		}
	case 3:
		s.restart(n)
	}
}

// partition divides the nodes into two sides that do not hear each other.
func (s *simulation) partition() {
	side := s.rng.IntN(1 << simNodes)
	for a := range uint64(simNodes) {
		for b := range uint64(simNodes) {
			if side>>a&1 != side>>b&1 {
				s.cut[[2]uint64{a + 1, b + 1}] = true
			}
		}
	}
}

func (s *simulation) restart(n *rafttest.Node) {
	index, gone := s.gone[n.ID()]
	if n.Running() || gone && !s.addedAgain(n, index) {
		return
	}
	delete(s.gone, n.ID())
	n.Disk.Cold = 0
	if err := n.Restart(); err != nil {
		s.fail("node %d does not start: %v", n.ID(), err)
	}
}

// settle ends all faults: soon there is a leader, it commits, and every member has applied the same.
func (s *simulation) settle() {
	s.faulty = false
	s.lockstep = true
	for _, n := range s.Nodes {
		s.restart(n)
		if !n.Running() {
			continue
		}
		s.warmUp(n)
		for id := uint64(1); id <= simNodes; id++ {
			n.ReportSnapshot(id, false)
		}
	}
	for range 60 * simElection {
		for _, n := range s.Nodes {
			s.restart(n)
			if n.Running() {
				n.Checkpoint() // some may wait for a snapshot that is new enough
			}
		}
		s.tick(s.Nodes[0])
		for range 20 {
			s.round()
		}
		if s.settled() {
			return
		}
	}
	for _, n := range s.Nodes {
		if n.Running() {
			s.t.Log(n.Status())
		}
	}
	s.fail("the group does not settle")
}

// round lets everybody do all there is to do.
func (s *simulation) round() {
	for _, n := range s.Nodes {
		if !n.Running() {
			continue
		}
		s.process(n)
		for len(n.Writes) > 0 {
			s.persist(n)
		}
		for len(n.Tasks) > 0 {
			n.Apply()
		}
		s.check()
	}
	for k := len(s.Queue); k > 0; k-- {
		s.deliverAny()
	}
	s.check()
}

// settled tells whether a leader has committed in its term and all members are where it is. Nodes that are no members any
// more are stopped, as their owner would do when told so.
func (s *simulation) settled() bool {
	var lead *rafttest.Node
	for _, n := range s.Nodes {
		if n.Running() && n.Raft.State == raft.StateLeader && (lead == nil || n.Raft.Term > lead.Raft.Term) {
			lead = n
		}
	}
	if lead == nil || lead.AppliedTerm() != lead.Raft.Term || !lead.Machine.Conf.Voters.Contains(lead.ID()) {
		return false
	}
	if lead.Machine.Conf.Joint() {
		if lead.ProposeConfChangeV2(eraftpb.ConfChangeV2{}) == raft.ErrRemoveLeaderOfTwo {
			lead.TransferLeader(lead.Machine.Conf.Voters[0][0])
		}
		return false
	}
	if lead.Machine.Index == lead.Raft.RaftLog.LastIndex() && s.proposals%2 == 0 {
		s.proposals++
		_ = lead.Propose([]byte("settled"))
		return false
	}
	for _, n := range s.Nodes {
		switch member := lead.Machine.Conf.Contains(n.ID()); {
		case !member && n.Running():
			s.gone[n.ID()] = lead.Machine.Index
			n.Crash()
		case member && (n.Machine.Index != lead.Raft.RaftLog.LastIndex() || n.Machine.Hash != lead.Machine.Hash):
			return false
		}
	}
	return true
}
