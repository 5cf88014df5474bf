package cluster

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
)

// CheckBootstrap says why a cluster cannot begin with this store and region: the first region must cover the whole key
// space with a single peer on the first store.
func CheckBootstrap(store *metapb.Store, region *metapb.Region) error {
	switch {
	case store == nil:
		return errors.New("missing store meta for bootstrap")
	case store.Id == 0:
		return errors.New("invalid zero store id")
	case store.Address == "":
		return errors.New("the first store has no address")
	case region == nil:
		return errors.New("missing region meta for bootstrap")
	case len(region.StartKey) > 0 || len(region.EndKey) > 0:
		return errors.New("invalid first region key range, must all be empty for bootstrap")
	case region.Id == 0:
		return errors.New("invalid zero region id")
	case len(region.Peers) != 1:
		return errors.Errorf("invalid first region peer count %d, must be 1 for bootstrap", len(region.Peers))
	case region.Peers[0].StoreId != store.Id:
		return errors.Errorf("invalid peer store id %d != %d for bootstrap", region.Peers[0].StoreId, store.Id)
	case region.Peers[0].Id == 0:
		return errors.New("invalid zero peer id")
	}
	_, err := parseVersion(store.Version)
	return err
}

// CheckSplit says why ids for a split of a region, as its leader describes it, cannot be given.
func (p *Picture) CheckSplit(region *metapb.Region) error {
	known := p.Region(region.GetId())
	if known == nil {
		return errors.Errorf("region %d not found", region.GetId())
	}
	asked, have := region.GetRegionEpoch(), known.Meta.GetRegionEpoch()
	if asked.GetVersion() < have.GetVersion() || asked.GetConfVer() < have.GetConfVer() {
		return errors.Errorf("invalid region epoch, request: %v, current: %v", asked, have)
	}
	return nil
}
