package server

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

const (
	defaultRegionLimit = 16
	maxRegionLimit     = 10240
)

type regionJSON struct {
	ID    uint64 `json:"id"`
	Start string `json:"start_key"` // keys as upper-case hexadecimal digits
	End   string `json:"end_key"`
	Epoch struct {
		ConfVer uint64 `json:"conf_ver,omitempty"`
		Version uint64 `json:"version,omitempty"`
	} `json:"epoch"`
	Peers          []peerJSON     `json:"peers,omitempty"`
	Leader         *peerJSON      `json:"leader,omitempty"`
	Down           []downPeerJSON `json:"down_peers,omitempty"`
	Pending        []peerJSON     `json:"pending_peers,omitempty"`
	CPUUsage       uint64         `json:"cpu_usage"`
	WrittenBytes   uint64         `json:"written_bytes"`
	ReadBytes      uint64         `json:"read_bytes"`
	WrittenKeys    uint64         `json:"written_keys"`
	ReadKeys       uint64         `json:"read_keys"`
	Size           uint64         `json:"approximate_size"` // MiB
	Keys           uint64         `json:"approximate_keys"`
	KVSize         uint64         `json:"approximate_kv_size"`
	ColumnarKVSize uint64         `json:"approximate_columnar_kv_size"`
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

type regionsJSON struct {
	Count   int          `json:"count"`
	Regions []regionJSON `json:"regions"`
}

func regionView(r *cluster.Region) regionJSON {
	view := regionJSON{
		ID: r.ID(), Start: hexKey(r.Meta.StartKey), End: hexKey(r.Meta.EndKey),
		Peers: peerViews(r.Meta.Peers), Pending: peerViews(r.Pending),
		WrittenBytes: r.Load.BytesWritten, ReadBytes: r.Load.BytesRead,
		WrittenKeys: r.Load.KeysWritten, ReadKeys: r.Load.KeysRead,
		Size: mebibytes(r.Load.Size), Keys: r.Load.Keys,
	}
	view.Epoch.ConfVer, view.Epoch.Version = r.Meta.RegionEpoch.GetConfVer(), r.Meta.RegionEpoch.GetVersion()
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

func hexKey(key []byte) string { return strings.ToUpper(hex.EncodeToString(key)) }

func writeRegions(w http.ResponseWriter, regions []*cluster.Region) {
	res := regionsJSON{Count: len(regions), Regions: make([]regionJSON, 0, len(regions))}
	for _, r := range regions {
		res.Regions = append(res.Regions, regionView(r))
	}
	writeCompactJSON(w, res)
}

func (t *term) scan(start, end []byte, limit int) []*cluster.Region {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return t.machine.Picture.Scan(start, end, limit)
}

func httpRegions(t *term, w http.ResponseWriter, _ *http.Request) {
	writeRegions(w, t.scan(nil, nil, 0))
}

// httpRegionsFrom lists regions from ?key= to ?end_key=, at most ?limit= of them.
func httpRegionsFrom(t *term, w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := defaultRegionLimit
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, fmt.Sprintf("limit %q must be a number", s))
			return
		}
		limit = n
	}
	if limit <= 0 || limit > maxRegionLimit {
		limit = maxRegionLimit
	}
	writeRegions(w, t.scan([]byte(query.Get("key")), []byte(query.Get("end_key")), limit))
}

func httpRegionsOnStore(t *term, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	var on []*cluster.Region
	for _, region := range t.scan(nil, nil, 0) {
		if region.OnStore(id) != nil {
			on = append(on, region)
		}
	}
	writeRegions(w, on)
}

func httpRegion(t *term, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	t.desk.mu.RLock()
	region := t.machine.Picture.Region(id)
	t.desk.mu.RUnlock()
	writeRegion(w, region, fmt.Sprintf("region %d", id))
}

// httpRegionOf finds the region of a key that tools escape as in a query, so that a space may come as a plus sign.
func httpRegionOf(t *term, w http.ResponseWriter, r *http.Request) {
	escaped := strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix+"/region/key/")
	key, err := url.QueryUnescape(escaped)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.URL.Query().Get("format") == "hex" {
		raw, err := hex.DecodeString(key)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, err.Error())
			return
		}
		key = string(raw)
	}
	t.desk.mu.RLock()
	region := t.machine.Picture.RegionOf([]byte(key))
	t.desk.mu.RUnlock()
	writeRegion(w, region, "the region of key "+hexKey([]byte(key)))
}

func writeRegion(w http.ResponseWriter, r *cluster.Region, what string) {
	if r == nil {
		writeJSON(w, http.StatusNotFound, "[PD:region:ErrRegionNotFound]"+what+" not found")
		return
	}
	writeCompactJSON(w, regionView(r))
}
