package raft

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// RawNode is a node as its owner sees it. It is not safe for concurrent use.
type RawNode struct {
	Raft     *Raft
	reported reported
}

// NewRawNode returns a node with the state that Storage holds. An error says what is wrong with the configuration or with
// what has been persisted.
func NewRawNode(c *Config) (*RawNode, error) {
	r, err := newChecked(c)
	if err != nil {
		return nil, err
	}
	rn := &RawNode{Raft: r}
	rn.reported.soft = r.softState()
	rn.reported.hard = r.hardState()
	return rn, nil
}

// Tick lets one unit of time pass.
func (rn *RawNode) Tick() {
	rn.Raft.tick()
}

// Campaign tries to become leader, without waiting for the election timeout. It has no effect on a leader, on a node that
// may not lead, and while the node has promised its leader not to.
func (rn *RawNode) Campaign() error {
	return rn.Raft.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgHup})
}

// Propose appends data to the log. On nil the entry has the last index and may still be lost; ErrProposalDropped says that
// it was never appended.
func (rn *RawNode) Propose(data []byte) error {
	ent := eraftpb.Entry{Data: data}
	return rn.Raft.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgPropose, From: rn.Raft.id, Entries: []*eraftpb.Entry{&ent}})
}

// ProposeConfChange appends the change of one member to the log. Beside ErrProposalDropped it may answer, in async mode, why
// the change is refused: ErrConfChangePending, ErrRemoveLeaderOfTwo, or an error of package confchange.
func (rn *RawNode) ProposeConfChange(cc eraftpb.ConfChange) error {
	data, err := cc.Marshal()
	if err != nil {
		return err
	}
	return rn.proposeChange(confchange.FromV1(cc), eraftpb.Entry{EntryType: eraftpb.EntryType_EntryConfChange, Data: data})
}

// ProposeConfChangeV2 appends a change of members to the log: of one, of several through joint consensus, or the leave of a
// joint configuration, as package confchange tells them apart. Refused like ProposeConfChange.
//
// Unless the change says Explicit, its joint configuration is left without being asked for: the leader, or its successor,
// appends an EntryConfChangeV2 without data as soon as it may, to which no proposal belongs.
func (rn *RawNode) ProposeConfChangeV2(cc eraftpb.ConfChangeV2) error {
	data, err := cc.Marshal()
	if err != nil {
		return err
	}
	return rn.proposeChange(cc, eraftpb.Entry{EntryType: eraftpb.EntryType_EntryConfChangeV2, Data: data})
}

func (rn *RawNode) proposeChange(cc eraftpb.ConfChangeV2, ent eraftpb.Entry) error {
	if rn.Raft.async() && rn.Raft.State == StateLeader {
		if err := rn.Raft.checkConfChange(cc); err != nil {
			return err
		}
	}
	return rn.Raft.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgPropose, From: rn.Raft.id, Entries: []*eraftpb.Entry{&ent}})
}

// ApplyConfChange brings a committed membership change into force and returns the configuration. Call it when the change is
// applied, before Applied reports its index. A change that is illegal by now, or names no node, changes nothing; so a
// caller that rejects a committed change need not call it.
func (rn *RawNode) ApplyConfChange(cc eraftpb.ConfChange) *eraftpb.ConfState {
	return rn.Raft.applyConfChange(confchange.FromV1(cc))
}

// ApplyConfChangeV2 is ApplyConfChange for what an EntryConfChangeV2 holds. Beware that a change without content leaves a
// joint configuration; for a change that the caller rejects do not call it at all.
func (rn *RawNode) ApplyConfChangeV2(cc eraftpb.ConfChangeV2) *eraftpb.ConfState {
	return rn.Raft.applyConfChange(cc)
}

// ForceConf makes these the members whatever anybody has agreed to: the last resort for a group that has lost its majority for good. The caller
// vouches that no majority of the former members will ever meet again, and makes the configuration durable first.
func (rn *RawNode) ForceConf(cs *eraftpb.ConfState) error {
	conf, err := confchange.Restore(cs)
	if err != nil {
		return err
	}
	r := rn.Raft
	r.becomeFollower(r.Term, None)
	r.clock.silence = 0
	r.setConf(conf)
	return nil
}

// Dismissed tells, in async mode, whether this node has been removed and those who remain know it: nobody waits for it any
// more, and it may be destroyed. Until then it must be kept, and answer, or the others might wait for its vote for ever (R4).
// A node that was restarted since may never be told; then somebody who knows that the group has gone on without it decides.
func (rn *RawNode) Dismissed() bool { return rn.Raft.dismissed() }

// ChangesKnown tells, in async mode, whether this node leads and a majority of the members knows of every membership change that it has itself brought
// into force: only then may somebody who was removed be told to go (R4).
func (rn *RawNode) ChangesKnown() bool {
	r := rn.Raft
	return r.State == StateLeader && !r.confChangePending() && r.conf.Voters.Committed((*toldCommits)(r)) >= r.PendingConfIndex
}

// ChangeHeld tells, in async mode, whether this node leads and keeps the commit of a membership change to itself until it is durable here. The change may be in
// force already; another one is refused until the commit is announced.
func (rn *RawNode) ChangeHeld() bool { return rn.Raft.office.held.first > 0 }

// Step takes in a message from another node. ErrStepLocalMsg and ErrStepPeerNotFound say that it was not looked at.
func (rn *RawNode) Step(m eraftpb.Message) error {
	switch m.MsgType {
	case eraftpb.MessageType_MsgHup, eraftpb.MessageType_MsgBeat, eraftpb.MessageType_MsgUnreachable,
		eraftpb.MessageType_MsgSnapStatus, eraftpb.MessageType_MsgCheckQuorum:
		return ErrStepLocalMsg
	case eraftpb.MessageType_MsgAppendResponse, eraftpb.MessageType_MsgHeartbeatResponse,
		eraftpb.MessageType_MsgRequestVoteResponse, eraftpb.MessageType_MsgRequestPreVoteResponse:
		if rn.Raft.Prs[m.From] == nil {
			return ErrStepPeerNotFound
		}
	}
	return rn.Raft.Step(m)
}

// TransferLeader tries to hand the leadership over to a voter; a follower passes the request on. Until the transfer has
// ended, by success or after an election timeout, proposals are dropped. To the leader itself: end a transfer. Ignored for
// who could not stay in office, a learner or a voter that the joint configuration leaves out, and while a change is pending.
func (rn *RawNode) TransferLeader(transferee uint64) {
	rn.step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgTransferLeader, From: transferee})
}

// ReportUnreachable says that a message to this node could not be sent.
func (rn *RawNode) ReportUnreachable(id uint64) {
	rn.step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgUnreachable, From: id})
}

// ReportSnapshot says whether the snapshot to this node has arrived. Every MsgSnapshot handed out must be reported on, or
// the follower receives nothing until it acknowledges the snapshot or has been silent for an election timeout.
func (rn *RawNode) ReportSnapshot(id uint64, ok bool) {
	rn.step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapStatus, From: id, Reject: !ok})
}

// RequestSnapshot asks the leader for a snapshot that takes the place of the applied state, which is not to be trusted any more. It tells
// whether the question could be asked: not without a leader, for instance. Messages are lost and leaders change: ask again, until
// a Ready brings the snapshot. Async mode only.
func (rn *RawNode) RequestSnapshot() bool { return rn.Raft.requestSnapshot() }

// ReadIndex asks from which applied index on a read that arrived now may be served; the answer comes in Ready.ReadStates
// with the same ctx. A follower or learner asks its leader. The ctx must be unique, also across restarts of this node: the
// leader's late answer to an earlier read would answer this one (R9). The answer may never come: without a leader, when the
// leader changes or a message is lost, or when too many wait. Then ask again, with another ctx. Async mode only.
func (rn *RawNode) ReadIndex(ctx []byte) {
	rn.step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgReadIndex, Context: ctx})
}

// step is for inputs that no node refuses.
func (rn *RawNode) step(m eraftpb.Message) {
	if err := rn.Raft.Step(m); err != nil {
		panic(fmt.Sprintf("raft: node %d refused its own %s: %v", rn.Raft.id, m.MsgType, err))
	}
}

// HeartbeatRound returns the number of the last heartbeat round that this leader has begun in its term; 0 if there is none
// or the node does not lead. It grows by one with every broadcast, in Tick or in Ready.
func (rn *RawNode) HeartbeatRound() uint64 {
	if rn.Raft.State != StateLeader {
		return 0
	}
	return rn.Raft.reads.round
}

// QuorumRound returns the last heartbeat round of this term that a quorum, this node included, has acknowledged: at the
// time when it began, no other leader could be elected for an election timeout. A lease must never outlive what the
// current answer allows: 0 means that there is no lease, as long as a MsgTimeoutNow is out, and afterwards until a round
// begun since has been acknowledged, and while a membership change is pending (R11).
func (rn *RawNode) QuorumRound() uint64 {
	return rn.Raft.leaseRound()
}

// EntriesAvailable says that entries for which Storage has answered ErrLogTemporarilyUnavailable have been loaded.
func (rn *RawNode) EntriesAvailable() { rn.Raft.resume() }

// SnapshotAvailable says that a snapshot for which Storage has answered ErrSnapshotTemporarilyUnavailable is there.
func (rn *RawNode) SnapshotAvailable() { rn.Raft.resume() }

// resume tries the sends again that were waiting for Storage.
func (r *Raft) resume() {
	if r.State != StateLeader {
		return
	}
	for _, id := range r.peers {
		if pr := r.Prs[id]; pr.loading {
			pr.loading = false
			r.sendAppend(id)
		}
	}
}
