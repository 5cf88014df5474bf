package machine

import (
	"fmt"
	"time"

	"github.com/gogo/protobuf/proto"
)

// Where things lie in the durable map.
const (
	clusterKey      = "raft"
	storePrefix     = "raft/s/"
	regionPrefix    = "raft/r/"
	timestampKey    = "timestamp"
	idKey           = "alloc_id"
	gcKey           = "gc/safe_point"
	gcServicePrefix = "gc/safe_point/service/"

	// BootstrapTimeKey holds when the cluster began: unix nanoseconds, 8 bytes, big endian.
	BootstrapTimeKey = "raft/status/raft_bootstrap_time"
)

func storeKey(id uint64) string       { return fmt.Sprintf("%s%020d", storePrefix, id) }
func storeTuningKey(id uint64) string { return fmt.Sprintf("%s%020d", tuningPrefix, id) }
func regionKey(id uint64) string      { return fmt.Sprintf("%s%020d", regionPrefix, id) }

// Op is one change of the durable map.
type Op struct {
	Key string
	// Value is nil when the key is to be deleted.
	Value []byte
}

// Save must be durable, in one step, before what it was made for takes effect. A term whose Save fails is over.
type Save struct {
	Ops []Op
	// IfAbsent is a key that must not exist yet; empty for no condition.
	IfAbsent string
	take     func(now time.Time)
}

// Done reports that the save is durable. It is a call into the machine like any other.
func (s *Save) Done(now time.Time) { s.take(now) }

// mustMarshal encodes a message that came in as one: it cannot fail.
func mustMarshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("a %T that was decoded cannot be encoded: %v", m, err))
	}
	return b
}
