// Package machine is the part of the raftstore that decides. The shells around it (package raftstore) own the
// goroutines, mailboxes, files and sockets; a machine is plain single-threaded code that takes a batch of mail and the
// time, changes its own state, and returns what should happen as a value. The simulator drives the same machines.
//
// Three machines make a store:
//
//	RaftMachine   n per store; owns the peers whose region id falls to it: consensus, proposals, reads, log compaction
//	StoreMachine  one per store; owns what belongs to the whole store: range index, creations, snapshot claims
//	ApplyMachine  turns committed entries into engine batches
//
// A region always lives on the same RaftMachine and the same ApplyMachine, so that its state has one owner and needs no lock. Between
// machines there is only mail. Nothing in this package blocks, locks, reads a clock, draws a random number or touches a disk.
//
// Each operation has a file of its own (op_write, op_read, op_confchange, …) that tells it in the order check → propose → apply →
// after; the only switches over mail are the Handle methods.
package machine

import (
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// Instant is a reading of a clock that never goes back and counts through suspension (CLOCK_BOOTTIME), in nanoseconds.
type Instant int64

// Round is everything that one batch of mail caused. CarryOut performs it; the order of the fields is the order of the deeds.
type Round struct {
	// Views come first: no message may leave while readers still trust an older lease.
	Views []*RegionView
	// Send may leave at once: a leader's appends, heartbeats.
	Send []*raft_serverpb.RaftMessage
	// Write is to be made durable; each carries the messages that promise its durability.
	Write []WriteTask
	// Apply is committed, and persisted here.
	Apply []ApplyTask
	// Mail is for other machines of this store.
	Mail []Addressed
	// Reply ends proposals and reads that were decided here.
	Reply []Reply
	// Ask is for the scheduler; answers come back as mail.
	Ask []SchedulerCall
	// Tasks are slow things to be done elsewhere; completions come back as mail.
	Tasks []Task
	// Lags are by how many entries the slowest replica of each region whose log was looked at is behind: for counting.
	Lags []uint64
	// Wake, when it is not 0, asks that the machine be called at that Instant even if there is no mail. Any later call will do as well.
	Wake Instant
}

// Outlets is where a round's deeds go. None of the functions may block.
type Outlets struct {
	Publish func(*RegionView)
	Send    func([]*raft_serverpb.RaftMessage)
	Write   func([]WriteTask)
	Apply   func([]ApplyTask)
	Post    func(Addressed)
	Reply   func(Reply)
	Ask     func(SchedulerCall)
	Run     func(Task)
}

// CarryOut performs a round, in production and in the simulator alike.
func (r *Round) CarryOut(o Outlets) {
	for _, v := range r.Views {
		o.Publish(v)
	}
	if len(r.Send) > 0 {
		o.Send(r.Send)
	}
	if len(r.Write) > 0 {
		o.Write(r.Write)
	}
	if len(r.Apply) > 0 {
		o.Apply(r.Apply)
	}
	for _, m := range r.Mail {
		o.Post(m)
	}
	for _, rep := range r.Reply {
		o.Reply(rep)
	}
	for _, a := range r.Ask {
		o.Ask(a)
	}
	for _, t := range r.Tasks {
		o.Run(t)
	}
}

// WriteTask is one region's part of the log writer's next batch.
type WriteTask struct {
	logstore.Update
	// PeerID and Number come back in Persisted; Number 0 means that nobody waits.
	PeerID, Number uint64
	// After leaves only once the update is durable: votes, append acknowledgements.
	After []*raft_serverpb.RaftMessage
	// Destroyed, when set, is posted instead of Persisted: the region's log is gone.
	Destroyed bool
}

// Reply ends a proposal (Done) or a read (Grant).
type Reply struct {
	Done  func(error)
	Grant func(ReadGrant, error)
	// Read is what Grant is told when Err is nil.
	Read ReadGrant
	Err  error
}

// ReadGrant says that what the state engine holds now is recent enough for the read, if the region still has this epoch.
type ReadGrant struct {
	Region *metapb.Region
	Term   uint64
}

// Pair is a raft index with its term.
type Pair struct{ Index, Term uint64 }

// Config is what the machines need to know. All durations are counted in ticks or given in nanoseconds of Instant.
type Config struct {
	StoreID uint64
	// Seed feeds the randomised election timeouts, and tells this start of the store from all others.
	Seed uint64
	// ElectionTicks and HeartbeatTicks are raft's.
	ElectionTicks, HeartbeatTicks int
	// LeaseDuration must be shorter than the shortest election timeout, less clock drift and one tick; 0 turns leases off.
	LeaseDuration Instant
	PreVote       bool
	Raft          RaftLimits
	LogGC         LogGC
	// HashTicks is how often a leader compares the region's replicas; 0 is never.
	HashTicks uint64
	// RegionHeartbeatTicks is how often a leader reports to the scheduler when nothing changed.
	RegionHeartbeatTicks int
	// SleepTicks is how long a region must have had no work before it may sleep; 0: regions never sleep.
	SleepTicks int
	Split      SplitLimits
}

// LogGC says when a leader cuts its log.
type LogGC struct {
	// Ticks is how often it looks; 0 is never. Threshold is how many entries that all replicas have make a cut worth while.
	Ticks     int
	Threshold uint64
	// For a replica that lags, Count entries and Bytes are kept at most; none for one that has not been heard for Silence ticks.
	// Beyond that it catches up by snapshot. 0 is no limit of that kind.
	Count, Bytes, Silence uint64
}

// SplitLimits are what a region may hold, in bytes and keys, and what the parts of a split hold. Without MaxSize nothing is measured.
type SplitLimits struct {
	MaxSize, SplitSize, MaxKeys, SplitKeys uint64
	// Diff is how many bytes must have been written since a measurement for another one.
	Diff uint64
	// Batch is how many regions one split may make.
	Batch int
	// CheckTicks is how often a leader looks whether the size is known, and tries again to split what is too large.
	CheckTicks int
}

// RaftLimits bound what one group keeps in memory and puts on the wire. Bytes, except where it says messages.
type RaftLimits struct {
	MaxSizePerMsg, MaxCommittedPerReady, MaxUncommitted, MaxInflightBytes, MaxCached uint64
	MaxInflightMsgs                                                                  int
	// MaxEntry is the largest payload that is accepted; MaxBatch is where collecting waiting commands into one entry stops.
	MaxEntry, MaxBatch uint64
}
