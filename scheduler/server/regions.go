package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// maxScan bounds a scan whose caller names no limit.
const maxScan = 1 << 20

// GetRegion finds the region that holds a key; without one the answer is empty and the client asks again.
func (s *service) GetRegion(_ context.Context, req *pdpb.GetRegionRequest) (*pdpb.GetRegionResponse, error) {
	return s.lookup(req.GetHeader(), func(p *cluster.Picture) *cluster.Region { return p.RegionOf(req.GetRegionKey()) })
}

// GetPrevRegion finds the region before the one that holds a key.
func (s *service) GetPrevRegion(_ context.Context, req *pdpb.GetRegionRequest) (*pdpb.GetRegionResponse, error) {
	return s.lookup(req.GetHeader(), func(p *cluster.Picture) *cluster.Region { return p.RegionBefore(req.GetRegionKey()) })
}

// GetRegionByID finds a region by its id.
func (s *service) GetRegionByID(_ context.Context, req *pdpb.GetRegionByIDRequest) (*pdpb.GetRegionResponse, error) {
	return s.lookup(req.GetHeader(), func(p *cluster.Picture) *cluster.Region { return p.Region(req.GetRegionId()) })
}

func (s *service) lookup(h *pdpb.RequestHeader, find func(*cluster.Picture) *cluster.Region) (*pdpb.GetRegionResponse, error) {
	t, err := s.leads(h)
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetRegionResponse{Header: h}, nil
	}
	t.desk.mu.RLock()
	r := find(t.machine.Picture)
	t.desk.mu.RUnlock()
	if r == nil {
		return &pdpb.GetRegionResponse{Header: t.header()}, nil
	}
	return &pdpb.GetRegionResponse{
		Header: t.header(), Region: r.Meta, Leader: r.Leader, DownPeers: wire.DownPeers(r), PendingPeers: r.Pending,
	}, nil
}

// QueryRegion serves a stream of lookups, each a batch of ids and keys. The maps name the region of each key in the order
// of the request, 0 for none; an id that is not known has an empty region.
func (s *service) QueryRegion(stream pdpb.PD_QueryRegionServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := s.leads(req.GetHeader())
		if err != nil {
			return err
		}
		began := time.Now()
		res := t.query(req)
		t.metrics.querySeconds.WithLabelValues("handle").Observe(time.Since(began).Seconds())
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}

func (t *term) query(req *pdpb.QueryRegionRequest) *pdpb.QueryRegionResponse {
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.QueryRegionResponse{Header: h}
	}
	res := &pdpb.QueryRegionResponse{
		Header:      t.header(),
		RegionsById: make(map[uint64]*pdpb.RegionResponse, len(req.Ids)+len(req.Keys)+len(req.PrevKeys)),
	}
	add := func(r *cluster.Region) uint64 {
		if r == nil {
			return 0
		}
		if res.RegionsById[r.ID()] == nil {
			res.RegionsById[r.ID()] = &pdpb.RegionResponse{
				Region: r.Meta, Leader: r.Leader, DownPeers: wire.DownPeers(r), PendingPeers: r.Pending,
			}
		}
		return r.ID()
	}
	began := time.Now()
	defer func() { t.metrics.looked(req, time.Since(began)) }()
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	for _, key := range req.Keys {
		res.KeyIdMap = append(res.KeyIdMap, add(t.machine.Picture.RegionOf(key)))
	}
	for _, key := range req.PrevKeys {
		res.PrevKeyIdMap = append(res.PrevKeyIdMap, add(t.machine.Picture.RegionBefore(key)))
	}
	for _, id := range req.Ids {
		if add(t.machine.Picture.Region(id)) == 0 {
			res.RegionsById[id] = &pdpb.RegionResponse{}
		}
	}
	return res
}

// ScanRegions lists the regions of a range in key order, in both the old and the new form of the answer.
func (s *service) ScanRegions(_ context.Context, req *pdpb.ScanRegionsRequest) (*pdpb.ScanRegionsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ScanRegionsResponse{Header: h}, nil
	}
	t.desk.mu.RLock()
	found := t.machine.Picture.Scan(req.GetStartKey(), req.GetEndKey(), scanLimit(req.GetLimit()))
	t.desk.mu.RUnlock()
	res := &pdpb.ScanRegionsResponse{Header: t.header()}
	for _, r := range found {
		pb := regionPB(r)
		res.Regions = append(res.Regions, pb)
		res.RegionMetas = append(res.RegionMetas, r.Meta)
		res.Leaders = append(res.Leaders, pb.Leader)
	}
	return res, nil
}

// BatchScanRegions lists the regions of several ranges, each region once.
func (s *service) BatchScanRegions(_ context.Context, req *pdpb.BatchScanRegionsRequest) (*pdpb.BatchScanRegionsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.BatchScanRegionsResponse{Header: h}, nil
	}
	ranges := make([]cluster.Range, 0, len(req.GetRanges()))
	for _, rg := range req.GetRanges() {
		ranges = append(ranges, cluster.Range{Start: rg.StartKey, End: rg.EndKey})
	}
	t.desk.mu.RLock()
	found, whole := t.machine.Picture.ScanRanges(ranges, scanLimit(req.GetLimit()))
	t.desk.mu.RUnlock()
	if req.GetContainAllKeyRange() && !whole {
		return &pdpb.BatchScanRegionsResponse{Header: t.failed(pdpb.ErrorType_REGIONS_NOT_CONTAIN_ALL_KEY_RANGE,
			"found a hole region in the given key ranges")}, nil
	}
	res := &pdpb.BatchScanRegionsResponse{Header: t.header()}
	for _, r := range found {
		res.Regions = append(res.Regions, regionPB(r))
	}
	return res, nil
}

func scanLimit(limit int32) int {
	if limit <= 0 {
		return maxScan
	}
	return int(limit)
}

// regionPB has an empty leader where none is known, as scanning clients expect.
func regionPB(r *cluster.Region) *pdpb.Region {
	leader := r.Leader
	if leader == nil {
		leader = &metapb.Peer{}
	}
	return &pdpb.Region{Region: r.Meta, Leader: leader, DownPeers: wire.DownPeers(r), PendingPeers: r.Pending}
}
