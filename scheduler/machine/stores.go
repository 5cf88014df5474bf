package machine

import (
	"bytes"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// PutStore registers a store, or takes in its new address, version or labels when it comes back; nil when nothing is new. An
// error says why it may not register, a *cluster.TombstoneError among them.
func (t *Term) PutStore(store *metapb.Store) (*Save, error) {
	if !t.Bootstrapped() {
		return nil, ErrNotBootstrapped
	}
	if err := t.Picture.CheckStore(store); err != nil {
		return nil, err
	}
	old := t.Picture.Store(store.Id)
	if old != nil { // what operators decide is not the store's to change
		next := *store
		next.State, next.NodeState, next.PhysicallyDestroyed = old.Meta.State, old.Meta.NodeState, old.Meta.PhysicallyDestroyed
		store = &next
	}
	value := mustMarshal(store)
	if old != nil && bytes.Equal(mustMarshal(old.Meta), value) {
		return nil, nil
	}
	return &Save{
		Ops:  []Op{{storeKey(store.Id), value}},
		take: func(now time.Time) { t.Picture.PutStore(store, now) },
	}, nil
}
