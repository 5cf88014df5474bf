// Package raft is the consensus core: one member of one replicated log, as arithmetic.
//
// A RawNode takes inputs (ticks, messages, proposals, reports of finished work) and keeps what follows from them until
// Ready collects it: entries and state to be made durable, messages to be sent, committed entries to be applied, reads
// that may be served. The package never reads a clock, a disk, a random source or the network and starts no goroutine:
// equal inputs give equal outputs. Time is the number of ticks; the spread of election timeouts comes from Config.Seed.
//
// # Order of a round
//
//	inputs ─▶ Ready ─┬─▶ Messages at once (a leader's appends, heartbeats)
//	                 ├─▶ Entries, HardState, Snapshot into one durable write ─▶ PersistedMessages, then Persisted(Number)
//	                 ├─▶ CommittedEntries to the state machine ─▶ Applied(index)
//	                 └─▶ ReadStates: a read may be served once the state machine has applied Index
//
// # Two modes
//
// With Config.AsyncStorage the node works as above: Ready hands everything off, several Readies may be under way, and
// Persisted and Applied report back in any interleaving. A node's own vote and own append count only once Persisted
// says that they are durable, and only entries that are committed and durable here are handed out for applying.
//
// Without it the node works as the course describes: Ready shows what is to be done, Advance says that all of it has been
// done, a leader counts its own append at once, and messages carry only the fields that the course names. Every limit
// left at zero is off.
//
// # The indexes of a log
//
//	snapshot ≤ applied ≤ stabled ≤ last      applied ≤ committed ≤ last
//
// applied is what the state machine has, stabled what is durable here, committed what a quorum holds. A leader may commit
// an entry before it is durable on the leader itself.
//
// # Members
//
// Voters decide and learners only follow; a change of one member is simple, a change of several passes through a joint
// configuration, in which two majorities must agree. What a majority is, is asked in one place (quorum), and where a change
// leads in another (confchange). A change is in force on each node once that node applies it; membership.go and departure.go
// say what keeps that safe, and who has to know before a removed node may be gone.
//
// # Where to find what
//
// raft.go holds the roles' common state and the rule of terms; follower.go, candidate.go and leader.go what each role does
// with a message; append.go and progress.go replication; transfer.go, snapshot.go, readonly.go, membership.go and
// departure.go one operation each; log.go the log and its cached suffix; rawnode.go and ready.go the outside.
package raft
