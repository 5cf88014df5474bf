package node

import (
	"context"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// inspectBy bounds how long somebody who looks at a region waits for its owner.
const inspectBy = 2 * time.Second

// inspect asks a region's owner for what it knows.
func (n *Node) inspect(id uint64) *machine.PeerReport {
	told := make(chan *machine.PeerReport, 1)
	n.store.Inspect(id, func(r *machine.PeerReport) { told <- r })
	select {
	case r := <-told:
		return r
	case <-time.After(inspectBy):
		return nil
	}
}

// compare begins a comparison of a region's replicas.
func (n *Node) compare(ctx context.Context, id uint64) error {
	return n.admin(ctx, id, machine.CheckConsistency{})
}

// rebuild has the data of this store's peer of a region replaced by that of the region's leader, as if it were damaged (machine/op_damage.go).
// Until that is done the peer serves nobody. Whoever asks for it has seen to it that the others are right.
func (n *Node) rebuild(_ context.Context, id uint64) error {
	v := n.store.View(id)
	if v == nil || v.Gone {
		return &region.NotFoundError{RegionID: id}
	}
	if len(v.Region.Peers) < 2 {
		return errors.Errorf("region %d has no other peer to be rebuilt from", id)
	}
	if !n.store.Distrust(id, v.PeerID, "a person has asked for it to be rebuilt") {
		return &region.StoppedError{StoreID: n.ID()}
	}
	n.inspect(id) // behind the mark in the same queue: whoever looks from now on sees it
	return nil
}

// admin asks for a change of a region and waits for its end.
func (n *Node) admin(ctx context.Context, id uint64, op machine.AdminOp) error {
	done := make(chan error, 1)
	n.store.Admin(&machine.AdminRequest{RegionID: id, Op: op, Done: func(err error) { done <- err }})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Annotatef(ctx.Err(), "region %d: it is not known whether it was done", id)
	}
}
