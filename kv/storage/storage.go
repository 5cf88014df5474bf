// Package storage is the seam above consensus: what the server and the transactions ask of a replicated key space.
//
// A request names the region it was routed to (Target). Reads take a Snapshot, which is linearizable: it shows every
// write that was acknowledged before it was asked for. Writes hand over a batch of Modify and learn exactly once what became of it.
// Package raftkv implements the seam over the raftstore, package standalone over one engine without raft.
package storage

import (
	"context"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Target is the region, as the client knows it, that a request was routed to.
type Target struct {
	RegionID uint64
	// PeerID and StoreID name the replica that was meant; 0 is not checked.
	PeerID, StoreID uint64
	// Epoch is the region's shape as the client knows it; nil is not checked by standalone and refused by raftkv.
	Epoch *metapb.RegionEpoch
	// Term, when not 0, must not be older than the leader's term by more than one, as in the wire protocol.
	Term uint64
	// Replica says of a read that any replica may serve it, not the leader alone. What it shows is as recent.
	Replica bool
}

// Snapshot is one region's data, frozen. Keys are users' keys.
type Snapshot interface {
	engine.Snapshot
	// Region is the region's shape at the time of the snapshot; reads must stay in its range.
	Region() *metapb.Region
	// Term is the leader's term in which the snapshot was taken, or, of a follower's snapshot, one that is not later. A write that was computed from this snapshot hands it
	// back, so that it is refused when leadership changed in between.
	Term() uint64
}

// Modify is one write of a batch.
type Modify struct {
	Op  Op
	CF  engine.CF
	Key []byte
	// Value is for Put; for DeleteRange it is the end key (exclusive), empty meaning the region's end; for DeleteExpired the bound, a
	// keys.AppendBound.
	Value []byte
}

// Op says what a Modify does.
type Op uint8

// The kinds of Modify.
const (
	Put Op = iota
	Delete
	DeleteRange
	// DeleteExpired deletes the key if, when its turn comes, it holds a raw value that expires by the bound; else it does nothing. It
	// stands in a batch of its like only.
	DeleteExpired
)

// Storage reads and writes regions. Its methods do not block; callbacks may run on the caller's goroutine or on a
// worker's: they must be short and must not call back into the Storage.
type Storage interface {
	// Read calls done exactly once, with a snapshot that the receiver must close, or with an error of package
	// proto/region. The usual case (a leader with a lease) completes before Read returns.
	Read(ctx context.Context, at Target, done func(Snapshot, error))
	// Write proposes a batch for one region, atomically, and calls done exactly once: nil when it is applied here,
	// region.ErrUndetermined when nobody knows, any other error when it was rejected. When computed from a snapshot,
	// snapshotTerm is that snapshot's Term; else 0. Keys and values must not be changed until done is called.
	Write(ctx context.Context, at Target, snapshotTerm uint64, batch []Modify, done func(error))
}

// Snap is Read for callers that can wait: it returns when the snapshot is there, or ctx has ended.
func Snap(ctx context.Context, s Storage, at Target) (Snapshot, error) {
	type result struct {
		snap Snapshot
		err  error
	}
	ch := make(chan result, 1)
	s.Read(ctx, at, func(snap Snapshot, err error) { ch <- result{snap, err} })
	select {
	case r := <-ch:
		return r.snap, r.err
	case <-ctx.Done():
		go func() { // the one who still owes us the answer will give it; the snapshot in it must not leak
			if r := <-ch; r.snap != nil {
				_ = r.snap.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Apply is Write for callers that can wait.
func Apply(ctx context.Context, s Storage, at Target, snapshotTerm uint64, batch []Modify) error {
	ch := make(chan error, 1)
	s.Write(ctx, at, snapshotTerm, batch, func(err error) { ch <- err })
	return <-ch
}
