package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// A membership change is an entry: proposed when no other one can be pending (R3), and in force on each node once that node
// applies it. Package confchange says where a change leads; what counts majorities asks both halves of a joint
// configuration (R14).
//
// Since a change is in force when it is applied and not when it is appended, a node may still count the votes of members
// that are two changes old. What keeps it from winning is that the append of a change always carries the commit of the one
// before: whoever has it in its log knows that commit, after a crash too (tellCommit), and does not campaign before it has applied it (R2). So the next
// change is refused as long as the former one's commit is kept back (departure.go says why it is). And who could not win because it is one change behind
// learns the commit from those whose votes it asks for, and from whoever asks for its own (learnCommit).

// isConfChange tells whether an entry is a membership change, of either form.
func isConfChange(e eraftpb.Entry) bool { return e.EntryType != eraftpb.EntryType_EntryNormal }

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
	before, gone := r.conf, r.farewells(conf)
	r.setConf(conf)
	if r.State != StateLeader || len(r.peers) == 0 {
		return
	}
	if r.leadTransferee != None && !r.mayTakeOver(r.leadTransferee) {
		r.abortTransfer()
	}
	r.greet(before)
	if r.async() {
		r.noteDeparture(gone, before.Voters.Contains(r.id) && !r.isVoter())
	}
	r.confirmReads()
	r.advanceCommit()
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
	r.noteRemoval(conf)
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
// change may be proposed. A leader that would strand the group by leaving hands over first, to somebody who will not refuse.
func (r *Raft) leaveJoint() {
	if r.State != StateLeader || !r.conf.AutoLeave || r.confChangePending() || r.leadTransferee != None {
		return
	}
	if r.strandsGroup(r.conf.Settled()) {
		if to := r.successor(r.PendingConfIndex); to != None {
			r.handleTransferLeader(to, r.Prs[to])
		}
		return
	}
	// Without data, which is how a ConfChangeV2 without changes is written. Refused only if nothing can be proposed now.
	_ = r.propose([]*eraftpb.Entry{{EntryType: eraftpb.EntryType_EntryConfChangeV2}})
}

// successor is the member who could take over soonest among those who have told that they know this commit index, None if
// there is nobody: one that has been heard from lately, for one that is gone would be waited for again and again.
func (r *Raft) successor(commit uint64) uint64 {
	best := None
	for _, id := range r.peers {
		pr := r.Prs[id]
		if id != r.id && r.mayTakeOver(id) && pr.Committed >= commit && (best == None || pr.sooner(r.Prs[best])) {
			best = id
		}
	}
	return best
}
