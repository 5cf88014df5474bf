package test_raftstore

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// Filter decides about one message between two stores: true lets it pass. It is called from many goroutines.
type Filter func(from, to uint64, msg *raft_serverpb.RaftMessage) bool

// network carries messages between the stores of a cluster, as far as the filters let them.
type network struct {
	c       *Cluster
	mu      sync.RWMutex
	filters []Filter
	wg      sync.WaitGroup
	// rot makes one bit of the next received snapshot file wrong.
	rot atomic.Bool
}

func newNetwork(c *Cluster) *network { return &network{c: c} }

func (n *network) close() { n.wg.Wait() }

func (n *network) passes(from, to uint64, msg *raft_serverpb.RaftMessage) bool {
	n.mu.RLock()
	filters := n.filters
	n.mu.RUnlock()
	for _, f := range filters {
		if !f(from, to, msg) {
			return false
		}
	}
	return true
}

// link is one store's way into the network.
type link struct {
	net  *network
	from uint64
}

// Send implements raftstore.Transport.
func (l *link) Send(msgs []*raft_serverpb.RaftMessage) {
	for _, msg := range msgs {
		to := msg.ToPeer.StoreId
		if !l.net.passes(l.from, to, msg) {
			l.lost(msg)
			continue
		}
		own := copyMessage(msg)
		if own.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
			l.net.wg.Add(1)
			go func() {
				defer l.net.wg.Done()
				l.sendSnapshot(own)
			}()
			continue
		}
		if n := l.net.c.node(to); n != nil {
			n.store.Deliver([]*raft_serverpb.RaftMessage{own})
		}
	}
}

// lost tells the sender of a snapshot that it did not arrive, as a transport must: raft waits for that word.
func (l *link) lost(msg *raft_serverpb.RaftMessage) {
	if from := l.net.c.node(l.from); from != nil && msg.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
		from.store.SnapshotSent(msg.RegionId, msg.ToPeer.Id, false)
	}
}

// copyMessage does what a wire does: no two stores share memory.
func copyMessage(msg *raft_serverpb.RaftMessage) *raft_serverpb.RaftMessage {
	b, err := msg.Marshal()
	if err != nil {
		panic(err)
	}
	own := new(raft_serverpb.RaftMessage)
	if err := own.Unmarshal(b); err != nil {
		panic(err)
	}
	return own
}

func (l *link) sendSnapshot(msg *raft_serverpb.RaftMessage) {
	ok := l.copyFile(msg)
	if from := l.net.c.node(l.from); from != nil {
		from.store.SnapshotSent(msg.RegionId, msg.ToPeer.Id, ok)
	}
}

func (l *link) copyFile(msg *raft_serverpb.RaftMessage) bool {
	from, to := l.net.c.node(l.from), l.net.c.node(msg.ToPeer.StoreId)
	if from == nil || to == nil {
		return false
	}
	meta := msg.Message.Snapshot.Metadata
	key := snapfile.Key{RegionID: msg.RegionId, Term: meta.Term, Index: meta.Index}
	file, err := from.disk.Snapshots.OpenToSend(key)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	recv, err := to.disk.Snapshots.Receive(key)
	if errors.Is(err, snapfile.ErrExists) {
		err = nil // from an attempt before
	} else if err == nil {
		if _, err = io.Copy(recv, file); err == nil {
			_, err = recv.Commit()
		} else {
			recv.Abort()
		}
	}
	if err != nil {
		return false
	}
	if l.net.rot.CompareAndSwap(true, false) {
		l.net.c.disks[msg.ToPeer.StoreId].files.Flip(fmt.Sprintf("snap_rev_%d_%d_%d.snap", key.RegionID, key.Term, key.Index), 0.5)
	}
	to.store.Deliver([]*raft_serverpb.RaftMessage{msg})
	return true
}

// AddFilter puts one more filter between the stores.
func (c *Cluster) AddFilter(f Filter) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.filters = append(slices.Clone(c.net.filters), f)
}

// ClearFilters heals the network.
func (c *Cluster) ClearFilters() {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.net.filters = nil
}

// DropFilter loses about one message in ten.
func DropFilter() Filter {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(7, 7))
	return func(uint64, uint64, *raft_serverpb.RaftMessage) bool {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(10) > 0
	}
}

// PartitionFilter lets messages pass only inside each of the groups of stores.
func PartitionFilter(groups ...[]uint64) Filter {
	side := make(map[uint64]int)
	for i, g := range groups {
		for _, id := range g {
			side[id] = i
		}
	}
	return func(from, to uint64, _ *raft_serverpb.RaftMessage) bool { return side[from] == side[to] }
}

// FreezeFilter holds a store's raft worker fast at the next message that it sends, as a pause of its process would, until thaw is
// closed. Its readers go on with what was published last.
func FreezeFilter(store uint64, thaw <-chan struct{}) Filter {
	return func(from, _ uint64, _ *raft_serverpb.RaftMessage) bool {
		if from != store {
			return true
		}
		<-thaw
		return false
	}
}
