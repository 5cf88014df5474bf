package test_raftstore

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-kv/shoal/proto/region"
)

// changePeersAtRandom adds a peer on a random store, or removes the one that is there, again and again. What is refused is not repeated.
func (c *Cluster) changePeersAtRandom(stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(9, 4))
	for !stop.Load() {
		store := 1 + rng.Uint64N(stores)
		if r := c.GetRandomRegion(); r != nil && !region.IsJoint(r) {
			if p := region.FindPeerOn(r, store); p == nil {
				_ = c.change(r, addPeer(c.AllocPeer(store)))
			} else if len(r.Peers) > 1 {
				_ = c.change(r, removePeer(p))
			}
		}
		<-time.After(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
	}
}

func TestConfChangeRecover3B(t *testing.T) { generic{clients: 1, crash: true, confChange: true}.run(t) }

func TestConfChangeRecoverManyClients3B(t *testing.T) {
	generic{clients: 20, crash: true, confChange: true}.run(t)
}

func TestConfChangeUnreliable3B(t *testing.T) {
	generic{clients: 5, unreliable: true, confChange: true}.run(t)
}

func TestConfChangeUnreliableRecover3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, confChange: true}.run(t)
}

func TestConfChangeSnapshotUnreliableRecover3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, maxRaftLog: 100, confChange: true}.run(t)
}

func TestConfChangeSnapshotUnreliableRecoverConcurrentPartition3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, partitions: true, maxRaftLog: 100, confChange: true}.run(t)
}

func TestSplitConfChangeSnapshotUnreliableRecover3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, maxRaftLog: 100, confChange: true, split: true}.run(t)
}

func TestSplitConfChangeSnapshotUnreliableRecoverConcurrentPartition3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, partitions: true, maxRaftLog: 100, confChange: true, split: true}.run(t)
}
