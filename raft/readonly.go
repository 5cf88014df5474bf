package raft

import (
	"encoding/binary"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// A read is linearizable if, after it arrived, its leader was still the leader, and if it sees what was committed then. The
// leader proves the former with a heartbeat round: rounds are numbered within the term, each heartbeat carries its round's
// number, followers echo it, and once a quorum has echoed a round or a later one, the leader was in office when the round
// began. Only these numbers are compared, never what the reader sent, so that a delayed or repeated echo cannot confirm a
// later read (R9, etcd #20418). Leases rest on the same numbers (R11).
//
// Reads that arrive between two Readies share a round. They wait until the leader has committed in its own term, since
// before that it may not know what is committed (R8). Nothing is kept for a read that cannot be answered: who asked asks
// again.

// ReadState answers a ReadIndex: the read may be served once the state machine has applied Index.
type ReadState struct {
	Index      uint64
	RequestCtx []byte
}

// maxPendingReads bounds the reads that wait; more are dropped.
const maxPendingReads = 4096

type readIndexes struct {
	// round is the last heartbeat round, acked the last one that a quorum has echoed; context is round as it travels.
	round, acked uint64
	context      []byte

	// arrived have no round yet; waiting have one that is not acked, oldest first; pending counts both.
	arrived []readRequest
	waiting []readGroup
	pending int

	// owed is the highest index that a follower was told to wait for while its commit could not be announced yet.
	owed uint64

	// answers go out with the next Ready.
	answers []ReadState
}

type readRequest struct {
	from uint64
	ctx  []byte
}

type readGroup struct {
	round, index uint64
	requests     []readRequest
}

// request takes in a read, from here or from a follower.
func (rs *readIndexes) request(m eraftpb.Message) {
	if rs.pending < maxPendingReads {
		rs.pending++
		rs.arrived = append(rs.arrived, readRequest{m.From, m.Context})
	}
}

// begin starts a round.
func (rs *readIndexes) begin(numbered bool) {
	rs.round++
	if numbered {
		rs.context = binary.BigEndian.AppendUint64(make([]byte, 0, 8), rs.round)
	}
}

// acknowledge takes in the echo of a round and tells whether it was new.
func (pr *Progress) acknowledge(context []byte, newest uint64) bool {
	if len(context) != 8 {
		return false
	}
	round := binary.BigEndian.Uint64(context)
	if round <= pr.round || round > newest {
		return false
	}
	pr.round = round
	return true
}

// readsToFlush tells whether reads wait for a round and may have one.
func (r *Raft) readsToFlush() bool {
	return len(r.reads.arrived) > 0 && r.async() && r.committedInTerm()
}

// flushReads begins a round for the reads that have arrived.
func (r *Raft) flushReads() {
	if !r.readsToFlush() {
		return
	}
	group := readGroup{round: r.reads.round + 1, index: r.RaftLog.committed, requests: r.reads.arrived}
	r.reads.arrived = nil
	r.reads.waiting = append(r.reads.waiting, group)
	r.bcastHeartbeat()
}

// roundsEchoed acknowledges the last round that a member has echoed; the leader knows its own.
type roundsEchoed Raft

func (r *roundsEchoed) Acked(id uint64) uint64 {
	if id == r.id {
		return r.reads.round
	}
	if pr := r.Prs[id]; pr != nil {
		return pr.round
	}
	return 0
}

// confirmReads answers the reads whose round a quorum has echoed.
func (r *Raft) confirmReads() {
	rs := &r.reads
	rs.acked = max(rs.acked, min(rs.round, r.conf.Voters.Committed((*roundsEchoed)(r))))
	for len(rs.waiting) > 0 && rs.waiting[0].round <= rs.acked {
		group := rs.waiting[0]
		rs.waiting = rs.waiting[1:]
		rs.pending -= len(group.requests)
		for _, req := range group.requests {
			r.answerRead(req, group.index)
		}
	}
}

func (r *Raft) answerRead(req readRequest, index uint64) {
	if req.from == None || req.from == r.id {
		r.reads.answers = append(r.reads.answers, ReadState{Index: index, RequestCtx: req.ctx})
		return
	}
	if index > r.announced() {
		r.reads.owed = max(r.reads.owed, index)
	}
	r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgReadIndexResp, To: req.from, Index: index, Context: req.ctx})
}

// releaseReads announces at once what readers on followers wait for.
func (r *Raft) releaseReads() {
	if r.State == StateLeader && r.reads.owed > 0 && r.announced() >= r.reads.owed {
		r.reads.owed = 0
		r.bcastAppend()
	}
}
