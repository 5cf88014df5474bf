// Package raftkv is storage.Storage over the raftstore.
//
// A read takes the short way if the leader has a lease: load the region's view, take the engine's snapshot, load the view again and read the
// clock; if nothing that matters changed and the lease still ran, the snapshot is linearizable. All of it happens on the caller's
// goroutine. Otherwise the region's owner is asked, and the snapshot is taken when it says so.
//
// A read that is content with any replica is served by a follower too, when the region's owner says that what is applied here is recent enough.
//
// A read that meets damage on disk answers a region error, so that the client asks another replica, and has the one here marked (snapshot.go).
//
// A write is checked against the view, encoded here (on the caller's goroutine, so that the raft worker only strings the
// bytes of many writes together), and proposed.
package raftkv

import (
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/loadsplit"
	"github.com/shoal-kv/shoal/kv/storage/traffic"
	"github.com/shoal-kv/shoal/proto/region"
)

// Storage serves the regions of one store.
type Storage struct {
	router  *raftstore.Router
	state   engine.Engine
	storeID uint64
	clock   func() machine.Instant
	// maxEntry is the largest command body that is proposed.
	maxEntry uint64
	// load takes samples of what is read and written; may be nil.
	load *loadsplit.Recorder
	// flow counts what is read and written; may be nil.
	flow *traffic.Meter
	// metrics counts; may be nil.
	metrics *Metrics
}

// Sample has requests sampled; it must be called before the first of them.
func (s *Storage) Sample(load *loadsplit.Recorder) { s.load = load }

// Meter has requests counted; it must be called before the first of them.
func (s *Storage) Meter(flow *traffic.Meter) { s.flow = flow }

var _ storage.Storage = (*Storage)(nil)

// New returns the storage of the store whose router and state engine are given.
func New(router *raftstore.Router, state engine.Engine, storeID, maxEntry uint64, clock func() machine.Instant) *Storage {
	return &Storage{router: router, state: state, storeID: storeID, clock: clock, maxEntry: maxEntry}
}

// view answers what can be said about a request before anything is done for it, in the order that the wire protocol sets:
// store, peer, leader, initialized, term, epoch.
func (s *Storage) view(at storage.Target, anyReplica bool) (*machine.RegionView, error) {
	if at.StoreID != 0 && at.StoreID != s.storeID {
		return nil, &region.StoreNotMatchError{Requested: at.StoreID, Actual: s.storeID}
	}
	v := s.router.View(at.RegionID)
	if err := v.CheckPeer(at.RegionID, at.PeerID, anyReplica); err != nil {
		return nil, err
	}
	if err := v.CheckTerm(at.Term); err != nil {
		return nil, err
	}
	return v, v.CheckVersion(at.Epoch.GetVersion())
}

// Read implements storage.Storage.
func (s *Storage) Read(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
	done = s.measuredRead(done)
	if err := ctx.Err(); err != nil {
		done(nil, err)
		return
	}
	v, err := s.view(at, at.Replica)
	if err != nil {
		done(nil, err)
		return
	}
	if v.HasLease(s.clock()) {
		snap := s.state.NewSnapshot()
		if s.router.View(at.RegionID).StillHolds(v, s.clock()) {
			done(&snapshot{snap, s, v.Region, v.PeerID, v.Term}, nil)
			return
		}
		_ = snap.Close() // nothing was read from it
	}
	s.router.Read(&machine.ReadRequest{
		RegionID: at.RegionID, PeerID: at.PeerID, Version: v.Region.RegionEpoch.Version, Replica: at.Replica,
		Grant: func(g machine.ReadGrant, err error) { s.granted(v, g, err, done) },
	})
}

// granted takes the snapshot of a read that the region's owner let go on. What is applied by now may be newer than the grant, which
// is as good. But the peer, or a part of its range, may be gone.
func (s *Storage) granted(before *machine.RegionView, g machine.ReadGrant, err error, done func(storage.Snapshot, error)) {
	if err != nil {
		done(nil, err)
		return
	}
	snap := s.state.NewSnapshot()
	if err := s.router.View(g.Region.Id).StillShows(before); err != nil {
		_ = snap.Close() // nothing was read from it
		done(nil, err)
		return
	}
	done(&snapshot{snap, s, g.Region, before.PeerID, g.Term}, nil)
}

// Write implements storage.Storage.
func (s *Storage) Write(ctx context.Context, at storage.Target, snapshotTerm uint64, batch []storage.Modify, done func(error)) {
	done = s.measuredWrite(done)
	if err := ctx.Err(); err != nil {
		done(err)
		return
	}
	v, err := s.view(at, false)
	if err == nil {
		err = checkKeys(v.Region, batch)
	}
	if err != nil {
		done(err)
		return
	}
	body := encode(batch)
	if size := uint64(len(body)); size > s.maxEntry {
		done(&region.RaftEntryTooLargeError{RegionID: at.RegionID, Size: size, Limit: s.maxEntry})
		return
	}
	if len(batch) > 0 && s.load.Chosen() {
		s.load.Add(v.Region, loadsplit.Sample{Start: batch[0].Key}, len(body))
	}
	if s.flow.Chosen() {
		s.flow.Written(at.RegionID, uint64(len(batch)), uint64(len(body)))
	}
	s.router.Propose(&machine.Proposal{
		RegionID: at.RegionID, PeerID: at.PeerID, Term: snapshotTerm, Done: done,
		Command: command.Command{Kind: kindOf(batch), Epoch: command.EpochOf(v.Region.RegionEpoch), Body: body},
	})
}

func checkKeys(r *metapb.Region, batch []storage.Modify) error {
	for i := range batch {
		m := &batch[i]
		inside := region.Contains(r, m.Key)
		if m.Op == storage.DeleteRange && len(m.Value) > 0 {
			inside = region.ContainsRange(r, m.Key, m.Value)
		}
		if !inside {
			return &region.KeyNotInRegionError{Key: m.Key, Region: r}
		}
	}
	return nil
}

var ops = [...]command.Op{storage.Put: command.Put, storage.Delete: command.Delete, storage.DeleteRange: command.DeleteRange, storage.DeleteExpired: command.DeleteExpired}

func kindOf(batch []storage.Modify) command.Kind {
	expire := 0
	for i := range batch {
		if batch[i].Op == storage.DeleteExpired {
			expire++
		}
	}
	switch expire {
	case 0:
		return command.Write
	case len(batch):
		return command.Expire
	}
	panic(fmt.Sprintf("raftkv: %d of %d writes are DeleteExpired: it stands with its like only", expire, len(batch)))
}

func encode(batch []storage.Modify) []byte {
	const perOp = 12 // head byte and the two lengths
	size := 0
	for i := range batch {
		size += len(batch[i].Key) + len(batch[i].Value) + perOp
	}
	body := make([]byte, 0, size)
	for i := range batch {
		m := &batch[i]
		body = command.AppendOp(body, ops[m.Op], m.CF, m.Key, m.Value)
	}
	return body
}
