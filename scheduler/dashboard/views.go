package dashboard

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// What the page is told. Times are in milliseconds of unix time, sizes in bytes, flow per second, keys in hexadecimal digits. Ids of clusters do not fit into a number of
// JavaScript's, and are text.

type overviewJSON struct {
	At        int64          `json:"at"`
	ClusterID string         `json:"cluster_id"`
	Leader    string         `json:"leader"`
	Members   []Member       `json:"members"`
	Version   string         `json:"version"`
	Regions   int            `json:"regions"`
	Heard     int            `json:"heard"`
	Halted    bool           `json:"halted"`
	Stores    []storeJSON    `json:"stores"`
	Running   []operatorJSON `json:"running"`
	Ended     []operatorJSON `json:"ended"`
}

type storeJSON struct {
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	Labels  string `json:"labels,omitempty"`
	State   string `json:"state"`
	// Silent is for how many milliseconds nothing was heard of it, -1 if nothing was at all.
	Silent   int64 `json:"silent"`
	Leaders  int   `json:"leaders"`
	Regions  int   `json:"regions"`
	Learners int   `json:"learners,omitempty"`
	Pending  int   `json:"pending,omitempty"`
	spaceJSON
	Read  cluster.Rate `json:"read"`
	Write cluster.Rate `json:"write"`
	// Trouble is what the store says that it is busy with.
	Trouble []string `json:"trouble,omitempty"`
}

type spaceJSON struct {
	Capacity  uint64 `json:"capacity"`
	Available uint64 `json:"available"`
	Used      uint64 `json:"used"`
}

type operatorJSON struct {
	Region uint64   `json:"region"`
	Desc   string   `json:"desc"`
	Brief  string   `json:"brief"`
	Kind   string   `json:"kind"`
	Status string   `json:"status"`
	Why    string   `json:"why,omitempty"`
	Steps  []string `json:"steps"`
	Step   int      `json:"step"`
	From   uint64   `json:"from,omitempty"`
	To     uint64   `json:"to,omitempty"`
	Began  int64    `json:"began"`
	Ended  int64    `json:"ended,omitempty"`
}

type eventsJSON struct {
	// Term tells the events of one leader from those of another, which have the same ids.
	Term   int64       `json:"term"`
	Events []eventJSON `json:"events"`
}

type eventJSON struct {
	ID     uint64            `json:"id"`
	Kind   machine.EventKind `json:"kind"`
	Count  int               `json:"count"`
	First  int64             `json:"first"`
	Last   int64             `json:"last"`
	Store  uint64            `json:"store,omitempty"`
	Region uint64            `json:"region,omitempty"`
	Text   string            `json:"text"`
	Detail string            `json:"detail,omitempty"`
}

type regionJSON struct {
	ID    uint64 `json:"id"`
	Start string `json:"start"`
	End   string `json:"end"`
	// Version and ConfVer are the epoch's, Term the leader's.
	Version uint64     `json:"version"`
	ConfVer uint64     `json:"conf_ver"`
	Term    uint64     `json:"term"`
	Leader  uint64     `json:"leader"` // its store; 0 while nobody is known to lead
	Peers   []peerJSON `json:"peers"`
	loadJSON
	Operator *operatorJSON `json:"operator,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Since    int64         `json:"since,omitempty"` // since when there is the reason
}

type peerJSON struct {
	ID      uint64 `json:"id"`
	Store   uint64 `json:"store"`
	Role    string `json:"role"`
	Pending bool   `json:"pending,omitempty"`
	Down    uint64 `json:"down,omitempty"` // seconds
}

type loadJSON struct {
	Size  uint64       `json:"size"`
	Keys  uint64       `json:"keys"`
	Read  cluster.Rate `json:"read"`
	Write cluster.Rate `json:"write"`
}

// dial turns instants into times of day.
type dial struct{ now, wall time.Time }

func (d dial) at(instant time.Time) int64 {
	if instant.IsZero() {
		return 0
	}
	return d.wall.Add(instant.Sub(d.now)).UnixMilli()
}

func overviewOf(o Overview) overviewJSON {
	d := dial{o.Now, o.Wall}
	view := overviewJSON{
		At: o.Wall.UnixMilli(), ClusterID: decimal(o.ClusterID), Leader: o.Leader, Members: o.Members, Version: o.Version,
		Regions: o.Regions, Heard: o.Heard, Halted: o.Halted,
		Stores: []storeJSON{}, Running: d.operators(o.Running), Ended: d.operators(o.Ended),
	}
	for _, s := range o.Stores {
		view.Stores = append(view.Stores, storeOf(s, o.Now))
	}
	return view
}

func storeOf(s Store, now time.Time) storeJSON {
	view := storeJSON{
		ID: s.ID(), Address: s.Meta.Address, Labels: labels(s.Meta.Labels), State: s.State(now).String(), Silent: -1,
		Leaders: s.Tally.Leaders, Regions: s.Tally.Regions, Learners: s.Tally.Learners, Pending: s.Tally.Pending,
		spaceJSON: spaceJSON{s.Stats.Capacity, s.Stats.Available, s.Stats.UsedSize},
	}
	if s.Heard.IsZero() {
		return view
	}
	view.Silent = now.Sub(s.Heard).Milliseconds()
	if state := s.State(now); state == cluster.Up || state == cluster.Offline {
		view.Read, view.Write, view.Trouble = s.Stats.Read, s.Stats.Write, trouble(s.Stats)
	}
	return view
}

func labels(list []*metapb.StoreLabel) string {
	var words []string
	for _, l := range list {
		words = append(words, l.Key+"="+l.Value)
	}
	return strings.Join(words, ", ")
}

// slowScore is from where on a store is told to be slow.
const slowScore = 80

func trouble(s cluster.StoreStats) []string {
	var list []string
	if s.IsBusy {
		list = append(list, "busy")
	}
	if s.SlowScore >= slowScore {
		list = append(list, "slow")
	}
	for _, of := range []struct {
		n    uint32
		word string
	}{{s.SendingSnapshots, "sends snapshots"}, {s.ReceivingSnapshots, "receives snapshots"}, {s.ApplyingSnapshots, "applies snapshots"}} {
		if of.n > 0 {
			list = append(list, of.word)
		}
	}
	return list
}

func (d dial) operators(records []operator.Record) []operatorJSON {
	list := make([]operatorJSON, len(records))
	for i, rec := range records {
		list[i] = d.operator(rec)
	}
	return list
}

func (d dial) operator(rec operator.Record) operatorJSON {
	return operatorJSON{
		Region: rec.Region, Desc: rec.Desc, Brief: rec.Brief, Kind: rec.Kind.String(), Status: rec.Status.String(), Why: rec.Why,
		Steps: rec.Steps, Step: rec.Current, From: rec.From, To: rec.To, Began: d.at(rec.Started), Ended: d.at(rec.Finished),
	}
}

func eventsOf(began time.Time, list []machine.Event) eventsJSON {
	views := make([]eventJSON, len(list))
	for i, e := range list {
		views[i] = eventJSON{
			ID: e.ID, Kind: e.Kind, Count: e.Count, First: e.First.UnixMilli(), Last: e.Last.UnixMilli(),
			Store: e.Store, Region: e.Region, Text: e.Text, Detail: e.Detail,
		}
	}
	return eventsJSON{began.UnixMilli(), views}
}

func regionOf(r Region) regionJSON {
	d := dial{r.Now, r.Wall}
	view := regionJSON{
		ID: r.ID(), Start: hex.EncodeToString(r.Meta.StartKey), End: hex.EncodeToString(r.Meta.EndKey),
		Version: r.Meta.GetRegionEpoch().GetVersion(), ConfVer: r.Meta.GetRegionEpoch().GetConfVer(), Term: r.Term, Leader: r.LeaderStore(),
		loadJSON: loadOf(r.Region), Peers: []peerJSON{},
	}
	for _, p := range r.Meta.Peers {
		view.Peers = append(view.Peers, peerJSON{p.Id, p.StoreId, p.Role.String(), r.IsPending(p.Id), r.DownSeconds(p.Id)})
	}
	if r.Operator != nil {
		op := d.operator(*r.Operator)
		view.Operator = &op
	}
	if r.Reason != nil {
		view.Reason, view.Since = r.Reason.Who+": "+r.Reason.Text, d.at(r.Reason.Since)
	}
	return view
}

func loadOf(r *cluster.Region) loadJSON {
	return loadJSON{r.Load.Size, r.Load.Keys, r.Flow.Read, r.Flow.Write}
}
