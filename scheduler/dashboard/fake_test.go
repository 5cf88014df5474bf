package dashboard_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// page is how many regions the fake gives at a time.
const page = 64

var (
	now  = time.Unix(5000, 0)
	wall = time.UnixMilli(1_700_000_000_000)
)

// fake is a cluster that stands still.
type fake struct {
	overview dashboard.Overview
	regions  []*cluster.Region // by key
	events   []machine.Event
	scans    atomic.Int64
}

func (f *fake) Overview(history int) dashboard.Overview {
	o := f.overview
	o.Ended = o.Ended[:min(history, len(o.Ended))]
	return o
}

func (f *fake) Regions(start, end []byte) []*cluster.Region {
	f.scans.Add(1)
	i, _ := slices.BinarySearchFunc(f.regions, start, func(r *cluster.Region, key []byte) int {
		if len(r.Meta.EndKey) == 0 || bytes.Compare(r.Meta.EndKey, key) > 0 {
			return 1
		}
		return -1
	})
	var list []*cluster.Region
	for _, r := range f.regions[i:min(i+page, len(f.regions))] {
		if len(end) == 0 || bytes.Compare(r.Meta.StartKey, end) < 0 {
			list = append(list, r)
		}
	}
	return list
}

func (f *fake) Region(id uint64) (dashboard.Region, bool) {
	i := slices.IndexFunc(f.regions, func(r *cluster.Region) bool { return r.ID() == id })
	if i < 0 {
		return dashboard.Region{}, false
	}
	r := dashboard.Region{Region: f.regions[i], Now: now, Wall: wall}
	if id == 3 {
		r.Operator = &f.overview.Running[0]
		r.Reason = &schedule.Reason{Who: "rule-checker", Text: "no store may take a replica", Since: now.Add(-time.Minute), At: now}
	}
	return r, true
}

func (f *fake) Events(limit int) (time.Time, []machine.Event) {
	return wall.Add(-time.Hour), f.events[:min(limit, len(f.events))]
}

// newFake is a cluster of four stores, one of which is down, and n regions, with ids from 1 on, that begin at the key k and their number.
func newFake(n int) *fake {
	f := &fake{overview: dashboard.Overview{
		Now: now, Wall: wall, ClusterID: 7_000_000_000_000_000_001, Leader: "scheduler-2", Version: "8.5.0", Regions: n, Heard: n,
		Members: []dashboard.Member{{Name: "scheduler-1"}, {Name: "scheduler-2"}},
	}}
	pic := cluster.NewPicture()
	for id := uint64(1); id <= 4; id++ {
		zone := []*metapb.StoreLabel{{Key: "zone", Value: fmt.Sprint("z", id)}}
		pic.PutStore(&metapb.Store{Id: id, Address: fmt.Sprintf("10.0.0.%d:20160", id), Labels: zone}, now.Add(-time.Hour))
		heard := now.Add(-4 * time.Second)
		if id == 4 {
			heard = now.Add(-time.Hour)
		}
		pic.HearStore(id, cluster.StoreStats{
			Capacity: 100 << 30, Available: 60 << 30, UsedSize: 30 << 30, Read: cluster.Rate{Bytes: 3 << 20, Keys: 700}, SlowScore: 90 * (id / 3),
		}, heard, wall)
		f.overview.Stores = append(f.overview.Stores, dashboard.Store{Store: pic.Store(id), Tally: cluster.Tally{Regions: n, Leaders: n / 3, Pending: 2}})
	}
	for i := range n {
		m := &metapb.Region{Id: uint64(i + 1), RegionEpoch: &metapb.RegionEpoch{Version: 5, ConfVer: 2}}
		if i > 0 {
			m.StartKey = fmt.Appendf(nil, "k%07d", i)
		}
		if i+1 < n {
			m.EndKey = fmt.Appendf(nil, "k%07d", i+1)
		}
		for s := uint64(1); s <= 3; s++ {
			m.Peers = append(m.Peers, &metapb.Peer{Id: 100*m.Id + s, StoreId: s})
		}
		r := &cluster.Region{Meta: m, Leader: m.Peers[i%3], Term: 6, Load: cluster.Load{Size: 90 << 20, Keys: 1000}}
		r.Flow.Read.Bytes, r.Flow.Write.Bytes = uint32(i%50)<<10, uint32(i%7)<<10
		f.regions = append(f.regions, r)
	}
	f.regions[2].Pending = f.regions[2].Meta.Peers[:1]
	f.regions[3].Leader = nil
	f.overview.Running = []operator.Record{{
		Region: 3, Desc: "balance-region", Brief: "mv peer: store [1] to [2]", Kind: operator.Region, Steps: []string{"add learner", "promote"}, Current: 1,
		Started: now.Add(-3 * time.Second), At: now, From: 1, To: 2,
	}}
	for i := range 60 {
		f.overview.Ended = append(f.overview.Ended, operator.Record{
			Region: uint64(i + 1), Desc: "balance-leader", Brief: "transfer leader", Status: operator.Status(1 + i%4), Why: "<b>because</b>", Steps: []string{"transfer"},
			Started: now.Add(-time.Minute), Finished: now.Add(-50 * time.Second),
		})
	}
	f.events = []machine.Event{
		{ID: 3, Kind: machine.RegionsSplit, Count: 12, First: wall, Last: wall, Region: 44, Text: "split off"},
		{ID: 2, Kind: machine.StoreDown, Count: 1, First: wall, Last: wall, Store: 4, Text: "is down"},
		{ID: 1, Kind: machine.TermBegan, Count: 1, First: wall, Last: wall, Text: "leads the schedulers", Detail: "scheduler-2"},
	}
	return f
}

// serve runs the page over a source.
func serve(t *testing.T, source func() dashboard.Source) *httptest.Server {
	s := httptest.NewServer(dashboard.New(source))
	t.Cleanup(s.Close)
	return s
}
