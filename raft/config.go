package raft

import "github.com/pingcap/errors"

// None is the id of no node.
const None uint64 = 0

// Config says who a node is and which limits it keeps. Sizes are in bytes, times in ticks. A limit of zero is no limit.
type Config struct {
	// ID of this node in its group; never None and never used again after the node has been removed.
	ID uint64
	// peers are the members to start with; only the course's tests set them. Otherwise Storage tells the members.
	peers []uint64

	// ElectionTick is the least number of ticks without a leader before a node campaigns; the actual number is drawn from
	// [ElectionTick, 2*ElectionTick). It must be greater than HeartbeatTick.
	ElectionTick int
	// HeartbeatTick is the number of ticks between two heartbeats of a leader.
	HeartbeatTick int

	// Storage reads what has been persisted.
	Storage Storage
	// Applied is the last index that the state machine holds; zero means the one before Storage's first index.
	Applied uint64
	// Seed, mixed with ID, decides the election timeouts.
	Seed uint64

	// AsyncStorage selects the mode of the package comment's first picture; false is the course's mode.
	AsyncStorage bool
	// PreVote makes a node ask whether it could win before it raises its term.
	PreVote bool
	// CheckQuorum makes a leader step down that has not heard from a quorum for an election timeout, and makes a node that
	// has heard from its leader within one ignore campaigns. Leases rest on it.
	CheckQuorum bool
	// VoteSilenceTicks is how long a restarted node ignores campaigns, because it has forgotten whether it had just heard
	// from a leader that now trusts its lease. Set it, to ElectionTick, only for nodes that existed before the process
	// began. A node without persisted state and the only voter of a group are exempt.
	VoteSilenceTicks int
	// LazyCommit lets a new commit index ride on the next append or heartbeat instead of being sent by itself.
	LazyCommit bool
	// AnnounceApplied keeps a leader from telling others that an entry is committed before it has applied it. Then no follower shows, to readers that a
	// ReadIndex let in, what the leader does not show yet to those that it answers by its lease.
	AnnounceApplied bool
	// CommitLag is how far the commit index that is durable may stay behind when entries are written: until then a Ready that brings entries,
	// no membership change among them, and neither term nor vote has no HardState. At zero every Ready tells it. After a restart the node commits again what it had, from what is applied on.
	CommitLag uint64

	// MaxSizePerMsg bounds the entries of one append; a single larger entry still travels.
	MaxSizePerMsg uint64
	// MaxCommittedSizePerReady bounds CommittedEntries of one Ready; a single larger entry is still handed out.
	MaxCommittedSizePerReady uint64
	// MaxUncommittedEntriesSize bounds a leader's uncommitted proposals; what would exceed it is dropped.
	MaxUncommittedEntriesSize uint64
	// MaxInflightMsgs and MaxInflightBytes bound the appends to one follower that it has not acknowledged.
	MaxInflightMsgs  int
	MaxInflightBytes uint64
	// MaxCachedBytes bounds the entries kept in memory although they are applied, committed and durable. At zero all are
	// kept until Storage compacts them.
	MaxCachedBytes uint64
}

func (c *Config) validate() error {
	switch {
	case c.ID == None:
		return errors.New("raft: Config.ID must not be 0")
	case c.HeartbeatTick <= 0:
		return errors.Errorf("raft: Config.HeartbeatTick is %d, must be at least 1", c.HeartbeatTick)
	case c.ElectionTick <= c.HeartbeatTick:
		return errors.Errorf("raft: Config.ElectionTick is %d, must be greater than HeartbeatTick (%d)", c.ElectionTick, c.HeartbeatTick)
	case c.Storage == nil:
		return errors.New("raft: Config.Storage is missing")
	case c.MaxInflightMsgs < 0 || c.VoteSilenceTicks < 0:
		return errors.New("raft: Config.MaxInflightMsgs and Config.VoteSilenceTicks must not be negative")
	}
	return nil
}
