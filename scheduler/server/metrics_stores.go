package server

import (
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// unhealthyAfter is from when on a store that is silent counts as unhealthy, before it is down.
const unhealthyAfter = 10 * time.Minute

// storeFigures are what was taken out of the picture of one store.
type storeFigures struct {
	store               *cluster.Store
	tally               cluster.Tally
	reads, writes       hotPeers
	slow                bool
	addPeer, removePeer float64
}

// hotPeers adds up a store's: all, and those that lead.
type hotPeers struct {
	all, led   int
	flow, lead cluster.Sum
}

func hotOn(pic *cluster.Picture, store uint64, kind hotKind) (h hotPeers) {
	for i := range pic.CountOn(store, kind.role) {
		r := pic.RegionOn(store, kind.role, i)
		rate, _ := kind.flow(r.Flow)
		h.all++
		h.flow.Bytes, h.flow.Keys = h.flow.Bytes+int64(rate.Bytes), h.flow.Keys+int64(rate.Keys)
		if r.LeaderStore() == store {
			h.led++
			h.lead.Bytes, h.lead.Keys = h.lead.Bytes+int64(rate.Bytes), h.lead.Keys+int64(rate.Keys)
		}
	}
	return h
}

func (t *term) storeFigures() []storeFigures {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	pic, cfg := t.machine.Picture, t.machine.Schedule.Config()
	var list []storeFigures
	for _, s := range pic.Stores() {
		if s.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		f := storeFigures{
			store: s, tally: pic.Tally(s.ID()), reads: hotOn(pic, s.ID(), hotReads), writes: hotOn(pic, s.ID(), hotWrites),
			slow:    t.machine.Schedule.SlowStore() == s.ID(),
			addPeer: s.Tuning.AddPeer, removePeer: s.Tuning.RemovePeer,
		}
		if f.addPeer == 0 {
			f.addPeer = cfg.StoreLimitAddPeer
		}
		if f.removePeer == 0 {
			f.removePeer = cfg.StoreLimitRemovePeer
		}
		list = append(list, f)
	}
	return list
}

func (f *storeFigures) show(show show) {
	s, t := f.store, f.tally
	address, name := s.Meta.Address, label(s.ID())
	for kind, value := range map[string]float64{
		"leader_count": float64(t.Leaders), "leader_size": float64(mebibytes(t.LeaderSize)), "leader_score": float64(t.Leaders) / max(s.Tuning.LeaderWeight, leastWeight),
		"leader_weight": s.Tuning.LeaderWeight, "region_weight": s.Tuning.RegionWeight,
		"region_count": float64(t.Regions), "region_size": float64(mebibytes(t.RegionSize)), "region_score": float64(t.RegionWeight) / max(s.Tuning.RegionWeight, leastWeight),
		"learner_count": float64(t.Learners), "pending_peer_count": float64(t.Pending), "slow_score": float64(s.Stats.SlowScore),
		"store_capacity": float64(s.Stats.Capacity), "store_available": float64(s.Stats.Available), "store_used": float64(s.Stats.UsedSize),
		"store_write_rate_bytes": float64(s.Stats.Write.Bytes), "store_write_rate_keys": float64(s.Stats.Write.Keys),
		"store_read_rate_bytes": float64(s.Stats.Read.Bytes), "store_read_rate_keys": float64(s.Stats.Read.Keys),
	} {
		show("pd_scheduler_store_status", value, address, name, kind)
	}
	for kind, value := range map[string]float64{
		"total_read_bytes_as_leader": float64(t.Read.Bytes), "total_written_bytes_as_leader": float64(t.LeaderWrite.Bytes), "total_written_bytes_as_peer": float64(t.Write.Bytes),
		"total_read_keys_as_leader": float64(t.Read.Keys), "total_written_keys_as_leader": float64(t.LeaderWrite.Keys), "total_written_keys_as_peer": float64(t.Write.Keys),
		"hot_read_region_as_leader": float64(f.reads.all), "hot_write_region_as_leader": float64(f.writes.led), "hot_write_region_as_peer": float64(f.writes.all),
	} {
		show("pd_hotspot_status", value, address, name, kind)
	}
	show("pd_hotcache_status", float64(f.reads.all), "length", name, "read")
	show("pd_hotcache_status", float64(f.writes.all), "length", name, "write")
	for rw, hot := range map[string]hotPeers{"read": f.reads, "write": f.writes} {
		for as, sum := range map[string]cluster.Sum{"leader": hot.lead, "region": hot.flow} {
			show("pd_scheduler_hot_peers_summary", float64(sum.Bytes), "byte-rate-"+rw+"-"+as, name)
			show("pd_scheduler_hot_peers_summary", float64(sum.Keys), "key-rate-"+rw+"-"+as, name)
		}
	}
	show("pd_cluster_store_limit", f.addPeer, name, "add-peer")
	show("pd_cluster_store_limit", f.removePeer, name, "remove-peer")
	show("pd_scheduler_evicted_slow_store_status", truth(f.slow), address, name)
}

// regionCounts are the regions that each check finds, by the name of the check in metrics.
func regionCountName(check string) string {
	switch check {
	case "empty-region":
		return "empty-region-count"
	case "oversized-region", "undersized-region":
		return check + "-count"
	}
	return check + "-region-count"
}

// showRegions looks at every region once, in pages between which heartbeats have their turn.
func (t *term) showRegions(show show) {
	if t.needsBootstrap() != nil {
		return
	}
	o := t.outlook()
	stores := make(map[uint64]*cluster.Store)
	for _, s := range t.stores() {
		stores[s.ID()] = s
	}
	counts, levels := make(map[string]int), make(map[string]int)
	for check := range regionChecks {
		counts[check] = 0
	}
	t.each(nil, nil, func(r *cluster.Region) {
		for check, finds := range regionChecks {
			if finds(o, r) {
				counts[check]++
			}
		}
		levels[isolation(o.cfg, r, stores)]++
	})
	for check, n := range counts {
		show("pd_regions_status", float64(n), regionCountName(check))
	}
	for level, n := range levels {
		show("pd_regions_label_level", float64(n), level)
	}
}

// isolation is the first location label in which, with those before it, all replicas' stores differ; none if there is no such.
func isolation(cfg schedule.Config, r *cluster.Region, stores map[uint64]*cluster.Store) string {
	places := make([]string, len(r.Meta.Peers))
	for _, l := range cfg.LocationLabels {
		seen := make(map[string]bool, len(places))
		for i, p := range r.Meta.Peers {
			if s := stores[p.StoreId]; s != nil {
				places[i] += "/" + strings.ToLower(s.Label(l))
			}
			seen[places[i]] = true
		}
		if len(seen) == len(places) {
			return l
		}
	}
	return "none"
}
