package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// Who is removed by a change may be gone as soon as it knows that the change is committed; and who remains and does not know
// it still waits for the vote of the one who is gone (R4, R14). So the news goes round in an order. The leader keeps the
// commit of a change to itself until it is durable here (after a crash it might not know it any more) and in force here;
// then it tells those who remain, and only when a majority of them knows, those who have left. A leader that has itself lost
// its vote, because it is removed or becomes a learner, stays in office until then, without proposals and without a voice.

// held is the range of the membership changes whose commit a leader keeps to itself.
type held struct{ first, last uint64 }

// departure is the news that members have left.
type departure struct {
	// index is a commit index that includes it; 0 if there is no news.
	index uint64
	// own tells that this leader has lost its vote, gone who else is to be told in the end.
	own  bool
	gone []farewell
}

// farewell is for one member who has left, with the last index at which its log is known to agree.
type farewell struct{ to, match uint64 }

// dismissal is what a node knows of its own removal.
type dismissal struct {
	// leftAt is a commit index that includes the removal; 0 for a member.
	leftAt uint64
	// told is the commit index that a leader has announced to this node since it started, or has itself spread.
	told uint64
}

// dismissed tells whether this node has been removed and those who remain know it. Whoever commits its own removal and does
// not come to spread the news, or has only its own disk to tell, does not know that they do.
func (r *Raft) dismissed() bool {
	return r.dismissal.leftAt > 0 && r.dismissal.told >= r.dismissal.leftAt
}

// noteRemoval takes in whether this node belongs to the next configuration.
func (r *Raft) noteRemoval(next confchange.Config) {
	switch {
	case next.Contains(r.id):
		r.dismissal.leftAt = 0
	case r.conf.Contains(r.id):
		r.dismissal.leftAt = r.RaftLog.committed
	}
}

// holdCommit looks for membership changes among what has been committed behind index before.
func (r *Raft) holdCommit(before uint64) {
	for _, e := range r.RaftLog.slice(before+1, r.RaftLog.committed+1) {
		if !isConfChange(e) {
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
	known := r.RaftLog.committed
	if r.cfg.AnnounceApplied {
		known = min(known, r.RaftLog.applied)
	}
	if r.office.held.first > 0 {
		return min(known, r.office.held.first-1)
	}
	return known
}

// releaseCommit announces the commit of membership changes at once when it may be known.
func (r *Raft) releaseCommit() {
	last := r.office.held.last
	if r.State != StateLeader || last == 0 || r.RaftLog.durable.commit < last || r.RaftLog.applied < last {
		return
	}
	r.office.held = held{}
	r.bcastAppend()
	r.spreadDeparture()
}

// farewells returns what is to be told to those whom a configuration leaves out, other than this node.
func (r *Raft) farewells(conf confchange.Config) (gone []farewell) {
	for _, id := range r.peers {
		if id != r.id && !conf.Contains(id) {
			gone = append(gone, farewell{id, r.Prs[id].Match})
		}
	}
	return gone
}

// noteDeparture takes in that a change has come into force that leaves members out, or takes this leader's vote.
func (r *Raft) noteDeparture(gone []farewell, own bool) {
	d := &r.office.departure
	if len(gone) > 0 || own {
		d.index = r.RaftLog.committed
		d.gone = append(d.gone, gone...)
		d.own = d.own || own
	}
}

// toldCommits acknowledges the commit index that a member has told; the leader knows its own.
type toldCommits Raft

func (r *toldCommits) Acked(id uint64) uint64 {
	if id == r.id {
		return (*Raft)(r).announced()
	}
	if pr := r.Prs[id]; pr != nil {
		return pr.Committed
	}
	return 0
}

// spreadDeparture ends the news once a majority of those who remain knows: the others are told, and a leader without a vote
// ends its office. One of its successors is told to campaign, so that the group need not wait for an election timeout;
// should that one not have applied the change yet, it does.
func (r *Raft) spreadDeparture() {
	d := r.office.departure
	if d.index == 0 || r.conf.Voters.Committed((*toldCommits)(r)) < d.index {
		return
	}
	r.office.departure = departure{}
	for _, f := range d.gone {
		r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, To: f.to, Commit: min(f.match, r.announced())})
	}
	if !d.own {
		return
	}
	r.dismissal.told = max(r.dismissal.told, d.index)
	if to := r.successor(d.index); to != None {
		r.sendTimeoutNow(to)
	}
	r.becomeFollower(r.Term, None)
}
