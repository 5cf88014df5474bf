package raftstore

import (
	"context"
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Registry is what a store asks of the control plane before it runs.
type Registry interface {
	ClusterID() uint64
	AllocID(ctx context.Context) (uint64, error)
	IsBootstrapped(ctx context.Context) (bool, error)
	// Bootstrap makes the cluster begin with this store and this region. It fails when it has begun already.
	Bootstrap(ctx context.Context, store *metapb.Store, first *metapb.Region) error
	// GetRegionByID returns nil when there is no such region.
	GetRegionByID(ctx context.Context, id uint64) (*metapb.Region, *metapb.Peer, error)
}

// FormatVersion is the version of everything that this release writes to disk.
const FormatVersion = 1

// OpenIdent reads who the store is, or makes it somebody. The ident is written first of all, to both engines, and refused when it
// belongs to another cluster, or the two engines to two stores (S19). A store whose disk was wiped gets a new id. Layout is how raw values
// are stored, V1 or V1TTL: an ident keeps the one that it was made with, and refuses the other.
func OpenIdent(ctx context.Context, log, state engine.Engine, reg Registry, layout kvrpcpb.APIVersion) (*raft_serverpb.StoreIdent, error) {
	inLog, err := readIdent(log)
	if err != nil {
		return nil, errors.Annotate(err, "raft log")
	}
	inState, err := readIdent(state)
	if err != nil {
		return nil, errors.Annotate(err, "state engine")
	}
	switch {
	case inState != nil && inLog == nil:
		return nil, errors.Errorf("store %d: its raft log is missing or was wiped; without it the store has forgotten its votes and must not "+
			"start. Remove the whole data directory to join as a new store", inState.StoreId)
	case inState != nil && (inState.StoreId != inLog.StoreId || inState.ClusterId != inLog.ClusterId):
		return nil, errors.Errorf("the data belongs to store %d and the raft log to store %d: two stores' directories were mixed up",
			inState.StoreId, inLog.StoreId)
	case inLog != nil && inLog.ClusterId != reg.ClusterID():
		return nil, errors.Errorf("store %d belongs to cluster %d, but the scheduler leads cluster %d: check --pd and --data-dir",
			inLog.StoreId, inLog.ClusterId, reg.ClusterID())
	case inLog != nil && inLog.ApiVersion != layout:
		return nil, &LayoutError{StoreID: inLog.StoreId, Made: inLog.ApiVersion, Asked: layout}
	case inState != nil:
		return inState, nil
	case inLog == nil:
		id, err := reg.AllocID(ctx)
		if err != nil {
			return nil, errors.Annotate(err, "cannot get a store id")
		}
		inLog = &raft_serverpb.StoreIdent{ClusterId: reg.ClusterID(), StoreId: id, ApiVersion: layout}
		if err := writeIdent(log, inLog); err != nil {
			return nil, err
		}
	default: // a crash came between the two writes, or the data was taken away under a log that still speaks of it
		regions, err := logstore.New(log).Regions()
		if err != nil {
			return nil, err
		}
		if len(regions) > 0 {
			return nil, errors.Errorf("store %d: has a raft log but its data is missing. Remove the whole data directory to join as a new store", inLog.StoreId)
		}
	}
	return inLog, writeIdent(state, inLog)
}

// LayoutError says that a store is to read its raw values in another way than it wrote them.
type LayoutError struct {
	StoreID     uint64
	Made, Asked kvrpcpb.APIVersion
}

func (e *LayoutError) Error() string {
	return fmt.Sprintf("store %d: storage.enable-ttl is %t, but its data was made with %t and cannot be converted; set storage.enable-ttl = %t, "+
		"or start with an empty storage.data-dir to join as a new store of a cluster whose stores all have the same setting",
		e.StoreID, withTTL(e.Asked), withTTL(e.Made), withTTL(e.Made))
}

func withTTL(layout kvrpcpb.APIVersion) bool { return layout == kvrpcpb.APIVersion_V1TTL }

func readIdent(e engine.Engine) (*raft_serverpb.StoreIdent, error) {
	snap := e.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Local, keys.StoreIdent())
	if err != nil || b == nil {
		return nil, err
	}
	if len(b) == 0 || b[0] != FormatVersion {
		return nil, errors.Errorf("written by another release: this one reads format version %d, the ident begins with %X", FormatVersion, b)
	}
	ident := new(raft_serverpb.StoreIdent)
	return ident, errors.Annotate(ident.Unmarshal(b[1:]), "store ident")
}

func writeIdent(e engine.Engine, ident *raft_serverpb.StoreIdent) error {
	b, err := ident.Marshal()
	if err != nil {
		return err
	}
	return putSynced(e, keys.StoreIdent(), append([]byte{FormatVersion}, b...))
}

func putSynced(e engine.Engine, key, value []byte) error {
	batch := e.NewBatch()
	defer func() { _ = batch.Close() }()
	batch.Put(engine.Local, key, value)
	return batch.Commit(true)
}

// Bootstrap makes the cluster's first region, with one peer, if the cluster has none. It can crash anywhere and be run again (S20): the
// region is written to disk and noted under the prepare key before the scheduler hears of it; the note goes away when it is
// known whether the cluster began with this region or another store was faster.
func Bootstrap(ctx context.Context, disk *Disk, store *metapb.Store, reg Registry) error {
	prepared, err := readPrepared(disk.State)
	if err != nil {
		return err
	}
	begun, err := reg.IsBootstrapped(ctx)
	if err != nil {
		return err
	}
	if prepared == nil {
		if begun {
			return nil
		}
		if prepared, err = prepareFirst(ctx, disk, store.Id, reg); err != nil {
			return err
		}
	}
	if !begun {
		if err := reg.Bootstrap(ctx, store, prepared); err == nil {
			return dropKey(disk.State, keys.PrepareBootstrap())
		}
		// Refused, or the answer was lost: the scheduler knows which.
	}
	return settlePrepared(ctx, disk, prepared, store.Id, reg)
}

// settlePrepared keeps the prepared region if the cluster began with it, and clears it if not.
func settlePrepared(ctx context.Context, disk *Disk, prepared *metapb.Region, storeID uint64, reg Registry) error {
	begun, err := reg.IsBootstrapped(ctx)
	if err != nil {
		return err
	}
	if !begun {
		return errors.New("the scheduler refused to bootstrap the cluster; it may have no leader: try again")
	}
	known, _, err := reg.GetRegionByID(ctx, prepared.Id)
	if err != nil {
		return err
	}
	if known == nil || region.FindPeerOn(known, storeID) == nil {
		if err := clearPrepared(disk, prepared.Id); err != nil {
			return err
		}
	}
	return dropKey(disk.State, keys.PrepareBootstrap())
}

func readPrepared(e engine.Engine) (*metapb.Region, error) {
	snap := e.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Local, keys.PrepareBootstrap())
	if err != nil || b == nil {
		return nil, err
	}
	r := new(metapb.Region)
	return r, errors.Annotate(r.Unmarshal(b), "prepared first region")
}

// prepareFirst writes the first region: the log first, then, in one batch, the note, the region and its apply state. Without the note
// the log's part is an orphan that harms nobody.
func prepareFirst(ctx context.Context, disk *Disk, storeID uint64, reg Registry) (*metapb.Region, error) {
	regionID, err := reg.AllocID(ctx)
	if err != nil {
		return nil, err
	}
	peerID, err := reg.AllocID(ctx)
	if err != nil {
		return nil, err
	}
	first := &metapb.Region{
		Id: regionID, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: peerID, StoreId: storeID}},
	}
	return first, WriteFirstRegion(disk, first, true)
}

// WriteFirstRegion writes a region that begins to exist: its raft state, region state and apply state; with the prepare key if noted.
func WriteFirstRegion(disk *Disk, first *metapb.Region, noted bool) error {
	state := &raft_serverpb.RaftLocalState{
		HardState: &eraftpb.HardState{Term: machine.InitTerm, Commit: machine.InitIndex}, LastIndex: machine.InitIndex,
	}
	if err := disk.Log.Write([]logstore.Update{{RegionID: first.Id, State: state, Sync: true}}); err != nil {
		return err
	}
	at := machine.Pair{Index: machine.InitIndex, Term: machine.InitTerm}
	local := &raft_serverpb.RegionLocalState{State: raft_serverpb.PeerState_Normal, Region: first}
	batch := disk.State.NewBatch()
	defer func() { _ = batch.Close() }()
	for _, kv := range []struct {
		key   []byte
		value interface{ Marshal() ([]byte, error) }
	}{
		{keys.RegionState(first.Id), local},
		{keys.ApplyState(first.Id), machine.ApplyState(at, at)},
		{keys.PrepareBootstrap(), first},
	} {
		if !noted && string(kv.key) == string(keys.PrepareBootstrap()) {
			continue
		}
		b, err := kv.value.Marshal()
		if err != nil {
			return err
		}
		batch.Put(engine.Local, kv.key, b)
	}
	return batch.Commit(true)
}

func clearPrepared(disk *Disk, regionID uint64) error {
	batch := disk.State.NewBatch()
	defer func() { _ = batch.Close() }()
	batch.Delete(engine.Local, keys.RegionState(regionID))
	batch.Delete(engine.Local, keys.ApplyState(regionID))
	if err := batch.Commit(true); err != nil {
		return err
	}
	return disk.Log.Write([]logstore.Update{{RegionID: regionID, Destroy: true, Sync: true}})
}

func dropKey(e engine.Engine, key []byte) error {
	batch := e.NewBatch()
	defer func() { _ = batch.Close() }()
	batch.Delete(engine.Local, key)
	return batch.Commit(true)
}
