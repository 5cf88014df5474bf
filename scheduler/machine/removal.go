package machine

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// TooFewStoresError says that a store cannot be drained, because the rest could not hold all replicas.
type TooFewStoresError struct {
	Store      uint64
	Left, Need int
}

// Error says how many stores would be left.
func (e *TooFewStoresError) Error() string {
	return fmt.Sprintf("can not remove store %d since the number of up stores would be %d while need %d", e.Store, e.Left, e.Need)
}

// MayDelete says why a store should not be drained, as a *TooFewStoresError: as many stores as a region has replicas must stay. A store that is being
// drained already may be.
func (t *Term) MayDelete(id uint64) error {
	left := 0
	for _, s := range t.Picture.Stores() {
		if s.Meta.State != metapb.StoreState_Up {
			if s.ID() == id {
				return nil
			}
			continue
		}
		if s.ID() != id {
			left++
		}
	}
	if need := t.Schedule.Config().MaxReplicas; left < need {
		return &TooFewStoresError{Store: id, Left: left, Need: need}
	}
	return nil
}
