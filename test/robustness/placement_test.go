package robustness

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the scheduler does for a cluster of real processes, while clients work on it and see no error. Small in the usual run; `make placement`, `make placement-failovers` and
// `make placement-zones` set SHOAL_PLACEMENT_MIB (how much is loaded), SHOAL_PLACEMENT_KIB (how large regions grow) and SHOAL_PLACEMENT_KILLS (how often the schedulers' leader is killed),
// SHOAL_PLACEMENT_EVERY (seconds between two kills).

// placementLimit is how long one change of the cluster may take to be dealt with.
func placementLimit() time.Duration {
	return 2*time.Minute + time.Duration(sized("SHOAL_PLACEMENT_MIB", 24))*500*time.Millisecond
}

// quick lets the scheduler work as fast as it can, and takes a store for lost that is silent for twenty seconds. How full the disk of this machine is shall not matter:
// all stores share it.
func (f *fleet) quick() {
	f.must(http.MethodPost, "/config", map[string]any{
		"max-store-down-time": "20s", "store-limit-add-peer": 2000, "store-limit-remove-peer": 2000, "leader-schedule-limit": 16,
		"low-space-ratio": 1, "high-space-ratio": 1,
	})
}

// filled is a fleet of three stores under load.
func filled(t *testing.T, schedulers int) (f *fleet, rest func()) {
	f = startFleet(t, schedulers, smallPieces(t, sized("SHOAL_PLACEMENT_KIB", 768)))
	f.join(3)
	f.quick()
	rest = f.fill(sized("SHOAL_PLACEMENT_MIB", 24))
	f.within(placementLimit(), "every region has three replicas", f.amiss)
	return f, rest
}

// change is the life of a cluster: two stores join and get their share; one store is deleted and drained; another one dies for good and is replaced.
func (f *fleet) change() {
	f.t.Logf("%d regions", len(f.placement()))
	f.join(2)
	f.within(placementLimit(), "two more stores hold their share", func() string {
		if what := f.uneven(0.1); what != "" {
			return what
		}
		return f.amiss()
	})
	drained := f.stores[0]
	f.must(http.MethodDelete, fmt.Sprintf("/store/%d", drained.id), nil)
	drained.dead = true
	f.within(placementLimit(), "the deleted store is a tombstone", func() string {
		for _, s := range f.shown() {
			if s.Store.ID == drained.id && s.Store.State == "Tombstone" {
				return f.amiss()
			}
		}
		return fmt.Sprintf("store %d is not buried: %+v", drained.id, f.shown())
	})
	drained.kill()
	f.lose(f.stores[1])
	f.within(placementLimit(), "all is even again", func() string { return f.uneven(0.1) })
	f.within(placementLimit(), "no store holds anything else", f.leftover)
}

// lose kills a store for good, and waits until what it had is made up for.
func (f *fleet) lose(s *fleetStore) {
	s.kill()
	s.dead = true
	f.within(placementLimit(), "every region is back at three replicas", f.amiss)
}

// P7, P8: stores join, are deleted and die for good.
func TestPlacement(t *testing.T) {
	f, rest := filled(t, 1)
	f.change()
	f.comeBack(f.stores[1])
	rest()
}

// comeBack starts a store that was replaced: it sheds the peers that it still has, and gets its share of what there is.
func (f *fleet) comeBack(s *fleetStore) {
	f.spawn(s.process)
	s.dead = false
	f.within(placementLimit(), "a store that comes back after all holds its share again, and nothing else", func() string {
		for _, wrong := range []func() string{func() string { return f.uneven(0.1) }, f.amiss, f.leftover} {
			if what := wrong(); what != "" {
				return what
			}
		}
		return ""
	})
}

// P1, P2, P5, P6, P10: the same, while the leader of three schedulers is killed again and again; stores are lost and come back for as long as that goes on. Timestamps
// and ids strictly increase, and in the end every region has what it shall have and nothing else: no operator was lost or had its effect twice.
func TestPlacementThroughFailovers(t *testing.T) {
	f, rest := filled(t, 3)
	stop := f.watchGrants()
	var over atomic.Bool
	var kills atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() { f.killLeaders(&kills, &over) })
	f.change()
	for turn := 1; int(kills.Load()) < placementKills(); turn = turn%4 + 1 {
		f.comeBack(f.stores[turn])
		f.lose(f.stores[turn%4+1])
	}
	over.Store(true)
	wg.Wait()
	stamps, ids := stop()
	t.Logf("%d leaders of the schedulers were killed; %d timestamps and %d ids, each above the last", kills.Load(), stamps, ids)
	f.within(placementLimit(), "everything is right when it is over", f.amiss)
	rest()
	var peers []uint64
	for _, r := range f.placement() {
		for _, p := range r.Peers {
			peers = append(peers, p.ID)
		}
	}
	slices.Sort(peers)
	require.Len(t, slices.Compact(slices.Clone(peers)), len(peers), "a peer's id is used twice")
}

// A zone fails: with one replica of each region in every zone, no region loses its quorum.
func TestPlacementByZones(t *testing.T) {
	f := startFleet(t, 1, smallPieces(t, sized("SHOAL_PLACEMENT_KIB", 768)))
	for zone := range 3 {
		f.join(2, "--labels", fmt.Sprintf("zone=z%d", zone+1))
		if zone == 0 {
			f.must(http.MethodPost, "/config", map[string]any{"location-labels": "zone", "isolation-level": "zone"})
		}
	}
	f.quick()
	rest := f.fill(sized("SHOAL_PLACEMENT_MIB", 16))
	f.within(placementLimit(), "every region has one replica a zone", func() string {
		if what := f.crowded(); what != "" {
			return what
		}
		return f.amiss()
	})
	t.Logf("%d regions", len(f.placement()))
	before, killed := f.load.ops.Load(), time.Now()
	for _, s := range f.stores[2:4] {
		s.kill()
		s.dead = true
	}
	require.Eventually(t, func() bool { return f.load.ops.Load() > before+2000 }, 2*time.Minute, 10*time.Millisecond, "the clients get on without a zone")
	f.within(time.Minute, "every region is led from another zone", func() string {
		for _, r := range f.placement() {
			if !f.lives(r.Leader.StoreID) {
				return fmt.Sprintf("region %d is led from store %d", r.ID, r.Leader.StoreID)
			}
		}
		return ""
	})
	t.Logf("%s after the zone's end", time.Since(killed).Round(100*time.Millisecond))
	rest()
	f.within(placementLimit(), "no zone that lives holds two replicas of a region", f.crowded)
}

// crowded says which region has not one voter in each of the zones that live. What is in a dead one, or learns, may be half of a move that the zone's end cut off.
func (f *fleet) crowded() string {
	var living []int
	for i, s := range f.stores {
		if i%2 == 0 && !s.dead {
			living = append(living, f.zone(s.id))
		}
	}
	for _, r := range f.placement() {
		var zones []int
		for _, p := range r.Peers {
			if f.lives(p.StoreID) && !p.Learner {
				zones = append(zones, f.zone(p.StoreID))
			}
		}
		slices.Sort(zones)
		if !slices.Equal(zones, living) {
			return fmt.Sprintf("region %d is in the zones %v of %v", r.ID, zones, living)
		}
	}
	return ""
}

func (f *fleet) zone(id uint64) int {
	return slices.IndexFunc(f.stores, func(s *fleetStore) bool { return s.id == id }) / 2
}
