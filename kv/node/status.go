package node

import (
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/server/status"
	"github.com/shoal-kv/shoal/rpc"
)

// statusServer is the HTTP side of a store. It listens before the store registers, because the scheduler is told its address.
type statusServer struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{}
}

func (n *Node) listenStatus() (*statusServer, error) {
	l, err := rpc.Listen(n.cfg.Server.StatusAddr)
	if err != nil {
		return nil, err
	}
	return &statusServer{listener: l}, nil
}

// handle decides what the status server shows.
func (s *statusServer) handle(n *Node, reg *prometheus.Registry) {
	s.http = status.NewServer(status.Options{
		Config: func() any {
			cfg := *n.cfg
			if n.logLevel != nil {
				cfg.Log.Level = n.logLevel.Name()
			}
			tree, err := config.Tree(&cfg)
			if err != nil {
				return err.Error()
			}
			return tree
		},
		Metrics: reg, Region: n.regionStatus, Compare: n.compare, Rebuild: n.rebuild, Merge: n.merge, Ready: func() bool { return true },
		Recovery: recoverer{n}, LogLevel: n.logLevel, Profiling: n.cfg.Server.EnablePprof, Logger: n.logger,
	})
}

func (s *statusServer) serve() {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.http.Serve(s.listener) // ends with close
	}()
}

func (s *statusServer) close() {
	if s.done != nil {
		_ = s.http.Close()
		<-s.done
	}
	_ = s.listener.Close()
}

// regionStatus is what /region/{id} shows.
type regionStatus struct {
	ID          uint64            `json:"id"`
	Region      any               `json:"region"`
	PeerID      uint64            `json:"peer_id"`
	Leader      any               `json:"leader"`
	Term        uint64            `json:"term"`
	IsLeader    bool              `json:"is_leader"`
	Initialized bool              `json:"initialized"`
	LeaseMS     int64             `json:"lease_remaining_ms"`
	Log         machine.LogStatus `json:"log"`
	// Peer is what the peer's owner knows beside that; nil when it did not answer in time.
	Peer *machine.PeerReport `json:"peer,omitempty"`
}

// regionStatus answers the status server.
func (n *Node) regionStatus(id uint64) (any, bool) {
	v := n.store.View(id)
	if v == nil || v.Gone {
		return nil, false
	}
	return &regionStatus{
		ID: id, Region: v.Region, PeerID: v.PeerID, Leader: v.Leader, Term: v.Term, IsLeader: v.IsLeader, Initialized: v.Initialized,
		LeaseMS: max(0, int64(v.LeaseEnd-raftstore.Boottime())/int64(time.Millisecond)), Log: v.Log, Peer: n.inspect(id),
	}, true
}

// collector shows what is counted elsewhere, under the family's names.
type collector struct {
	n *Node
}

var (
	engineSize  = prometheus.NewDesc("tikv_engine_size_bytes", "Bytes that an engine holds.", []string{"db", "type"}, nil)
	engineCache = prometheus.NewDesc("tikv_engine_block_cache_size_bytes", "Bytes in an engine's block cache.", []string{"db"}, nil)
	engineSyncs = prometheus.NewDesc("tikv_engine_wal_file_synced", "Syncs of an engine's log.", []string{"db"}, nil)
	engineStall = prometheus.NewDesc("tikv_engine_write_stall", "How often an engine stopped writes to catch up.", []string{"db", "type"}, nil)
	engineFlow  = prometheus.NewDesc("tikv_engine_flow_bytes", "Bytes that went to an engine's log.", []string{"db", "type"}, nil)
	engineEvent = prometheus.NewDesc("tikv_engine_event_total", "Flushes and compactions of an engine.", []string{"db", "type"}, nil)
	level0      = prometheus.NewDesc("tikv_scheduler_l0_avg", "Tables of the data engine that are not sorted in yet.", []string{"cf"}, nil)
	regionCount = prometheus.NewDesc("tikv_raftstore_region_count", "Regions of the store.", []string{"type"}, nil)
	storeSize   = prometheus.NewDesc("tikv_store_size_bytes", "The store's disk.", []string{"type"}, nil)
	channelFull = prometheus.NewDesc("tikv_channel_full_total", "Messages dropped because a queue was full.", []string{"type"}, nil)
	noLeader    = prometheus.NewDesc("tikv_raftstore_leader_missing", "Regions of the store whose leader is not known here.", nil, nil)
	pending     = prometheus.NewDesc("tikv_worker_pending_task_total", "Tasks that wait for a worker.", []string{"name"}, nil)
	cores       = prometheus.NewDesc("tikv_server_cpu_cores_quota", "Processors that this process may use at once.", nil, nil)
	memoryQuota = prometheus.NewDesc("tikv_server_memory_quota_bytes", "Memory from which on garbage is collected harder.", nil, nil)
	tooBusy     = prometheus.NewDesc("tikv_scheduler_too_busy_total", "Requests refused because too much was waiting.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		engineSize, engineCache, engineSyncs, engineStall, engineFlow, engineEvent, level0, regionCount, storeSize, channelFull, noLeader, pending, cores, memoryQuota, tooBusy,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for i, db := range c.n.pebbles {
		name, m := [...]string{"raft", "kv"}[i], db.Metrics()
		gauge(engineSize, m.TableBytes, name, "tables")
		gauge(engineSize, m.MemTableBytes, name, "memtables")
		gauge(engineCache, m.CacheBytes, name)
		gauge(engineSyncs, m.LogSyncs, name)
		gauge(engineStall, m.WriteStalls, name, "write_stall_count")
		count(engineFlow, m.LogBytes, name, "wal_file_bytes")
		count(engineEvent, m.Flushes, name, "flush")
		count(engineEvent, m.Compactions, name, "compaction")
		if name == "kv" {
			gauge(level0, m.Level0Tables, "all")
		}
	}
	gauge(cores, uint64(c.n.cores))
	gauge(memoryQuota, uint64(debug.SetMemoryLimit(-1)))
	for name, n := range c.n.store.Pending() {
		gauge(pending, uint64(n), name)
	}
	c.collectRegions(gauge)
	var stats pdpb.StoreStats
	c.n.stats(&stats)
	gauge(storeSize, stats.Capacity, "capacity")
	gauge(storeSize, stats.Available, "available")
	gauge(storeSize, stats.UsedSize, "used")
	dropped, busy := c.n.store.Dropped()
	count(channelFull, dropped, "raft")
	count(tooBusy, busy)
}

// collectRegions counts the regions of the store.
func (c collector) collectRegions(gauge func(d *prometheus.Desc, v uint64, labels ...string)) {
	var regions, leaders, asleep, orphans uint64
	c.n.store.Views(func(_ uint64, v *machine.RegionView) bool {
		regions++
		if v.IsLeader {
			leaders++
		}
		if v.Asleep {
			asleep++
		}
		if v.Leader == nil {
			orphans++
		}
		return true
	})
	gauge(regionCount, regions, "region")
	gauge(regionCount, leaders, "leader")
	gauge(regionCount, asleep, "asleep")
	gauge(noLeader, orphans)
}
