package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
)

const (
	// DisconnectedAfter is how long a store may be silent before it counts as disconnected.
	DisconnectedAfter = 20 * time.Second
	// DownAfter is how long a store may be silent before it counts as down, unless it is set.
	DownAfter = 30 * time.Minute
	// baseVersion is what a store that names no version counts as.
	baseVersion = "1.0.0"
)

// State is what a store can be used for.
type State uint8

// The states of a store. The first three follow from its last heartbeat, the last two from its meta.
const (
	Up State = iota + 1
	Disconnected
	Down
	Offline
	Tombstone
)

// String is the state's name as the family's tools print it.
func (s State) String() string {
	switch s {
	case Up:
		return "Up"
	case Disconnected:
		return "Disconnected"
	case Down:
		return "Down"
	case Offline:
		return "Offline"
	case Tombstone:
		return "Tombstone"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// StoreStats is what a store reports of itself; sizes in bytes.
type StoreStats struct {
	Capacity, Available, UsedSize uint64
	RegionCount                   uint32
	StartTime                     uint32 // seconds of unix time
	SendingSnapshots              uint32
	ReceivingSnapshots            uint32
	ApplyingSnapshots             uint32
	IsBusy                        bool
	// SlowScore is 1 for a store that is well, up to 100 for one that is very slow; 0 if it does not say.
	SlowScore uint64
	// Read and Write are the store's own count of its traffic.
	Read, Write Rate
}

// Tuning is what operators set for one store.
type Tuning struct {
	LeaderWeight float64 `json:"leader-weight"`
	RegionWeight float64 `json:"region-weight"`
	// AddPeer and RemovePeer are how many peers a minute may come and go; 0 means as configured for all stores.
	AddPeer    float64 `json:"add-peer"`
	RemovePeer float64 `json:"remove-peer"`
}

// DefaultTuning is that of a store for which nothing was set.
func DefaultTuning() Tuning { return Tuning{LeaderWeight: 1, RegionWeight: 1} }

// Store is what is known of one store. It is immutable.
type Store struct {
	Meta  *metapb.Store
	Stats StoreStats
	// Known is the instant at which this term learned of the store, Heard that of its last heartbeat in this term (zero
	// if there was none): both of the monotonic clock.
	Known, Heard time.Time
	// LastHeartbeat is the wall time of the last heartbeat, for showing.
	LastHeartbeat time.Time
	Tuning        Tuning
	downAfter     time.Duration
}

// ID is the store's id.
func (s *Store) ID() uint64 { return s.Meta.Id }

// Label is the value of one of the store's labels, empty if it has none of that name.
func (s *Store) Label(key string) string {
	for _, l := range s.Meta.Labels {
		if strings.EqualFold(l.Key, key) {
			return l.Value
		}
	}
	return ""
}

// Used is the part of the store's capacity that is not available, from 0 to 1; 0 if the capacity is not known.
func (s *Store) Used() float64 {
	if s.Stats.Capacity == 0 || s.Stats.Available > s.Stats.Capacity {
		return 0
	}
	return 1 - float64(s.Stats.Available)/float64(s.Stats.Capacity)
}

// State judges the store at instant now. A store that this term has not heard of yet is not Up: nothing says that it
// lives.
func (s *Store) State(now time.Time) State {
	switch s.Meta.State {
	case metapb.StoreState_Offline:
		return Offline
	case metapb.StoreState_Tombstone:
		return Tombstone
	}
	switch silent := s.Silence(now); {
	case silent > s.downAfter:
		return Down
	case silent > DisconnectedAfter || s.Heard.IsZero():
		return Disconnected
	}
	return Up
}

// Silence is how long the store has not been heard of by instant now: since this term knows it, at the longest.
func (s *Store) Silence(now time.Time) time.Duration {
	if s.Heard.IsZero() {
		return now.Sub(s.Known)
	}
	return now.Sub(s.Heard)
}

// CheckStore says why a store may not register as it describes itself: its id or address is missing, it was buried, its
// address is another live store's, or its version is too old. A known store may come back with another address.
func (p *Picture) CheckStore(meta *metapb.Store) error {
	if meta.GetId() == 0 {
		return errors.Errorf("invalid put store %v", meta)
	}
	if meta.Address == "" {
		return errors.Errorf("store %d has no address", meta.Id)
	}
	if old := p.stores[meta.Id]; old != nil && old.Meta.State == metapb.StoreState_Tombstone {
		return &TombstoneError{Store: old.Meta}
	}
	for _, other := range p.Stores() {
		if other.Meta.Id == meta.Id || other.Meta.State == metapb.StoreState_Tombstone || other.Meta.PhysicallyDestroyed {
			continue
		}
		if other.Meta.Address == meta.Address {
			return errors.Errorf("duplicated store address: %v, already registered by %v", meta, other.Meta)
		}
	}
	version, err := parseVersion(meta.Version)
	if err != nil {
		return err
	}
	oldest, err := p.oldestVersion()
	if err != nil || oldest == nil {
		return err
	}
	if !oldest.LessThan(version) && (oldest.Major != version.Major || oldest.Minor != version.Minor) {
		return errors.Errorf("version should compatible with version  %s, got %s", oldest, version)
	}
	return nil
}

// TombstoneError says that a store was removed for good: its id must not come back.
type TombstoneError struct{ Store *metapb.Store }

// Error describes the buried store.
func (e *TombstoneError) Error() string { return fmt.Sprintf("store is tombstone: %v", e.Store) }

// Version is the cluster's version: that of its oldest store, since only what every store can do may be relied on. It is
// empty while there is no store.
func (p *Picture) Version() string {
	oldest, err := p.oldestVersion()
	if err != nil || oldest == nil {
		return ""
	}
	return oldest.String()
}

func (p *Picture) oldestVersion() (*semver.Version, error) {
	var oldest *semver.Version
	for _, s := range p.Stores() {
		if s.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		v, err := parseVersion(s.Meta.Version)
		if err != nil {
			return nil, err
		}
		if oldest == nil || v.LessThan(*oldest) {
			oldest = &v
		}
	}
	return oldest, nil
}

func parseVersion(s string) (semver.Version, error) {
	if s == "" {
		s = baseVersion
	}
	if s[0] == 'v' {
		s = s[1:]
	}
	v, err := semver.NewVersion(s)
	if err != nil {
		return semver.Version{}, errors.Annotatef(err, "store version %q must look like 8.5.0", s)
	}
	return *v, nil
}
