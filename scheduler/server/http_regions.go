package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

const (
	defaultRegionLimit = 16
	maxRegionLimit     = 10240
	// scanPage is how many regions are taken out of the picture before others get a turn with it.
	scanPage = 4096
)

// regionRoutes are about regions as they are.
func (s *Server) regionRoutes() []route {
	routes := []route{
		{"GET", "/regions", s.onCluster(httpRegions)},
		{"GET", "/regions/count", s.onCluster(httpRegionCount)},
		{"GET", "/regions/key", s.onCluster(httpRegionsFrom)},
		{"GET", "/regions/store/{id}", s.onCluster(httpRegionsOnStore)},
		{"GET", "/regions/sibling/{id}", s.onCluster(httpSiblings)},
		{"GET", "/regions/range-holes", s.onCluster(httpHoles)},
		{"GET", "/regions/replicated", s.onCluster(httpReplicated)},
		{"GET", "/region/id/{id}", s.onCluster(httpRegion)},
		{"GET", "/region/key/{key...}", s.onCluster(httpRegionOf)},
		{"GET", "/stats/region", s.onCluster(httpRegionStats)},
		{"POST", "/regions/scatter", s.onCluster(httpScatter)},
		{"POST", "/regions/split", s.onCluster(httpSplit)},
		{"DELETE", "/admin/cache/regions", s.onCluster(httpForgetRegions)},
		{"DELETE", "/admin/cache/region/{id}", s.onCluster(httpForgetRegion)},
	}
	for name, figure := range topFigures { // order-free: routes of different paths
		routes = append(routes, route{"GET", "/regions/" + name, s.onCluster(httpTop(figure))})
	}
	return routes
}

type regionJSON struct {
	ID      uint64         `json:"id"`
	Start   string         `json:"start_key"` // keys as upper-case hexadecimal digits
	End     string         `json:"end_key"`
	Epoch   epochJSON      `json:"epoch"`
	Peers   []peerJSON     `json:"peers,omitempty"`
	Leader  *peerJSON      `json:"leader,omitempty"`
	Down    []downPeerJSON `json:"down_peers,omitempty"`
	Pending []peerJSON     `json:"pending_peers,omitempty"`
	loadJSON
}

type epochJSON struct {
	ConfVer uint64 `json:"conf_ver,omitempty"`
	Version uint64 `json:"version,omitempty"`
}

type loadJSON struct {
	CPUUsage       uint64 `json:"cpu_usage"`
	WrittenBytes   uint64 `json:"written_bytes"`
	ReadBytes      uint64 `json:"read_bytes"`
	WrittenKeys    uint64 `json:"written_keys"`
	ReadKeys       uint64 `json:"read_keys"`
	Size           uint64 `json:"approximate_size"` // MiB
	Keys           uint64 `json:"approximate_keys"`
	KVSize         uint64 `json:"approximate_kv_size"`
	ColumnarKVSize uint64 `json:"approximate_columnar_kv_size"`
}

type peerJSON struct {
	RoleName  string          `json:"role_name"`
	IsLearner bool            `json:"is_learner,omitempty"`
	ID        uint64          `json:"id"`
	StoreID   uint64          `json:"store_id"`
	Role      metapb.PeerRole `json:"role,omitempty"`
}

type downPeerJSON struct {
	Peer    peerJSON `json:"peer"`
	Seconds uint64   `json:"down_seconds"`
}

func regionView(r *cluster.Region) regionJSON {
	view := regionJSON{
		ID: r.ID(), Start: hexKey(r.Meta.StartKey), End: hexKey(r.Meta.EndKey),
		Epoch: epochJSON{r.Meta.RegionEpoch.GetConfVer(), r.Meta.RegionEpoch.GetVersion()},
		Peers: peerViews(r.Meta.Peers), Pending: peerViews(r.Pending),
		loadJSON: loadJSON{
			WrittenBytes: r.Load.BytesWritten, ReadBytes: r.Load.BytesRead,
			WrittenKeys: r.Load.KeysWritten, ReadKeys: r.Load.KeysRead,
			Size: mebibytes(r.Load.Size), Keys: r.Load.Keys,
		},
	}
	if r.Leader != nil {
		leader := peerView(r.Leader)
		view.Leader = &leader
	}
	for _, d := range r.Down {
		view.Down = append(view.Down, downPeerJSON{Peer: peerView(d.Peer), Seconds: d.Seconds})
	}
	return view
}

func peerViews(peers []*metapb.Peer) []peerJSON {
	var views []peerJSON
	for _, p := range peers {
		views = append(views, peerView(p))
	}
	return views
}

func peerView(p *metapb.Peer) peerJSON {
	return peerJSON{
		RoleName: p.GetRole().String(), IsLearner: p.GetRole() == metapb.PeerRole_Learner,
		ID: p.GetId(), StoreID: p.GetStoreId(), Role: p.GetRole(),
	}
}

// regionList is a list of regions as a reply: encoded one after the other, because there may be a million.
type regionList []*cluster.Region

func (list regionList) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = fmt.Fprintf(out, `{"count":%d,"regions":[`, len(list))
	for i, r := range list {
		one, err := json.Marshal(regionView(r))
		if err != nil {
			panic("a region cannot be encoded: " + err.Error())
		}
		if i > 0 {
			one = append([]byte{','}, one...)
		}
		if _, err := out.Write(one); err != nil {
			return // the client went away
		}
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
}

// each visits the regions from start to end in the order of their keys, in pages between which heartbeats have their turn: every region is as it was at some
// moment of the visit.
func (t *term) each(start, end []byte, visit func(*cluster.Region)) {
	for {
		page := t.scan(start, end, scanPage)
		for _, r := range page {
			visit(r)
		}
		if len(page) < scanPage {
			return
		}
		if start = page[len(page)-1].Meta.EndKey; len(start) == 0 {
			return
		}
	}
}

func (t *term) scan(start, end []byte, limit int) []*cluster.Region {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return t.machine.Picture.Scan(start, end, limit)
}

// regionsThat lists the regions that are wanted.
func (t *term) regionsThat(want func(*cluster.Region) bool) regionList {
	var list regionList
	t.each(nil, nil, func(r *cluster.Region) {
		if want(r) {
			list = append(list, r)
		}
	})
	return list
}

func httpRegions(t *term, _ *http.Request) (any, error) {
	return t.regionsThat(func(*cluster.Region) bool { return true }), nil
}

func httpRegionCount(t *term, _ *http.Request) (any, error) {
	return compact{map[string]int{"count": read(t, (*cluster.Picture).RegionCount)}}, nil
}

// httpRegionsFrom lists regions from ?key= to ?end_key=, at most ?limit= of them. With ?format=hex the keys are hexadecimal digits.
func httpRegionsFrom(t *term, r *http.Request) (any, error) {
	query := r.URL.Query()
	limit, err := queryNumber(r, "limit", defaultRegionLimit)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxRegionLimit {
		limit = maxRegionLimit
	}
	start, end := []byte(query.Get("key")), []byte(query.Get("end_key"))
	if query.Get("format") == "hex" {
		if start, err = fromHex("key", query.Get("key")); err != nil {
			return nil, err
		}
		if end, err = fromHex("end_key", query.Get("end_key")); err != nil {
			return nil, err
		}
	}
	return regionList(t.scan(start, end, limit)), nil
}

// httpRegionsOnStore lists the regions of a store: those it leads, learns or lags behind in if ?type= says so.
func httpRegionsOnStore(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	var want func(*cluster.Region) bool
	switch kind := r.URL.Query().Get("type"); kind {
	case "", "all":
		want = func(r *cluster.Region) bool { return r.OnStore(id) != nil }
	case "leader":
		want = func(r *cluster.Region) bool { return r.LeaderStore() == id }
	case "learner":
		want = func(r *cluster.Region) bool { return r.OnStore(id).GetRole() == metapb.PeerRole_Learner }
	case "pending":
		want = func(r *cluster.Region) bool { p := r.OnStore(id); return p != nil && r.IsPending(p.Id) }
	default:
		return nil, badRequest("type %q must be all, leader, learner or pending", kind)
	}
	return t.regionsThat(want), nil
}

func httpRegion(t *term, r *http.Request) (any, error) {
	region, err := t.pathRegion(r)
	if err != nil {
		return nil, err
	}
	return compact{regionView(region)}, nil
}

// pathRegion is the region that {id} names.
func (t *term) pathRegion(r *http.Request) (*cluster.Region, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	region := read(t, func(p *cluster.Picture) *cluster.Region { return p.Region(id) })
	if region == nil {
		return nil, regionNotFound(fmt.Sprintf("region %d", id))
	}
	return region, nil
}

func regionNotFound(what string) error {
	return notFound("[PD:region:ErrRegionNotFound]%s not found", what)
}

// httpRegionOf finds the region of a key that tools escape as in a query, so that a space may come as a plus sign.
func httpRegionOf(t *term, r *http.Request) (any, error) {
	text, err := url.QueryUnescape(strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix+"/region/key/"))
	if err != nil {
		return nil, badRequest("%s", err)
	}
	key := []byte(text)
	if r.URL.Query().Get("format") == "hex" {
		if key, err = fromHex("key", text); err != nil {
			return nil, err
		}
	}
	region := read(t, func(p *cluster.Picture) *cluster.Region { return p.RegionOf(key) })
	if region == nil {
		return nil, regionNotFound("the region of key " + hexKey(key))
	}
	return compact{regionView(region)}, nil
}

// httpSiblings lists the neighbours of a region, as far as there are any.
func httpSiblings(t *term, r *http.Request) (any, error) {
	region, err := t.pathRegion(r)
	if err != nil {
		return nil, err
	}
	var list regionList
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	for _, n := range []*cluster.Region{t.machine.Picture.RegionBefore(region.Meta.StartKey), t.machine.Picture.RegionAfter(region)} {
		if n != nil {
			list = append(list, n)
		}
	}
	return list, nil
}
