package machine

import (
	"math"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// How far a store is that is being drained: from its regions' bytes, at the speed of the last minutes.
func TestProgressOfADrainedStore(t *testing.T) {
	d, m := bootstrapped(t)
	at := now()
	hold := func(size uint64) {
		r := report(first(), 5)
		r.Load.Size = size
		_, err := m.RegionHeartbeat(r, at)
		require.NoError(t, err)
	}
	later := func(by time.Duration, size uint64) Progress {
		at.Now = at.Now.Add(by)
		hold(size)
		_, err := m.Upkeep(at)
		require.NoError(t, err)
		list := m.Progress(at.Now)
		require.Len(t, list, 1)
		require.Equal(t, uint64(1), list[0].Store.ID())
		return list[0]
	}
	hold(999)
	_, err := m.Upkeep(at)
	require.NoError(t, err)
	require.Empty(t, m.Progress(at.Now), "nothing is drained")

	s, err := m.DeleteStore(1, false)
	d.save(t, s, err)
	p := later(time.Second, 999)
	require.Zero(t, p.Done)
	require.Zero(t, p.Speed)
	require.InDelta(t, math.MaxFloat64, p.Seconds, 0)
	require.Zero(t, later(10*time.Second, 1999).Done, "it has grown: that counts")
	p = later(10*time.Second, 499)
	require.InDelta(t, 0.75, p.Done, 1e-9)
	require.InDelta(t, 25, p.Speed, 1e-9)
	require.InDelta(t, 20, p.Seconds, 1e-9)
	for range 100 {
		p = later(10*time.Second, 499)
	}
	require.InDelta(t, 0.75, p.Done, 1e-9)
	require.Zero(t, p.Speed, "what left long ago is no speed")
	require.LessOrEqual(t, len(m.drains[1].looks), int(speedOver/lookEvery)+1)

	next := d.load(t, at)
	_, err = next.Upkeep(at)
	require.NoError(t, err)
	require.Zero(t, next.Progress(at.Now)[0].Done, "the next leader begins anew")

	s, err = m.ReviveStore(1)
	d.save(t, s, err)
	require.Empty(t, m.Progress(at.Now))
	_, err = m.Upkeep(at)
	require.NoError(t, err)
	require.Empty(t, m.drains)
}

// A store with nothing but empty regions is not done before they are gone.
func TestEmptyRegionsCountForProgress(t *testing.T) {
	p := cluster.NewPicture()
	p.PutStore(&metapb.Store{Id: 1, State: metapb.StoreState_Offline}, t0)
	d := drains{}
	put := func(on uint64, version uint64) {
		r := report(&metapb.Region{Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: version}, Peers: []*metapb.Peer{{Id: 3, StoreId: on}}}, 5)
		change, err := p.CheckRegion(r)
		require.NoError(t, err)
		p.PutRegion(r, change)
	}
	put(1, 1)
	d.look(p, t0)
	require.Zero(t, d[1].progress(heldBy(p, 1), t0).Done)
	put(7, 2)
	require.InDelta(t, 1, d[1].progress(heldBy(p, 1), t0).Done, 0)
}
