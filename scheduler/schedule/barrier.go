package schedule

import (
	"fmt"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Barrier is what keeps a store from giving something away or from taking it. Decisions know nothing else; the words that a person is told are made when they are told.
type Barrier uint8

// The barriers. Open is none.
const (
	Open Barrier = iota
	Disconnected
	Down
	Offline
	Buried
	Busy
	TooFull
	Snapshots
	PendingPeers
	AddLimit
	RemoveLimit
	Evicted
	Slow
	Granted
	Constraints
	Isolation
)

// String is the barrier's name as the family's boards know it; Granted is of our own.
func (b Barrier) String() string {
	return [...]string{
		"store-state-ok-filter", "store-state-disconnect-filter", "store-state-down-filter", "store-state-offline-filter", "store-state-tombstone-filter",
		"store-state-busy-filter", "storage-threshold-filter", "store-state-too-many-snapshots-filter", "store-state-too-many-pending-peers-filter",
		"store-state-exceed-add-limit-filter", "store-state-exceed-remove-limit-filter", "store-state-reject-leader-filter", "store-state-slow-filter",
		"store-state-grant-leader-filter", "label-constraint-filter", "isolation-filter",
	}[b]
}

// notUp is the barrier of a state.
func notUp(state cluster.State) Barrier {
	return [...]Barrier{
		cluster.Up: Open, cluster.Disconnected: Disconnected, cluster.Down: Down, cluster.Offline: Offline, cluster.Tombstone: Buried,
	}[state]
}

// says is a store's barrier in words; empty if there is none.
func (b Barrier) says(s *cluster.Store) string {
	switch b {
	case Disconnected, Down, Offline, Buried:
		return fmt.Sprintf("it is %s", cluster.Disconnected+cluster.State(b-Disconnected))
	case Busy:
		return "it is busy"
	case TooFull:
		return fmt.Sprintf("it is %.0f %% full (low-space-ratio)", 100*s.Used())
	case Snapshots:
		return "it handles too many snapshots (max-snapshot-count)"
	case PendingPeers:
		return "too many of its peers are not caught up (max-pending-peer-count)"
	case AddLimit:
		return "its limit of peers a minute is reached (store limit add-peer)"
	case RemoveLimit:
		return "its limit of peers a minute is reached (store limit remove-peer)"
	case Evicted:
		return "its leaders are evicted (" + EvictLeader + ")"
	case Slow:
		return "it is slow (" + EvictSlow + ")"
	case Granted:
		return "it keeps all its leaders (" + GrantLeader + ")"
	case Constraints:
		return "its labels do not meet the rule's constraints"
	case Isolation:
		return "it is too near to the other replicas"
	case Open:
	}
	return ""
}
