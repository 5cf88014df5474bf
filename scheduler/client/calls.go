package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
)

// AllocID returns an id that is unique in the cluster.
func (c *Client) AllocID(ctx context.Context) (uint64, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.AllocIDResponse, error) {
		return pd.AllocID(ctx, &pdpb.AllocIDRequest{Header: c.header()})
	})
	if err != nil {
		return 0, err
	}
	return res.GetId(), check(res.GetHeader())
}

// IsBootstrapped reports whether the cluster has its first store and region.
func (c *Client) IsBootstrapped(ctx context.Context) (bool, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.IsBootstrappedResponse, error) {
		return pd.IsBootstrapped(ctx, &pdpb.IsBootstrappedRequest{Header: c.header()})
	})
	if err != nil {
		return false, err
	}
	return res.GetBootstrapped(), check(res.GetHeader())
}

// Bootstrap makes store and region the cluster's first. ErrAlreadyBootstrapped: somebody did so before, perhaps an earlier
// attempt of this very call; GetRegionByID tells.
func (c *Client) Bootstrap(ctx context.Context, store *metapb.Store, region *metapb.Region) error {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.BootstrapResponse, error) {
		return pd.Bootstrap(ctx, &pdpb.BootstrapRequest{Header: c.header(), Store: store, Region: region})
	})
	if err != nil {
		return err
	}
	return check(res.GetHeader())
}

// PutStore registers a store or its new address, version or labels.
func (c *Client) PutStore(ctx context.Context, store *metapb.Store) error {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.PutStoreResponse, error) {
		return pd.PutStore(ctx, &pdpb.PutStoreRequest{Header: c.header(), Store: store})
	})
	if err != nil {
		return err
	}
	return check(res.GetHeader())
}

// GetStore returns a store's meta; ErrStoreNotFound or ErrStoreTombstone if it is unknown or was removed.
func (c *Client) GetStore(ctx context.Context, id uint64) (*metapb.Store, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.GetStoreResponse, error) {
		return pd.GetStore(ctx, &pdpb.GetStoreRequest{Header: c.header(), StoreId: id})
	})
	if err != nil {
		return nil, err
	}
	if h := res.GetHeader(); h.GetError().GetType() == pdpb.ErrorType_UNKNOWN &&
		strings.Contains(h.GetError().GetMessage(), "not found") {
		return nil, fmt.Errorf("%w: %d", ErrStoreNotFound, id)
	}
	if err := check(res.GetHeader()); err != nil {
		return nil, err
	}
	store := res.GetStore()
	switch {
	case store == nil:
		return nil, fmt.Errorf("%w: %d", ErrStoreNotFound, id)
	case store.GetState() == metapb.StoreState_Tombstone:
		return nil, fmt.Errorf("%w: %d", ErrStoreTombstone, id)
	}
	return store, nil
}

// GetAllStores lists the stores, without those that were removed.
func (c *Client) GetAllStores(ctx context.Context) ([]*metapb.Store, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.GetAllStoresResponse, error) {
		return pd.GetAllStores(ctx, &pdpb.GetAllStoresRequest{Header: c.header(), ExcludeTombstoneStores: true})
	})
	if err != nil {
		return nil, err
	}
	return res.GetStores(), check(res.GetHeader())
}

// StoreHeartbeat reports the store's state. ErrStoreTombstone: the store was removed and should stop.
func (c *Client) StoreHeartbeat(ctx context.Context, stats *pdpb.StoreStats) error {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.StoreHeartbeatResponse, error) {
		return pd.StoreHeartbeat(ctx, &pdpb.StoreHeartbeatRequest{Header: c.header(), Stats: stats})
	})
	if err != nil {
		return err
	}
	return check(res.GetHeader())
}

// Region is one region as the scheduler knows it. Leader is nil if no leader has reported it yet.
type Region struct {
	Meta    *metapb.Region
	Leader  *metapb.Peer
	Pending []*metapb.Peer
	Down    []*metapb.Peer
}

// GetRegionByID returns a region and its leader; nil, nil, nil if the scheduler does not know it.
func (c *Client) GetRegionByID(ctx context.Context, id uint64) (*metapb.Region, *metapb.Peer, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.GetRegionResponse, error) {
		return pd.GetRegionByID(ctx, &pdpb.GetRegionByIDRequest{Header: c.header(), RegionId: id})
	})
	if err != nil {
		return nil, nil, err
	}
	return res.GetRegion(), res.GetLeader(), check(res.GetHeader())
}

// ScanRegions lists at most limit regions (all, if it is 0) that overlap [start, end), in key order; an empty end is the
// end of the key space.
func (c *Client) ScanRegions(ctx context.Context, start, end []byte, limit int) ([]Region, error) {
	res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.ScanRegionsResponse, error) {
		return pd.ScanRegions(ctx, &pdpb.ScanRegionsRequest{ //nolint:staticcheck // BatchScanRegions does no more for one range
			Header: c.header(), StartKey: start, EndKey: end, Limit: int32(limit),
		})
	})
	if err != nil {
		return nil, err
	}
	if err := check(res.GetHeader()); err != nil {
		return nil, err
	}
	regions := make([]Region, 0, len(res.GetRegions()))
	for _, r := range res.GetRegions() {
		region := Region{Meta: r.GetRegion(), Pending: r.GetPendingPeers()}
		if r.GetLeader().GetId() != 0 {
			region.Leader = r.GetLeader()
		}
		for _, d := range r.GetDownPeers() {
			region.Down = append(region.Down, d.GetPeer())
		}
		regions = append(regions, region)
	}
	return regions, nil
}
