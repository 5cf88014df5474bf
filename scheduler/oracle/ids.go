package oracle

import "time"

// maxIDs bounds one request, so that a nonsensical count cannot burn the id space.
const maxIDs = 1 << 16

// IDGrant is the answer of IDs.Next.
type IDGrant struct {
	Verdict Verdict
	// First to Last, inclusive, are the granted ids.
	First, Last uint64
	// Save is the bound to persist when the verdict is SaveFirst.
	Save uint64
}

// IDs hands out ids that are unique and increasing over the life of the cluster; the first is 1.
//
// What must hold: every id handed out is at most saved.
type IDs struct {
	last   uint64
	saved  uint64
	window uint64
}

// NewIDs starts a term's allocator: saved is the bound found in the durable map (0 if none), window how many ids one
// write of the bound is good for. Ids of the previous window that were never handed out are lost, never reused.
func NewIDs(saved, window uint64) *IDs {
	return &IDs{last: saved, saved: saved, window: max(window, 1)}
}

// Next grants count consecutive ids. It asks for the lease although the window alone keeps ids unique: a deposed leader
// must not hand out an id that is smaller than one its successor gave before.
func (a *IDs) Next(count uint64, now, leaseEnd time.Time) IDGrant {
	if !now.Before(leaseEnd) {
		return IDGrant{Verdict: NotLeader}
	}
	if count == 0 || count > maxIDs {
		return IDGrant{Verdict: TooMany}
	}
	if a.last+count > a.saved {
		return IDGrant{Verdict: SaveFirst, Save: a.saved + max(a.window, count)}
	}
	first := a.last + 1
	a.last += count
	return IDGrant{Verdict: Granted, First: first, Last: a.last}
}

// Saved reports that the bound is durable.
func (a *IDs) Saved(bound uint64) { a.saved = max(a.saved, bound) }

// Renew returns the bound to persist ahead of need, or 0 while more than half of the window is left.
func (a *IDs) Renew() uint64 {
	if a.saved-a.last > a.window/2 {
		return 0
	}
	return a.saved + a.window
}
