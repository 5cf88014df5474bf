package raft

import "fmt"

// ProgressState is the way in which a leader sends to one follower.
type ProgressState uint8

const (
	// ProgressProbe sends one append at a time, until it is known where the follower's log agrees.
	ProgressProbe ProgressState = iota
	// ProgressReplicate sends appends without waiting for their acknowledgement.
	ProgressReplicate
	// ProgressSnapshot sends nothing: a snapshot is on its way.
	ProgressSnapshot
)

func (s ProgressState) String() string {
	return [...]string{"probe", "replicate", "snapshot"}[s]
}

// Progress is what a leader knows of one member.
type Progress struct {
	// Match is the last index known to agree and, in async mode, to be durable there. Next is the next index to send.
	Match, Next uint64
	// Committed is the commit index that the member last told; async mode only.
	Committed uint64
	State     ProgressState
	// PendingSnapshot is the index of the snapshot that is on its way.
	PendingSnapshot uint64
	// Wanted is the index that a snapshot must reach which the member has asked for, until that has arrived or failed; 0 for none.
	Wanted uint64
	// RecentActive tells whether the member has been heard from since the last check of the quorum.
	RecentActive bool

	// round is the newest heartbeat round that the member has acknowledged.
	round uint64
	// probing tells that a probe is out and not answered.
	probing bool
	// loading tells that Storage is loading what should be sent next, or is making a snapshot.
	loading  bool
	inflight inflight
}

func (pr *Progress) String() string {
	s := fmt.Sprintf("%s match=%d next=%d", pr.State, pr.Match, pr.Next)
	switch {
	case pr.State == ProgressSnapshot:
		s += fmt.Sprintf(" snapshot=%d", pr.PendingSnapshot)
	case pr.loading:
		s += " loading"
	case pr.paused():
		s += " paused"
	}
	if !pr.RecentActive {
		s += " inactive"
	}
	return s
}

func (pr *Progress) become(s ProgressState) {
	pr.State = s
	pr.PendingSnapshot = 0
	pr.probing, pr.loading = false, false
	pr.inflight.reset()
}

func (pr *Progress) becomeProbe() {
	next := pr.Match + 1
	if pr.State == ProgressSnapshot {
		// The snapshot has been reported as sent, and may well have arrived.
		next = max(next, pr.PendingSnapshot+1)
		pr.Wanted = 0 // it asks again if it has not
	}
	pr.become(ProgressProbe)
	pr.Next = next
}

func (pr *Progress) becomeReplicate() {
	pr.become(ProgressReplicate)
	pr.Next = pr.Match + 1
}

func (pr *Progress) becomeSnapshot(index uint64) {
	pr.become(ProgressSnapshot)
	pr.PendingSnapshot = index
	pr.Next = index + 1
}

// maybeUpdate takes in an acknowledgement and tells whether it was new.
func (pr *Progress) maybeUpdate(index uint64) bool {
	if index <= pr.Match {
		return false
	}
	pr.Match = index
	pr.Next = max(pr.Next, index+1)
	pr.probing = false
	return true
}

// maybeDecrease takes in that the append behind index rejected was refused and that hint is the next place to try. It
// tells whether this was news; a refusal that was delayed or is repeated is none.
func (pr *Progress) maybeDecrease(rejected, hint uint64) bool {
	switch pr.State {
	case ProgressReplicate:
		if rejected <= pr.Match {
			return false
		}
		pr.becomeProbe()
		pr.Next = max(pr.Match, min(rejected-1, hint)) + 1
		return true
	case ProgressProbe:
		if rejected != pr.Next-1 {
			return false
		}
		pr.Next = max(min(rejected, hint+1), pr.Match+1)
		pr.probing = false
		return true
	}
	return false
}

// sooner tells whether a member could take over sooner than another: it was heard from lately, or else has more of the log.
func (pr *Progress) sooner(than *Progress) bool {
	if pr.RecentActive != than.RecentActive {
		return pr.RecentActive
	}
	return pr.Match > than.Match
}

// sent takes in that an append with n entries of this many bytes has left.
func (pr *Progress) sent(n int, bytes uint64) {
	if pr.State != ProgressReplicate {
		pr.probing = true
		return
	}
	if n > 0 {
		pr.Next += uint64(n)
		pr.inflight.add(pr.Next-1, bytes)
	}
}

func (pr *Progress) paused() bool {
	switch pr.State {
	case ProgressProbe:
		return pr.probing || pr.loading
	case ProgressReplicate:
		return pr.loading || pr.inflight.full()
	}
	return true
}

// inflight is the window of appends that one follower has not acknowledged: a ring that grows to what is needed.
type inflight struct {
	maxCount int
	maxBytes uint64

	bytes uint64
	start int
	count int
	ring  []sentAppend
}

type sentAppend struct {
	last, bytes uint64
}

func (in *inflight) unlimited() bool {
	return in.maxCount == 0 && in.maxBytes == 0
}

func (in *inflight) full() bool {
	return in.maxCount > 0 && in.count >= in.maxCount || in.maxBytes > 0 && in.bytes >= in.maxBytes
}

func (in *inflight) add(last, bytes uint64) {
	if in.unlimited() {
		return
	}
	if in.count == len(in.ring) {
		grown := make([]sentAppend, max(4, 2*len(in.ring)))
		for i := range in.count {
			grown[i] = in.ring[(in.start+i)%len(in.ring)]
		}
		in.ring, in.start = grown, 0
	}
	in.ring[(in.start+in.count)%len(in.ring)] = sentAppend{last, bytes}
	in.count++
	in.bytes += bytes
}

// acked frees the appends up to and including index.
func (in *inflight) acked(index uint64) {
	for in.count > 0 && in.ring[in.start].last <= index {
		in.bytes -= in.ring[in.start].bytes
		in.start = (in.start + 1) % len(in.ring)
		in.count--
	}
}

func (in *inflight) reset() {
	in.bytes, in.start, in.count = 0, 0, 0
}
