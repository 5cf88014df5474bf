package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
)

// SplitIDs are the ids of one region that a split makes, and of its peers.
type SplitIDs struct {
	Region uint64
	Peers  []uint64
}

// Split gives a leader the ids for splitting its region, as it describes it, into parts more. Parts is at least 1.
func (t *Term) Split(region *metapb.Region, parts int, at Moment) ([]SplitIDs, *Save, error) {
	if !t.Bootstrapped() {
		return nil, nil, ErrNotBootstrapped
	}
	if err := t.Picture.CheckSplit(region); err != nil {
		return nil, nil, err
	}
	each := uint64(1 + len(region.Peers))
	first, save, err := t.AllocIDs(uint64(parts)*each, at)
	if save != nil || err != nil {
		return nil, save, err
	}
	list := make([]SplitIDs, parts)
	for i := range list {
		list[i].Region = first + uint64(i)*each
		for j := range region.Peers {
			list[i].Peers = append(list[i].Peers, list[i].Region+1+uint64(j))
		}
	}
	return list, nil, nil
}

// CheckParts says why a report of a split makes no sense: its parts must be neighbours in key order. The parts' own
// heartbeats bring them into the picture, with their leaders.
func CheckParts(parts []*metapb.Region) error {
	if len(parts) < 2 {
		return errors.New("invalid split region: fewer than two parts")
	}
	for i := 1; i < len(parts); i++ {
		left, right := parts[i-1], parts[i]
		if len(left.GetEndKey()) == 0 || string(left.GetEndKey()) != string(right.GetStartKey()) {
			return errors.Errorf("invalid split region: region %d does not end where region %d begins",
				left.GetId(), right.GetId())
		}
	}
	return nil
}
