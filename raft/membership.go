package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// A membership change is an entry: proposed when no other one can be pending (R3), and in force on each node once that node
// applies it. Package confchange says where a change leads; what counts majorities asks both halves of a joint
// configuration (R14).
//
// The leader from whom a change takes the vote, because it is removed or becomes a learner, stays in office, without
// proposals and without a voice, until a majority of those who remain knows that the change is committed: otherwise they
// could wait for ever for the vote of a node that is gone (R4). For the same reason a leader tells nobody that a change is
// committed before it has made that durable itself: the node that the change removes might act on it and be gone, and the
// leader, after a crash, might not know it any more and wait for that node's vote.
//
// Since a change is in force when it is applied and not when it is appended, a node may still count the votes of members
// that are two changes old. What keeps it from winning is that the append of a change always carries the commit of the one
// before: whoever has it in its log knows that commit, and does not campaign before it has applied it (R2). So the next
// change is refused as long as the former one's commit is kept back. And who could not win because it is one change behind
// learns the commit from those whose votes it asks for, and from whoever asks for its own (learnCommit).

// holdCommit looks for membership changes among what has been committed behind index before.
func (r *Raft) holdCommit(before uint64) {
	for _, e := range r.RaftLog.slice(before+1, r.RaftLog.committed+1) {
		if e.EntryType == eraftpb.EntryType_EntryNormal {
			continue
		}
		if r.office.held.first == 0 {
			r.office.held.first = e.Index
		}
		r.office.held.last = e.Index
	}
}

// announced is the commit index that the followers may know.
func (r *Raft) announced() uint64 {
	if r.office.held.first > 0 {
		return r.office.held.first - 1
	}
	return r.RaftLog.committed
}

// releaseCommit takes in that a commit index is durable here. The commit of a membership change is then announced at once.
func (r *Raft) releaseCommit(durable uint64) {
	if r.office.held.first > 0 && durable >= r.office.held.last {
		r.office.held.first, r.office.held.last = 0, 0
		r.bcastAppend()
		r.leaveJoint()
	}
}

// confChangePending tells whether a membership change may be in the log that is not in force yet, or not known to others
// although it is.
func (r *Raft) confChangePending() bool {
	return r.PendingConfIndex > r.RaftLog.applied || r.office.held.first > 0
}

// checkConfChange refuses a change that is illegal, or could only do harm, and says why.
func (r *Raft) checkConfChange(cc eraftpb.ConfChangeV2) error {
	if r.confChangePending() {
		return ErrConfChangePending
	}
	after, err := confchange.Apply(r.conf, cc)
	if err != nil {
		return err
	}
	if r.strandsGroup(after) {
		return ErrRemoveLeaderOfTwo
	}
	return nil
}

// strandsGroup tells whether a change is to remove this leader from a group that cannot do without it: the only other voter,
// as long as it does not know of the commit, waits for the vote of a node that may be gone.
func (r *Raft) strandsGroup(after confchange.Config) bool {
	old := r.conf.Voters[0]
	if r.conf.Joint() {
		old = r.conf.Voters[1]
	}
	return len(old) <= 2 && old.Contains(r.id) && !after.Settled().Contains(r.id)
}

// applyConfChange brings a committed change into force; one that is illegal has no effect. Nor has one that is applied while
// a snapshot waits to be installed: it is from before the snapshot, whose members are in force already.
func (r *Raft) applyConfChange(cc eraftpb.ConfChangeV2) *eraftpb.ConfState {
	if after, err := confchange.Apply(r.conf, cc); err == nil && r.RaftLog.applied >= r.RaftLog.offset {
		r.changeTo(after)
	}
	return r.conf.State()
}

// changeTo brings a configuration into force. What was waiting for those who leave may be committed now.
func (r *Raft) changeTo(conf confchange.Config) {
	before := r.conf
	r.setConf(conf)
	if r.State != StateLeader || len(r.peers) == 0 {
		return
	}
	if r.leadTransferee != None && !r.mayTakeOver(r.leadTransferee) {
		r.abortTransfer()
	}
	r.greet(before)
	if r.async() && before.Voters.Contains(r.id) && !r.isVoter() {
		r.office.removedAt = r.RaftLog.committed
	}
	r.confirmReads()
	if !r.advanceCommit() && r.office.removedAt > 0 {
		r.bcastAppend()
	}
}

// greet sends to who has joined; none of them has had the time to be heard from.
func (r *Raft) greet(before confchange.Config) {
	for _, id := range r.peers {
		if !before.Contains(id) {
			r.Prs[id].RecentActive = true
			if r.async() {
				r.sendAppend(id)
			}
		}
	}
}

// setConf makes exactly these the members, keeping what is known of those who stay.
func (r *Raft) setConf(conf confchange.Config) {
	r.conf = conf
	r.peers = conf.Members()
	for id := range r.Prs { // order-free: each is judged by itself
		if !conf.Contains(id) {
			delete(r.Prs, id)
		}
	}
	for _, id := range r.peers {
		if r.Prs[id] == nil {
			pr := r.newProgress()
			r.Prs[id] = &pr
		}
	}
}

// leaveJoint proposes to leave a joint configuration that the group leaves by itself, whoever leads it by now, as soon as a
// change may be proposed. A leader that would strand the group by leaving hands over first.
func (r *Raft) leaveJoint() {
	if r.State != StateLeader || !r.conf.AutoLeave || r.confChangePending() || r.leadTransferee != None {
		return
	}
	if r.strandsGroup(r.conf.Settled()) {
		if to := r.successor(); to != None {
			r.handleTransferLeader(to, r.Prs[to])
		}
		return
	}
	// Without data, which is how a ConfChangeV2 without changes is written. Refused only if nothing can be proposed now.
	_ = r.propose([]*eraftpb.Entry{{EntryType: eraftpb.EntryType_EntryConfChangeV2}})
}

// successor is the member who could take over soonest, None if there is nobody.
func (r *Raft) successor() uint64 {
	best := None
	for _, id := range r.peers {
		if id != r.id && r.mayTakeOver(id) && (best == None || r.Prs[id].Match > r.Prs[best].Match) {
			best = id
		}
	}
	return best
}

// toldCommits acknowledges the commit index that a member has told.
type toldCommits map[uint64]*Progress

func (m toldCommits) Acked(id uint64) uint64 {
	if pr := m[id]; pr != nil {
		return pr.Committed
	}
	return 0
}

// leaveIfRemoved ends the office of a leader that has lost its vote and whose successors know it. One of them is told to
// campaign, so that the group need not wait for an election timeout; should it not have applied the change yet, it does.
func (r *Raft) leaveIfRemoved() {
	if r.office.removedAt == 0 || r.conf.Voters.Committed(toldCommits(r.Prs)) < r.office.removedAt {
		return
	}
	if to := r.successor(); to != None {
		r.sendTimeoutNow(to)
	}
	r.becomeFollower(r.Term, None)
}
