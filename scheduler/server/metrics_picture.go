package server

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// pictureMetrics are how things are with the cluster as the leader sees it, worked out when they are collected. A member that does not lead has no
// picture and shows only what is about itself.
type pictureMetrics struct {
	server *Server
	gauges map[string]*prometheus.Desc
}

// pictureGauges are their names, and what to say of them; the labels follow from what show is called with.
var pictureGauges = []struct {
	name, help string
	labels     []string
}{
	{"pd_service_maxprocs", "Processors that this process may use at once.", nil},
	{"pd_service_memory_quota_bytes", "Memory from which on garbage is collected harder.", nil},
	{"pd_server_etcd_state", "How far this member's etcd is.", []string{"type"}},
	{"pd_cluster_id", "The cluster's id, as well as a number with a fraction can tell.", nil},
	{"pd_cluster_metadata", "The cluster that this is; the value means nothing.", []string{"type"}},
	{"pd_cluster_status", "The cluster as the leader sees it, by type.", []string{"type"}},
	{"pd_cluster_placement_status", "Stores by label and value.", []string{"type", "name"}},
	{"pd_cluster_store_limit", "Peers a minute that may come to and go from a store.", []string{"store", "type"}},
	{"pd_cluster_tso", "The physical part of timestamps, in milliseconds.", []string{"type"}},
	{"pd_cluster_tso_gap_millionseconds", "By how much timestamps are ahead of the wall clock, in milliseconds.", []string{"dc"}},
	{"pd_config_status", "Items of the scheduling configuration that are numbers; 1 and 0 for true and false.", []string{"type"}},
	{"pd_lease_local_ttl_remaining_seconds", "How long the leader may still lead without renewing its lease.", nil},
	{"pd_rule_manager_status", "Placement rules and groups of them.", []string{"type"}},
	{"pd_regions_status", "Regions with something about them, by type.", []string{"type"}},
	{"pd_regions_label_level", "Regions by the location label up to which their replicas are apart.", []string{"type"}},
	{"pd_scheduler_store_status", "Each store as the leader sees it, by type.", []string{"address", "store", "type"}},
	{"pd_hotspot_status", "Traffic per second of each store, and its hot regions.", []string{"address", "store", "type"}},
	{"pd_hotcache_status", "Hot peers of each store.", []string{"name", "store", "type"}},
	{"pd_scheduler_status", "1 for a scheduler that may work, 0 for one that is paused.", []string{"kind", "type"}},
	{"pd_scheduler_event_count", "Operators that each scheduler has made in this term.", []string{"type", "name"}},
	{"pd_scheduler_evicted_slow_store_status", "1 for a store that is slow and gives its leaders away, 0 for the others.", []string{"address", "store"}},
	{"pd_scheduler_op_influence", "What operators in flight will change about a store.", []string{"store", "type"}},
	{"pd_scheduling_allowance_status", "1 if scheduling is stopped for a reason.", []string{"kind"}},
	{"pd_schedule_operator_limit", "How many operators of a kind there may be.", []string{"type"}},
	{"pd_checker_patrol_regions_time", "Seconds that the latest patrol over all regions took.", nil},
	{"pd_scheduler_hot_peers_summary", "Traffic per second of each store's hot peers, or of those that lead.", []string{"type", "store"}},
	{"pd_scheduler_tolerant_resource", "By how much a store's score may be above others' before balance moves anything.", []string{"scheduler", "source"}},
	{"pd_cluster_progress", "How much of what a store held that is being drained has left it, from 0 to 1.", []string{"address", "store", "action"}},
	{"pd_cluster_speed", "Bytes of regions that leave a store a second that is being drained.", []string{"address", "store", "action"}},
	{"pd_cluster_eta", "Seconds until a store is drained, at the speed of the last minutes.", []string{"address", "store", "action"}},
	{"pd_scheduler_hot_region", "Stores that were found to be hot or not, and chosen to take traffic over, in this term.", []string{"type", "store"}},
	{"pd_schedule_operator_exceeded_store_limit", "Operators that were not made because of a store's limit, in this term.", []string{"desc"}},
	{"pd_schedule_source_filter", "Stores that were passed over when something was to leave one, by who looked and why, in this term.", []string{"action", "scope", "type", "source"}},
	{"pd_schedule_target_filter", "Stores that were passed over when something was to come to one, by who looked and why, in this term.", []string{"action", "scope", "type", "target"}},
}

// pictureCounts are those of them that only grow, from 0 in every term.
var pictureCounts = map[string]bool{
	"pd_scheduler_event_count": true, "pd_scheduler_hot_region": true, "pd_schedule_operator_exceeded_store_limit": true,
	"pd_schedule_source_filter": true, "pd_schedule_target_filter": true,
}

func newPictureMetrics(s *Server) *pictureMetrics {
	m := &pictureMetrics{server: s, gauges: make(map[string]*prometheus.Desc)}
	for _, g := range pictureGauges {
		m.gauges[g.name] = prometheus.NewDesc(g.name, g.help, g.labels, nil)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *pictureMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range m.gauges {
		to <- d
	}
}

// show reports one value.
type show func(name string, value float64, labels ...string)

// Collect implements prometheus.Collector.
func (m *pictureMetrics) Collect(to chan<- prometheus.Metric) {
	var show show = func(name string, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if pictureCounts[name] {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(m.gauges[name], kind, value, labels...)
	}
	m.server.showProcess(show)
	t := m.server.term.Load()
	if t == nil {
		return
	}
	t.showTerm(show)
	t.showSchedule(show)
	t.showInfluence(show)
	for _, s := range t.storeFigures() {
		s.show(show)
	}
	t.showChoices(show)
	t.showProgress(show)
	t.showRegions(show)
}

// showProcess is what every member knows.
func (s *Server) showProcess(show show) {
	show("pd_service_maxprocs", float64(runtime.GOMAXPROCS(0)))
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		show("pd_service_memory_quota_bytes", float64(limit))
	} else {
		show("pd_service_memory_quota_bytes", math.Inf(+1))
	}
	node := s.node.Load()
	if node == nil {
		return
	}
	term, committed, applied := node.Raft()
	show("pd_server_etcd_state", float64(term), "term")
	show("pd_server_etcd_state", float64(committed), "committedIndex")
	show("pd_server_etcd_state", float64(applied), "appliedIndex")
	show("pd_cluster_id", float64(node.ClusterID()))
	show("pd_cluster_metadata", 0, fmt.Sprintf("cluster%d", node.ClusterID()))
}

// showTerm is about the cluster as a whole.
func (t *term) showTerm(show show) {
	wall := t.clocks.Wall()
	t.timestamps.desk.mu.RLock()
	ahead := t.timestamps.machine.Ahead(wall)
	t.timestamps.desk.mu.RUnlock()
	show("pd_cluster_tso", float64(wall.Add(ahead).UnixMilli()), "tso")
	show("pd_cluster_tso_gap_millionseconds", float64(ahead.Milliseconds()), "global")
	show("pd_lease_local_ttl_remaining_seconds", max(0, t.leadership.End().Sub(t.clocks.Monotonic()).Seconds()))
	for kind, value := range t.clusterStatus() {
		show("pd_cluster_status", value, kind)
	}
	labels := make(map[[2]string]int)
	for _, s := range t.stores() {
		for _, l := range s.Meta.Labels {
			if s.Meta.State != metapb.StoreState_Tombstone {
				labels[[2]string{l.Key, l.Value}]++
			}
		}
	}
	for l, n := range labels {
		show("pd_cluster_placement_status", float64(n), l[0], l[1])
	}
	rules := t.rules()
	show("pd_rule_manager_status", float64(len(rules.Rules())), "rule_count")
	show("pd_rule_manager_status", float64(len(rules.Groups())), "group_count")
}

// showSchedule is about the configuration and the schedulers.
func (t *term) showSchedule(show show) {
	cfg := t.config()
	for name, value := range itemsOf(cfg) {
		switch v := value.(type) {
		case float64:
			show("pd_config_status", v, name)
		case string:
			if v == "true" || v == "false" {
				show("pd_config_status", truth(v == "true"), name)
			}
		}
	}
	show("pd_scheduling_allowance_status", truth(cfg.HaltScheduling), "halt-scheduling")
	for kind, limit := range map[operator.Kind]int{
		operator.Leader: cfg.LeaderScheduleLimit, operator.Region: cfg.RegionScheduleLimit, operator.Replica: cfg.ReplicaScheduleLimit,
		operator.MergeRegions: cfg.MergeScheduleLimit, operator.HotRegion: cfg.HotRegionScheduleLimit,
	} {
		show("pd_schedule_operator_limit", float64(limit), kind.String())
	}
	now := t.clocks.Monotonic()
	for _, s := range t.schedulers() {
		show("pd_scheduler_status", truth(!s.Paused.After(now)), "allow", s.Name)
		show("pd_scheduler_event_count", float64(s.Made), s.Name, "new-operator")
	}
	show("pd_checker_patrol_regions_time", scheduling(t, (*schedule.Coordinator).PatrolTime).Seconds())
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// showInfluence adds up operators in flight, for which it has to be at the desk.
func (t *term) showInfluence(show show) {
	influence := make(map[uint64]operator.Influence)
	_, _ = t.desk.ask(func(machine.Moment) (*machine.Save, error) { // it cannot fail
		all := t.machine.Schedule.Operators().Influences()
		for _, s := range t.machine.Picture.Stores() {
			influence[s.ID()] = all.Of(s.ID())
		}
		return nil, nil
	})
	for id, i := range influence {
		show("pd_scheduler_op_influence", float64(i.Leaders), label(id), "leader")
		show("pd_scheduler_op_influence", float64(i.Regions), label(id), "region")
	}
}

// clusterStatus counts stores by state, and adds up what they hold.
func (t *term) clusterStatus() map[string]float64 {
	now := t.clocks.Monotonic()
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	status := map[string]float64{
		"store_up_count": 0, "store_disconnected_count": 0, "store_down_count": 0, "store_offline_count": 0,
		"store_tombstone_count": 0, "store_low_space_count": 0, "store_slow_count": 0, "store_unhealth_count": 0,
		"leader_count": 0, "storage_size": 0, "storage_capacity": 0,
		"region_count": float64(t.machine.Picture.RegionCount()),
	}
	name := map[cluster.State]string{
		cluster.Up: "store_up_count", cluster.Disconnected: "store_disconnected_count", cluster.Down: "store_down_count",
		cluster.Offline: "store_offline_count", cluster.Tombstone: "store_tombstone_count",
	}
	low, slow := t.machine.Schedule.Config().LowSpaceRatio, t.machine.Schedule.SlowStore()
	for _, s := range t.machine.Picture.Stores() {
		state := s.State(now)
		status[name[state]]++
		if state == cluster.Tombstone {
			continue
		}
		status["store_low_space_count"] += truth(s.Used() > low)
		status["store_slow_count"] += truth(s.ID() == slow)
		status["store_unhealth_count"] += truth(state == cluster.Disconnected && now.Sub(s.Heard) > unhealthyAfter)
		status["leader_count"] += float64(t.machine.Picture.Tally(s.Meta.Id).Leaders)
		status["storage_size"] += float64(s.Stats.UsedSize)
		status["storage_capacity"] += float64(s.Stats.Capacity)
	}
	return status
}
