// Package election is the arithmetic of leading the scheduler group: how long a leader may take its lead for granted, and when
// another member may take the lead from one that was heard of no more. scheduler/meta does what comes out of it to etcd, and the
// simulator to its model of etcd.
//
// A leader holds the leader key, which is bound to a lease of etcd's, and reckons the lease by its own clock from before it asked
// for it, and again from before each renewal: a read that etcd's leader had confirmed by a quorum. Only the member whose
// etcd leads its group campaigns, so the lease is granted and measured on the leader's own machine.
//
// When etcd's lead moves, etcd grants every lease a second time and its election timeout on top, and the group would be without a
// leader for all of that. So the next member does not wait for the key to vanish: it deletes it once the lease behind it is over for
// certain. Whatever the old leader counts on began before this member's etcd was elected, or before this member saw the key: one
// lease after both it is over, if the clocks keep about the same pace.
package election

import "time"

// driftShare is the part of a lease that is waited on top, because clocks run apart: with a quarter, one clock may be a tenth
// slow and the other a tenth fast.
const driftShare = 4

// Extended is the end of a lease that ended at end and was asked for, anew, at the instant asked: etcd counts from later. A lease that was lost,
// which ends at the zero time, stays so.
func Extended(end, asked time.Time, lease time.Duration) time.Time {
	next := asked.Add(lease)
	if end.IsZero() || !next.After(end) {
		return end
	}
	return next
}

// Begun is the end of a first lease, asked for at the instant asked.
func Begun(asked time.Time, lease time.Duration) time.Time { return asked.Add(lease) }

// Look is what a member sees when it looks at the leader key.
type Look struct {
	// Held says that the key is there, and Revision with what revision it was created.
	Held     bool
	Revision int64
	// Own says that the key names the one who looks; Stranger that it names somebody who is no member any more.
	Own, Stranger bool
	// LeadsEtcd says that the etcd of the one who looks leads its group, and Moved that the lead of that group has moved, be it away and back,
	// since the last look.
	LeadsEtcd, Moved bool
	// Now is of the monotonic clock, read after all that.
	Now time.Time
}

// Action is what a candidate does about the leader key.
type Action uint8

// The actions of a candidate.
const (
	Wait Action = iota
	// Take: create the key, under a fresh lease.
	Take
	// Remove: delete the key, provided it is still the one that was seen.
	Remove
)

// Candidate is a member that would lead. It looks at the leader key every now and then.
type Candidate struct {
	// Lease is how long leaders may lead without renewing.
	Lease time.Duration
	// seen is the key of another that has been there since, while this member's etcd led all along; 0 for none.
	seen  int64
	since time.Time
}

// Decide says what to do after a look. A key that names the candidate itself is left over from a term that ended, in this process or
// in one before it on the same data: it is removed rather than waited out.
func (c *Candidate) Decide(l Look) Action {
	if l.Moved || !l.LeadsEtcd {
		c.seen = 0
	}
	switch {
	case !l.Held && l.LeadsEtcd:
		return Take
	case !l.Held:
		return Wait
	case l.Own:
		return Remove
	case l.Stranger || !c.outwaited(l):
		return Wait
	}
	return Remove
}

// outwaited says that the leader of another member's key is past its lease although the key is still there.
func (c *Candidate) outwaited(l Look) bool {
	if !l.LeadsEtcd {
		return false
	}
	if c.seen != l.Revision {
		c.seen, c.since = l.Revision, l.Now
		return false
	}
	return l.Now.Sub(c.since) > c.Lease+c.Lease/driftShare
}
