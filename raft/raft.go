package raft

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// StateType is the role of a node.
type StateType uint8

const (
	// StateFollower follows a leader, or waits for one.
	StateFollower StateType = iota
	// StateCandidate asks for votes in its term.
	StateCandidate
	// StateLeader has a quorum's votes in its term.
	StateLeader
	// StatePreCandidate asks whether it would get votes in the next term.
	StatePreCandidate
)

func (s StateType) String() string {
	return [...]string{"StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate"}[s]
}

// Raft is the state of one node. RawNode is the way to it from outside.
type Raft struct {
	id  uint64
	cfg Config

	Term uint64
	Vote uint64

	RaftLog *RaftLog

	// Prs has an entry for every member. Only a leader's entries say anything beyond membership.
	Prs map[uint64]*Progress
	// conf is the configuration in force; peers are its members in order, so that output never depends on the order of a map.
	conf  confchange.Config
	peers []uint64

	State StateType
	Lead  uint64
	votes map[uint64]bool

	// msgs may leave at once; promises only once the state at the time of the next Ready is durable. In the course's mode
	// all are in msgs.
	msgs     []eraftpb.Message
	promises []eraftpb.Message

	clock clock

	// leadTransferee is the node to which the leader is handing over.
	leadTransferee uint64
	transfer       transfer
	// renewal is the index that a snapshot must reach which this follower has asked for; 0 for none.
	renewal uint64

	// PendingConfIndex is the last index that may hold a membership change that is not applied; a new one is refused until
	// it is.
	PendingConfIndex uint64
	dismissal        dismissal
	office           office
	reads            readIndexes
}

// office is what a leader owns beside its Progresses, and loses with its office.
type office struct {
	// uncommittedSize is what the proposals of this term that are not committed take.
	uncommittedSize uint64
	// held are the membership changes that are committed and not announced, departure the news of those that are.
	held      held
	departure departure
	shared    sharedEntries
}

// clock counts ticks.
type clock struct {
	random source
	// electionTimeout is drawn anew whenever the role or the term changes.
	electionTimeout  int
	electionElapsed  int
	heartbeatElapsed int
	// silence is the number of ticks for which campaigns of others are still ignored though no leader of this term has been heard: after a restart, or for a leader's
	// sake that was heard in an earlier term.
	silence int
}

// newRaft is newChecked for configurations known to be right.
func newRaft(c *Config) *Raft {
	r, err := newChecked(c)
	if err != nil {
		panic(err.Error())
	}
	return r
}

func newChecked(c *Config) (*Raft, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	hard, conf, err := c.Storage.InitialState()
	if err != nil {
		return nil, errors.Annotate(err, "raft: reading the initial state")
	}
	if len(c.peers) > 0 {
		conf = eraftpb.ConfState{Voters: c.peers}
	}
	members, err := confchange.Restore(&conf)
	if err != nil {
		return nil, errors.Annotate(err, "raft: reading the initial state")
	}
	log, err := openLog(c, hard)
	if err != nil {
		return nil, err
	}
	r := &Raft{id: c.ID, cfg: *c, Term: hard.Term, Vote: hard.Vote, RaftLog: log, Prs: map[uint64]*Progress{}}
	r.clock.random = newSource(c.Seed, c.ID)
	r.setConf(members)
	if r.async() && log.applied > 0 && !members.Contains(r.id) {
		r.dismissal.leftAt = log.applied // it was removed before it stopped, and may be needed still
	}
	r.becomeFollower(r.Term, None)
	if !r.conf.Voters.Singleton(r.id) && (hard.Term > 0 || log.LastIndex() > 0) {
		r.clock.silence = c.VoteSilenceTicks
	}
	return r, nil
}

// openLog loads the log and brings the persisted commit index in line with the applied one, which may be ahead of it:
// a commit index is written lazily.
func openLog(c *Config, hard eraftpb.HardState) (*RaftLog, error) {
	first, err := c.Storage.FirstIndex()
	if err != nil {
		return nil, errors.Annotate(err, "raft: reading the first index")
	}
	from := first - 1
	if c.AsyncStorage && c.Applied > 0 {
		from = c.Applied
	}
	log, err := loadLog(c.Storage, from)
	if err != nil {
		return nil, err
	}
	log.applied = max(log.applied, c.Applied)
	log.committed = max(log.applied, hard.Commit)
	log.handoff.apply = log.applied
	log.cache.limit = c.MaxCachedBytes
	if log.committed > log.LastIndex() {
		return nil, errors.Errorf("raft: commit index %d is beyond the last index %d: the persisted log lost entries", log.committed, log.LastIndex())
	}
	return log, nil
}

func (r *Raft) async() bool { return r.cfg.AsyncStorage }

// isVoter tells whether this node's voice counts, in either half of a joint configuration.
func (r *Raft) isVoter() bool { return r.conf.Voters.Contains(r.id) }

// promotable tells whether the node may become leader: it is a voter, and its log is not waiting for a snapshot to be
// installed. (In the course's mode whoever sends the acknowledgement of a snapshot has installed it.)
func (r *Raft) promotable() bool {
	return r.isVoter() && (r.RaftLog.pendingSnapshot == nil || !r.async())
}

// reset begins a term, or a role within it.
func (r *Raft) reset(term uint64) {
	if r.Term != term {
		r.Term = term
		r.Vote = None
		r.transfer = transfer{}
		r.renewal = 0
	}
	r.Lead = None
	r.votes = nil
	r.leadTransferee = None
	r.transfer.sent = false
	r.office = office{}
	r.reads = readIndexes{answers: r.reads.answers}
	r.clock.electionElapsed, r.clock.heartbeatElapsed = 0, 0
	r.clock.electionTimeout = r.drawTimeout()
}

func (r *Raft) drawTimeout() int {
	return r.cfg.ElectionTick + r.clock.random.below(r.cfg.ElectionTick)
}

func (r *Raft) becomeFollower(term, lead uint64) {
	r.reset(term)
	r.State = StateFollower
	r.Lead = lead
}

// tick lets one unit of time pass.
func (r *Raft) tick() {
	if r.clock.silence > 0 {
		r.clock.silence--
	}
	r.clock.electionElapsed++
	if r.State == StateLeader {
		r.tickLeader()
		return
	}
	if r.clock.electionElapsed >= r.clock.electionTimeout {
		// Should the node be unable to campaign, its time goes on: it has still not heard from a leader.
		r.clock.electionTimeout = r.clock.electionElapsed + r.drawTimeout()
		r.hup()
	}
}

// Step takes in a message, from this node itself or from another one.
func (r *Raft) Step(m eraftpb.Message) error {
	switch {
	case m.MsgType == eraftpb.MessageType_MsgHup:
		r.hup()
		return nil
	case m.Term > r.Term && !r.enterTerm(m), m.Term != 0 && m.Term < r.Term && !r.answerOld(m):
		return nil
	case m.MsgType == eraftpb.MessageType_MsgRequestVote, m.MsgType == eraftpb.MessageType_MsgRequestPreVote:
		r.handleVoteRequest(m)
		return nil
	}
	switch r.State {
	case StateLeader:
		return r.stepLeader(m)
	case StateFollower:
		return r.stepFollower(m)
	default:
		return r.stepCandidate(m)
	}
}

// enterTerm looks at a message of a later term: the node joins that term, unless the message is only a question or comes
// from a campaign that must be ignored. It tells whether the message is to be handled.
func (r *Raft) enterTerm(m eraftpb.Message) bool {
	switch m.MsgType {
	case eraftpb.MessageType_MsgRequestPreVote:
		// A question about a later term does not begin it.
		return !r.ignoresCampaign(m)
	case eraftpb.MessageType_MsgRequestPreVoteResponse:
		// A grant carries the term that was asked about; a refusal the term of the node that refuses.
		if m.Reject {
			r.joinTerm(m.Term)
		}
	case eraftpb.MessageType_MsgRequestVote:
		if r.ignoresCampaign(m) {
			return false
		}
		r.leaveTerm(m.Term)
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat, eraftpb.MessageType_MsgSnapshot:
		r.becomeFollower(m.Term, m.From)
	default:
		r.joinTerm(m.Term)
	}
	return true
}

// joinTerm enters a later term because of a message that makes nobody its leader. What this node has promised the leader
// that it heard last holds on (R11), for as long as it would have without the new term. Found by the simulator.
func (r *Raft) joinTerm(term uint64) {
	left := 0
	if r.State != StateLeader && r.heardLeader() {
		left = r.cfg.ElectionTick - r.clock.electionElapsed
	}
	r.leaveTerm(term)
	r.clock.silence = max(r.clock.silence, left)
}

// leaveTerm enters a later term that has no leader yet. This does not put off the node's own campaign (Raft 5.2): else a candidate with a worse log, which
// campaigns in vain again and again, would keep the one who could win from doing so. Found by the simulator (seed 1110).
func (r *Raft) leaveTerm(term uint64) {
	clock, led := r.clock, r.State == StateLeader
	r.becomeFollower(term, None)
	if !led { // a leader's clock counts other things
		r.clock.electionElapsed, r.clock.electionTimeout = clock.electionElapsed, clock.electionTimeout
	}
}

// answerOld looks at a message of an earlier term, which is never handled, except that what is committed stays so. But whoever still lives in that term and claims to
// lead, or asks for votes, must be told: with pre-vote and check-quorum on, nodes ignore one another's campaigns, so that a
// node with a higher term could otherwise neither be led nor win (R5).
func (r *Raft) answerOld(m eraftpb.Message) bool {
	switch m.MsgType {
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat, eraftpb.MessageType_MsgSnapshot:
		r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, To: m.From})
	case eraftpb.MessageType_MsgRequestVote:
		r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, To: m.From, Reject: true})
	case eraftpb.MessageType_MsgRequestPreVote:
		r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVoteResponse, To: m.From, Reject: true})
	case eraftpb.MessageType_MsgRequestPreVoteResponse:
		if m.Reject {
			r.learnCommit(&m)
		}
	}
	return false
}

// send queues a message of the current term.
func (r *Raft) send(m eraftpb.Message) {
	if m.Term == 0 {
		m.Term = r.Term
	}
	if m.From == None {
		m.From = r.id
	}
	if r.async() && isPromise(&m) {
		r.promises = append(r.promises, m)
		return
	}
	if r.msgs == nil && r.State == StateLeader {
		r.msgs = make([]eraftpb.Message, 0, len(r.peers)) // mostly one to each follower
	}
	r.msgs = append(r.msgs, m)
}

// isPromise tells whether a message vouches for durable state. A request for votes does: once it has left, a grant may
// arrive at any time, also after a crash, and must then find the term, the own vote and the log for which it was given
// (R15). A refusal vouches for nothing.
func isPromise(m *eraftpb.Message) bool {
	switch m.MsgType {
	case eraftpb.MessageType_MsgAppendResponse,
		eraftpb.MessageType_MsgRequestVote,
		eraftpb.MessageType_MsgRequestVoteResponse,
		eraftpb.MessageType_MsgRequestPreVoteResponse:
		return !m.Reject
	}
	return false
}

func (r *Raft) hardState() eraftpb.HardState {
	return eraftpb.HardState{Term: r.Term, Vote: r.Vote, Commit: r.RaftLog.committed}
}

func (r *Raft) softState() SoftState {
	return SoftState{Lead: r.Lead, RaftState: r.State}
}

// persisted takes in that a Ready is durable: what it brought counts from now on.
func (r *Raft) persisted(w write) {
	r.RaftLog.wrote(w)
	switch {
	case r.State == StateCandidate && w.term == r.Term && w.vote == r.id:
		r.countVote(r.id, true)
	case r.State == StateLeader:
		r.releaseCommit()
		if pr := r.Prs[r.id]; pr != nil && pr.maybeUpdate(r.RaftLog.stabled) {
			r.advanceCommit()
		}
		r.leaveJoint()
	}
}
