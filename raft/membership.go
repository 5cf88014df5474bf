package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
	"github.com/shoal-kv/shoal/raft/quorum"
)

// A membership change is an entry: proposed when no other one can be pending (R3), and in force on each node once that node
// applies it. The leader that a change removes stays in office, without proposals and without a vote of its own, until a
// majority of those who remain knows that the change is committed: otherwise they could wait for ever for the vote of a
// node that is gone (R4). For the same reason a leader tells nobody that a change is committed before it has made that
// durable itself: the node that the change removes might act on it and be gone, and the leader, after a crash, might not
// know it any more and wait for that node's vote.
//
// Since a change is in force when it is applied and not when it is appended, a node may still count the votes of members
// that are two changes old. What keeps it from winning is that the append of a change always carries the commit of the one
// before: whoever has it in its log knows that commit, and does not campaign before it has applied it (R2). So the next
// change is refused as long as the former one's commit is kept back.

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
	}
}

// checkConfChange refuses a change that could only do harm.
func (r *Raft) checkConfChange(cc eraftpb.ConfChange) error {
	after, err := confchange.Apply(r.voters, cc)
	if err != nil {
		return err
	}
	if cc.NodeId == r.id && !after.Contains(r.id) && len(r.peers) == 2 {
		return ErrRemoveLeaderOfTwo
	}
	return nil
}

// applyConfChange brings a committed change into force; one that is illegal has no effect. Nor has one that is applied while
// a snapshot waits to be installed: it is from before the snapshot, whose members are in force already.
func (r *Raft) applyConfChange(cc eraftpb.ConfChange) *eraftpb.ConfState {
	if _, err := confchange.Apply(r.voters, cc); err == nil && r.RaftLog.applied >= r.RaftLog.offset {
		switch cc.ChangeType {
		case eraftpb.ConfChangeType_AddNode:
			r.addNode(cc.NodeId)
		case eraftpb.ConfChangeType_RemoveNode:
			r.removeNode(cc.NodeId)
		}
	}
	return confchange.State(r.voters)
}

// addNode makes a node a voter.
func (r *Raft) addNode(id uint64) {
	if r.voters.Contains(id) {
		return
	}
	r.setVoters(quorum.JointConfig{r.voters[0].With(id)})
	if r.State == StateLeader {
		// It has had no time yet to be heard from.
		r.Prs[id].RecentActive = true
		if r.async() {
			r.sendAppend(id)
		}
	}
}

// removeNode takes a voter out of the group. What was waiting for it may be committed now.
func (r *Raft) removeNode(id uint64) {
	if !r.voters.Contains(id) {
		return
	}
	if r.State == StateLeader && r.async() && id == r.id {
		r.office.removedAt = r.RaftLog.committed
	}
	r.setVoters(quorum.JointConfig{r.voters[0].Without(id)})
	if r.State != StateLeader || len(r.peers) == 0 {
		return
	}
	if r.leadTransferee == id {
		r.abortTransfer()
	}
	r.confirmReads()
	if !r.advanceCommit() && r.office.removedAt > 0 {
		r.bcastAppend()
	}
}

// setVoters makes exactly these the members, keeping what is known of those who stay.
func (r *Raft) setVoters(voters quorum.JointConfig) {
	r.voters = voters
	r.peers = voters.Voters()
	for id := range r.Prs { // order-free: each is judged by itself
		if !voters.Contains(id) {
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

// toldCommits acknowledges the commit index that a member has told.
type toldCommits map[uint64]*Progress

func (m toldCommits) Acked(id uint64) uint64 {
	if pr := m[id]; pr != nil {
		return pr.Committed
	}
	return 0
}

// leaveIfRemoved ends the office of a leader that has been removed and whose successors know it.
func (r *Raft) leaveIfRemoved() {
	if r.office.removedAt > 0 && r.voters.Committed(toldCommits(r.Prs)) >= r.office.removedAt {
		r.becomeFollower(r.Term, None)
	}
}
