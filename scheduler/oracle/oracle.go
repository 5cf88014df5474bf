// Package oracle holds the two machines that hand out what must never repeat: timestamps and ids.
//
// Both work the same way. What was handed out must be remembered for ever, yet writing each value to the durable map
// would be far too slow; so a machine first has a bound persisted (the end of a window) and then serves freely below it.
// Whoever leads next starts at the persisted bound, above everything that its predecessors may have handed out, whether
// or not they used their windows up.
//
// The order of one request is:
//
//  1. Next is asked with the current instant and the end of the leadership lease.
//  2. Verdict SaveFirst: the shell persists Grant.Save, guarded by its leadership, reports it with Saved, and asks again.
//  3. Verdict Granted: the shell looks at its lease once more, with an instant taken after Next, and only then answers.
//     A grant that comes out after the lease ended is thrown away: the next leader may already have passed it.
//
// The machines have no clock, I/O or goroutine: instants, wall time and the outcome of writes come in as arguments. The
// shell calls one method at a time. A machine belongs to one term of one leader and is dropped with it.
package oracle

// Verdict says what came of a request.
type Verdict uint8

const (
	// Granted means the grant's values are the caller's alone.
	Granted Verdict = iota + 1
	// SaveFirst means nothing was handed out: persist Grant.Save, report it with Saved, ask again.
	SaveFirst
	// NotLeader means the leadership lease has ended, or ends now: nothing may be handed out in this term any more.
	NotLeader
	// TooMany means that the count is zero or more than one request may ask for.
	TooMany
)
