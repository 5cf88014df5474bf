package test_raftstore

import (
	"context"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// requestTimeout is how long one attempt may take; a partitioned leader never answers.
const requestTimeout = time.Second

// LeaderOfRegion asks the stores who leads a region: the one with the highest term, nil when none does.
func (c *Cluster) LeaderOfRegion(regionID uint64) *metapb.Peer {
	var leader *metapb.Peer
	var term uint64
	for id := range c.disks {
		n := c.node(id)
		if n == nil {
			continue
		}
		if v := n.store.View(regionID); v != nil && !v.Gone && v.IsLeader && v.Term >= term {
			leader, term = &metapb.Peer{Id: v.PeerID, StoreId: id}, v.Term
		}
	}
	return leader
}

// GetRegion returns the region that covers key, as its leader has it.
func (c *Cluster) GetRegion(key []byte) *metapb.Region {
	var r *metapb.Region
	c.Eventually(func() bool {
		r, _ = c.Scheduler.RegionOf(key)
		if r == nil {
			return false
		}
		leader := c.LeaderOfRegion(r.Id)
		if leader == nil {
			return false
		}
		n := c.node(leader.StoreId)
		if n == nil {
			return false
		}
		v := n.store.View(r.Id)
		if v == nil || v.Gone || !region.Contains(v.Region, key) {
			return false
		}
		r = v.Region
		return true
	}, "a region with a leader for key %q", key)
	return r
}

// try makes one attempt at the leader of key's region. The error says whether to ask again.
func (c *Cluster) try(key []byte, attempt func(ctx context.Context, n *storeNode, at storage.Target) error) error {
	r, _ := c.Scheduler.RegionOf(key)
	if r == nil {
		return &region.NotFoundError{}
	}
	leader := c.LeaderOfRegion(r.Id)
	if leader == nil {
		return &region.NotLeaderError{RegionID: r.Id}
	}
	n := c.node(leader.StoreId)
	if n == nil {
		return &region.NotLeaderError{RegionID: r.Id}
	}
	at := storage.Target{RegionID: r.Id, PeerID: leader.Id, StoreID: leader.StoreId, Epoch: r.RegionEpoch}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return attempt(ctx, n, at)
}

// request tries until it succeeds.
func (c *Cluster) request(key []byte, attempt func(ctx context.Context, n *storeNode, at storage.Target) error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = c.try(key, attempt); err == nil {
			return
		}
	}
	require.NoError(c.t, err, "no answer for key %q in 30 s", key)
}

// apply is storage.Apply that gives up with its context.
func apply(ctx context.Context, n *storeNode, at storage.Target, batch ...storage.Modify) error {
	done := make(chan error, 1)
	n.storage.Write(ctx, at, 0, batch, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return region.ErrUndetermined
	}
}

// MustPut writes a pair; it may be written more than once.
func (c *Cluster) MustPut(key, value []byte) {
	c.t.Helper()
	c.MustPutCF(engine.Default, key, value)
}

// MustPutCF is MustPut in a column family.
func (c *Cluster) MustPutCF(cf engine.CF, key, value []byte) {
	c.t.Helper()
	c.request(key, func(ctx context.Context, n *storeNode, at storage.Target) error {
		return apply(ctx, n, at, storage.Modify{Op: storage.Put, CF: cf, Key: key, Value: value})
	})
}

// MustDelete deletes a key.
func (c *Cluster) MustDelete(key []byte) {
	c.t.Helper()
	c.request(key, func(ctx context.Context, n *storeNode, at storage.Target) error {
		return apply(ctx, n, at, storage.Modify{Op: storage.Delete, CF: engine.Default, Key: key})
	})
}

// Get reads a key; nil when there is none.
func (c *Cluster) Get(key []byte) []byte {
	c.t.Helper()
	var value []byte
	c.request(key, func(ctx context.Context, n *storeNode, at storage.Target) error {
		snap, err := storage.Snap(ctx, n.storage, at)
		if err != nil {
			return err
		}
		defer func() { _ = snap.Close() }()
		value, err = snap.Get(engine.Default, key)
		return err
	})
	return value
}

// MustGet reads a key and demands a value.
func (c *Cluster) MustGet(key, value []byte) {
	c.t.Helper()
	require.Equal(c.t, string(value), string(c.Get(key)), "key %q", key)
}

// Scan returns the values of [start, end), in order of their keys, over as many regions as it takes.
func (c *Cluster) Scan(start, end []byte) [][]byte {
	c.t.Helper()
	var values [][]byte
	for key := start; ; {
		var page [][]byte
		var next []byte
		c.request(key, func(ctx context.Context, n *storeNode, at storage.Target) error {
			snap, err := storage.Snap(ctx, n.storage, at)
			if err != nil {
				return err
			}
			defer func() { _ = snap.Close() }()
			page, next = nil, snap.Region().EndKey
			it, err := snap.NewIterator(engine.Default, engine.IterOptions{Lower: key, Upper: end})
			if err != nil {
				return err
			}
			for ok := it.SeekGE(nil); ok && region.Contains(snap.Region(), it.Key()); ok = it.Next() {
				page = append(page, append([]byte(nil), it.Value()...))
			}
			return it.Close()
		})
		values = append(values, page...)
		if len(next) == 0 || string(next) >= string(end) {
			return values
		}
		key = next
	}
}

// MustTransferLeader makes a peer lead.
func (c *Cluster) MustTransferLeader(regionID uint64, to *metapb.Peer) {
	c.t.Helper()
	c.Eventually(func() bool {
		leader := c.LeaderOfRegion(regionID)
		if leader.GetId() == to.Id {
			return true
		}
		if leader != nil {
			if n := c.node(leader.StoreId); n != nil {
				n.store.Admin(&machine.AdminRequest{RegionID: regionID, Op: machine.TransferLeader{To: to}})
			}
		}
		return false
	}, "peer %d leads region %d", to.Id, regionID)
}

// engineValue looks into one store's engine, past raft.
func (c *Cluster) engineValue(storeID uint64, key []byte) []byte {
	snap := c.disks[storeID].state.NewSnapshot()
	defer func() { _ = snap.Close() }()
	v, err := snap.Get(engine.Default, key)
	require.NoError(c.t, err)
	return v
}
