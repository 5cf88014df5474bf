package server

import (
	"bytes"
	"net/http"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// httpHoles lists the ranges of keys that no region is known to hold.
func httpHoles(t *term, _ *http.Request) (any, error) {
	holes := [][]string{}
	var at []byte
	ended := false
	t.each(nil, nil, func(r *cluster.Region) {
		if bytes.Compare(at, r.Meta.StartKey) < 0 {
			holes = append(holes, []string{hexKey(at), hexKey(r.Meta.StartKey)})
		}
		at, ended = r.Meta.EndKey, len(r.Meta.EndKey) == 0
	})
	if !ended {
		holes = append(holes, []string{hexKey(at), ""})
	}
	return holes, nil
}

// How far the regions of a range are from what the rules ask for.
const (
	replicated  = "REPLICATED"
	inProgress  = "INPROGRESS"
	catchingUp  = "PENDING"
	startOfKeys = "startKey"
	endOfKeys   = "endKey"
)

// httpReplicated says whether all regions from ?startKey= to ?endKey= are as the rules ask for.
func httpReplicated(t *term, r *http.Request) (any, error) {
	start, err := fromHex(startOfKeys, r.URL.Query().Get(startOfKeys))
	if err != nil {
		return nil, err
	}
	end, err := fromHex(endOfKeys, r.URL.Query().Get(endOfKeys))
	if err != nil {
		return nil, err
	}
	rules := t.outlook().rules
	stores := make(map[uint64]*cluster.Store)
	for _, s := range t.stores() {
		stores[s.ID()] = s
	}
	state := replicated
	t.each(start, end, func(r *cluster.Region) {
		fit := placement.FitRegion(func(id uint64) *cluster.Store { return stores[id] }, r, rules.For(r.Meta.StartKey), func(*metapb.Peer) bool { return true })
		switch {
		case len(r.Pending) > 0:
			state = catchingUp
		case !fit.Satisfied() && state == replicated:
			state = inProgress
		}
	})
	return state, nil
}

type statsJSON struct {
	Count       int     `json:"count"`
	EmptyCount  int     `json:"empty_count"`
	StorageSize uint64  `json:"storage_size"` // MiB, as all below
	StorageKeys uint64  `json:"storage_keys"`
	LeaderCount byStore `json:"store_leader_count"`
	PeerCount   byStore `json:"store_peer_count"`
	LeaderSize  byStore `json:"store_leader_size"`
	LeaderKeys  byStore `json:"store_leader_keys"`
	PeerSize    byStore `json:"store_peer_size"`
	PeerKeys    byStore `json:"store_peer_keys"`
}

type byStore map[uint64]uint64

// httpRegionStats adds up the regions from ?start_key= to ?end_key=.
func httpRegionStats(t *term, r *http.Request) (any, error) {
	query := r.URL.Query()
	res := statsJSON{
		LeaderCount: byStore{}, PeerCount: byStore{}, LeaderSize: byStore{}, LeaderKeys: byStore{}, PeerSize: byStore{}, PeerKeys: byStore{},
	}
	t.each([]byte(query.Get("start_key")), []byte(query.Get("end_key")), func(r *cluster.Region) {
		size := mebibytes(r.Load.Size)
		res.Count++
		if r.Load.Size <= emptySize {
			res.EmptyCount++
		}
		res.StorageSize += size
		res.StorageKeys += r.Load.Keys
		if id := r.LeaderStore(); id != 0 {
			res.LeaderCount[id]++
			res.LeaderSize[id] += size
			res.LeaderKeys[id] += r.Load.Keys
		}
		for _, p := range r.Meta.Peers {
			res.PeerCount[p.StoreId]++
			res.PeerSize[p.StoreId] += size
			res.PeerKeys[p.StoreId] += r.Load.Keys
		}
	})
	return res, nil
}
