package raftstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// registry is a control plane that can be made to lose its answers.
type registry struct {
	cluster, nextID uint64
	first           *metapb.Region
	loseAnswer      bool
}

func (r *registry) ClusterID() uint64 { return r.cluster }

func (r *registry) AllocID(context.Context) (uint64, error) {
	r.nextID++
	return r.nextID, nil
}
func (r *registry) IsBootstrapped(context.Context) (bool, error) { return r.first != nil, nil }

func (r *registry) Bootstrap(_ context.Context, _ *metapb.Store, first *metapb.Region) error {
	if r.first != nil {
		return errors.New("already bootstrapped")
	}
	r.first = first
	if r.loseAnswer {
		return errors.New("the answer was lost")
	}
	return nil
}

func (r *registry) GetRegionByID(_ context.Context, id uint64) (*metapb.Region, *metapb.Peer, error) {
	if r.first != nil && r.first.Id == id {
		return r.first, nil, nil
	}
	return nil, nil, nil
}

// disk is a store's two engines.
type disk struct{ log, state *memdb.DB }

func newDisk() *disk { return &disk{memdb.New(), memdb.New()} }

func (d *disk) crash(keep func(int) int) { d.log, d.state = d.log.Crash(keep), d.state.Crash(keep) }

func (d *disk) open(t *testing.T) *raftstore.Disk {
	snaps, err := snapfile.New(snapfile.NewMemFS())
	require.NoError(t, err)
	return &raftstore.Disk{Log: logstore.New(d.log), State: d.state, Snapshots: snaps}
}

func all(n int) int { return n }

// S19: the ident is refused when it belongs elsewhere, and a store that forgot its votes does not start.
func TestIdentIsRefused(t *testing.T) {
	ctx := context.Background()
	reg := &registry{cluster: 1}
	a, b := newDisk(), newDisk()
	identA, err := raftstore.OpenIdent(ctx, a.log, a.state, reg, kvrpcpb.APIVersion_V1)
	require.NoError(t, err)
	identB, err := raftstore.OpenIdent(ctx, b.log, b.state, reg, kvrpcpb.APIVersion_V1)
	require.NoError(t, err)
	require.NotEqual(t, identA.StoreId, identB.StoreId)

	again, err := raftstore.OpenIdent(ctx, a.log, a.state, reg, kvrpcpb.APIVersion_V1)
	require.NoError(t, err)
	require.Equal(t, identA, again)

	_, err = raftstore.OpenIdent(ctx, a.log, a.state, &registry{cluster: 2}, kvrpcpb.APIVersion_V1)
	require.ErrorContains(t, err, "belongs to cluster 1, but the scheduler leads cluster 2")
	_, err = raftstore.OpenIdent(ctx, b.log, a.state, reg, kvrpcpb.APIVersion_V1)
	require.ErrorContains(t, err, "two stores' directories were mixed up")
	_, err = raftstore.OpenIdent(ctx, memdb.New(), a.state, reg, kvrpcpb.APIVersion_V1)
	require.ErrorContains(t, err, "forgotten its votes")

	// A wiped data engine under a raft log that still speaks of a region.
	require.NoError(t, raftstore.Bootstrap(ctx, a.open(t), &metapb.Store{Id: identA.StoreId}, reg))
	_, err = raftstore.OpenIdent(ctx, a.log, memdb.New(), reg, kvrpcpb.APIVersion_V1)
	require.ErrorContains(t, err, "its data is missing")
}

// How raw values are stored is settled with the ident; another setting is refused, with what to do, whichever engine still knows it.
func TestLayoutIsKept(t *testing.T) {
	ctx := context.Background()
	reg := &registry{cluster: 1}
	for _, made := range []kvrpcpb.APIVersion{kvrpcpb.APIVersion_V1, kvrpcpb.APIVersion_V1TTL} {
		d := newDisk()
		ident, err := raftstore.OpenIdent(ctx, d.log, d.state, reg, made)
		require.NoError(t, err)
		again, err := raftstore.OpenIdent(ctx, d.log, d.state, reg, made)
		require.NoError(t, err)
		require.Equal(t, ident, again)
		other := kvrpcpb.APIVersion_V1TTL - made
		for _, state := range []*memdb.DB{d.state, memdb.New()} {
			_, err = raftstore.OpenIdent(ctx, d.log, state, reg, other)
			var refused *raftstore.LayoutError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, fmt.Sprintf("set storage.enable-ttl = %t, or start with an empty storage.data-dir", made == kvrpcpb.APIVersion_V1TTL))
		}
	}
}

// S19: a crash between the ident's two writes is mended; a format of another release is not guessed at.
func TestIdentHalfWritten(t *testing.T) {
	ctx := context.Background()
	reg := &registry{cluster: 1}
	d := newDisk()
	ident, err := raftstore.OpenIdent(ctx, d.log, d.state, reg, kvrpcpb.APIVersion_V1)
	require.NoError(t, err)
	mended, err := raftstore.OpenIdent(ctx, d.log, memdb.New(), reg, kvrpcpb.APIVersion_V1)
	require.NoError(t, err)
	require.Equal(t, ident, mended)

	batch := d.log.NewBatch()
	batch.Put(engine.Local, keys.StoreIdent(), []byte{raftstore.FormatVersion + 1})
	require.NoError(t, batch.Commit(true))
	_, err = raftstore.OpenIdent(ctx, d.log, d.state, reg, kvrpcpb.APIVersion_V1)
	require.ErrorContains(t, err, "another release")
}

// S20: bootstrap can crash at any step, or lose the scheduler's answer, and be run again; the outcome is one region, once.
func TestBootstrapCrashes(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		// crash prepares the disk as the crash left it, and says whether this store's region is the cluster's.
		crash func(t *testing.T, d *disk, reg *registry) bool
	}{
		{"before anything", func(*testing.T, *disk, *registry) bool { return true }},
		{"after the log's part", func(t *testing.T, d *disk, _ *registry) bool {
			orphan := &metapb.Region{Id: 50, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 51, StoreId: 1}}}
			lost := memdb.New()
			require.NoError(t, raftstore.WriteFirstRegion(&raftstore.Disk{Log: logstore.New(d.log), State: lost}, orphan, true))
			return true
		}},
		{"after the preparation", func(t *testing.T, d *disk, reg *registry) bool {
			require.NoError(t, raftstore.WriteFirstRegion(d.open(t), prepared(reg), true))
			return true
		}},
		{"after the scheduler agreed", func(t *testing.T, d *disk, reg *registry) bool {
			first := prepared(reg)
			require.NoError(t, raftstore.WriteFirstRegion(d.open(t), first, true))
			reg.first = first
			return true
		}},
		{"the answer is lost", func(_ *testing.T, _ *disk, reg *registry) bool {
			reg.loseAnswer = true
			return true
		}},
		{"another store was faster", func(t *testing.T, d *disk, reg *registry) bool {
			require.NoError(t, raftstore.WriteFirstRegion(d.open(t), prepared(reg), true))
			reg.first = &metapb.Region{Id: 99, Peers: []*metapb.Peer{{Id: 98, StoreId: 2}}}
			return false
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, reg := newDisk(), &registry{cluster: 1, nextID: 10}
			ours := c.crash(t, d, reg)
			d.crash(all)
			for range 2 { // the second time it must be a no-op
				require.NoError(t, raftstore.Bootstrap(ctx, d.open(t), &metapb.Store{Id: 1}, reg))
				d.crash(func(int) int { return 0 })
				found, err := d.open(t).Load(1)
				require.NoError(t, err)
				if !ours {
					require.Empty(t, found.Regions)
					continue
				}
				require.Len(t, found.Regions, 1)
				require.Equal(t, reg.first.Id, found.Regions[0].Region.Id)
			}
		})
	}
}

func prepared(reg *registry) *metapb.Region {
	reg.nextID += 2
	return &metapb.Region{
		Id: reg.nextID - 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: reg.nextID, StoreId: 1}},
	}
}
