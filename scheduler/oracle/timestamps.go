package oracle

import "time"

const (
	// MaxLogical bounds the logical part of a timestamp: it has 18 bits.
	MaxLogical = 1 << 18
	// restartGuard, in milliseconds, keeps a new leader's first timestamp clear of the persisted bound.
	restartGuard = 1
)

// TimestampGrant is the answer of Timestamps.Next.
type TimestampGrant struct {
	Verdict Verdict
	// Physical, in milliseconds since the epoch, and Logical are the last timestamp of the granted batch; the others are
	// the ones just below it, with the same physical part.
	Physical, Logical int64
	// Save, in milliseconds, is the bound to persist when the verdict is SaveFirst.
	Save int64
}

// Timestamps hands out strictly increasing timestamps. Every quantity inside is in milliseconds: comparing one bound in
// milliseconds with another in nanoseconds has lost this race before (pd #3616).
//
// What must hold: every physical part handed out is below saved; (physical, logical) only grows.
type Timestamps struct {
	physical int64
	logical  int64
	saved    int64
	window   int64
}

// NewTimestamps starts a term's oracle: saved is the bound found in the durable map (0 if none), wall the current wall
// time, both in milliseconds; window is how far ahead bounds are persisted.
func NewTimestamps(saved, wall int64, window time.Duration) *Timestamps {
	return &Timestamps{
		physical: max(wall, saved+restartGuard),
		saved:    saved,
		window:   max(window.Milliseconds(), 1),
	}
}

// Next grants count consecutive timestamps. The physical part follows the wall clock when that moves forward and stands
// still when it steps back; a full logical part moves the physical one forward instead of waiting.
func (t *Timestamps) Next(count uint32, wall int64, now, leaseEnd time.Time) TimestampGrant {
	if !now.Before(leaseEnd) {
		return TimestampGrant{Verdict: NotLeader}
	}
	if count == 0 || count >= MaxLogical {
		return TimestampGrant{Verdict: TooMany}
	}
	physical, logical := t.physical, t.logical
	if wall > physical {
		physical, logical = wall, 0
	}
	if logical+int64(count) >= MaxLogical {
		physical, logical = physical+1, 0
	}
	if physical >= t.saved {
		return TimestampGrant{Verdict: SaveFirst, Save: physical + t.window}
	}
	t.physical, t.logical = physical, logical+int64(count)
	return TimestampGrant{Verdict: Granted, Physical: t.physical, Logical: t.logical}
}

// Renew returns the bound to persist ahead of need, or 0 while more than half of the window is left. It keeps the write
// of the bound out of the way of requests; only a clock that jumps makes Next wait for one.
func (t *Timestamps) Renew(wall int64) int64 {
	at := max(t.physical, wall)
	if t.saved-at > t.window/2 {
		return 0
	}
	return at + t.window
}

// Saved reports that the bound is durable. Bounds may be reported late and in any order.
func (t *Timestamps) Saved(bound int64) { t.saved = max(t.saved, bound) }

// Physical is the physical part of the last timestamp, or of the first to come: no later one is below it.
func (t *Timestamps) Physical() int64 { return t.physical }
