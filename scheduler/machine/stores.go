package machine

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
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
		next.Labels = mergeLabels(old.Meta.Labels, store.Labels)
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

// changeStore saves a store's meta as change leaves it.
func (t *Term) changeStore(old *metapb.Store, change func(*metapb.Store)) *Save {
	next := *old
	change(&next)
	return &Save{
		Ops:  []Op{{storeKey(next.Id), mustMarshal(&next)}},
		take: func(now time.Time) { t.Picture.PutStore(&next, now) },
	}
}

func (t *Term) liveStore(id uint64) (*metapb.Store, error) {
	if !t.Bootstrapped() {
		return nil, ErrNotBootstrapped
	}
	s := t.Picture.Store(id)
	if s == nil {
		return nil, errors.Errorf("store %d not found", id)
	}
	if s.Meta.State == metapb.StoreState_Tombstone {
		return nil, &cluster.TombstoneError{Store: s.Meta}
	}
	return s.Meta, nil
}

// DeleteStore begins to drain a store: its regions move away, and when it holds none it is a tombstone. destroyed says that its machine is gone for good. Nil if it is
// being drained already.
func (t *Term) DeleteStore(id uint64, destroyed bool) (*Save, error) {
	meta, err := t.liveStore(id)
	if err != nil {
		return nil, err
	}
	if meta.State == metapb.StoreState_Offline && (meta.PhysicallyDestroyed || !destroyed) {
		return nil, nil
	}
	return t.changeStore(meta, func(s *metapb.Store) {
		s.State, s.NodeState, s.PhysicallyDestroyed = metapb.StoreState_Offline, metapb.NodeState_Removing, s.PhysicallyDestroyed || destroyed
	}), nil
}

// ReviveStore takes a store back that is being drained; nil if it is not.
func (t *Term) ReviveStore(id uint64) (*Save, error) {
	meta, err := t.liveStore(id)
	switch {
	case err != nil:
		return nil, err
	case meta.PhysicallyDestroyed:
		return nil, errors.Errorf("store %d was destroyed and cannot come back", id)
	case meta.State == metapb.StoreState_Up:
		return nil, nil
	}
	return t.changeStore(meta, func(s *metapb.Store) { s.State, s.NodeState = metapb.StoreState_Up, metapb.NodeState_Serving }), nil
}

// LabelStore changes labels of a store; one with an empty value goes. With force, the given ones are all that it has.
func (t *Term) LabelStore(id uint64, labels map[string]string, force bool) (*Save, error) {
	meta, err := t.liveStore(id)
	if err != nil {
		return nil, err
	}
	return t.changeStore(meta, func(s *metapb.Store) { s.Labels = relabel(meta.Labels, labels, force) }), nil
}

// Upkeep buries the next store that has been drained: no region has a peer on it, and it says so itself, unless it is gone. Nil if there is none. It is to be asked now
// and then, and looks how far the others are (progress.go).
func (t *Term) Upkeep(at Moment) (*Save, error) {
	t.drains.look(t.Picture, at.Now)
	if !t.Schedule.Prepared(at.Now) {
		return nil, nil
	}
	for _, s := range t.Picture.Stores() {
		silent := s.Heard.IsZero() || at.Now.Sub(s.Heard) > cluster.DisconnectedAfter
		if s.Meta.State == metapb.StoreState_Offline && t.Picture.Tally(s.ID()).Regions == 0 && (s.Stats.RegionCount == 0 || silent) {
			return t.changeStore(s.Meta, func(m *metapb.Store) { m.State, m.NodeState = metapb.StoreState_Tombstone, metapb.NodeState_Removed }), nil
		}
	}
	return nil, nil
}

// ForgetTombstones removes the records of all buried stores; nil if there are none.
func (t *Term) ForgetTombstones() *Save {
	var gone []uint64
	var ops []Op
	for _, s := range t.Picture.Stores() {
		if s.Meta.State == metapb.StoreState_Tombstone && t.Picture.Tally(s.ID()).Regions == 0 {
			gone = append(gone, s.ID())
			ops = append(ops, Op{Key: storeKey(s.ID())}, Op{Key: storeTuningKey(s.ID())})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return &Save{Ops: ops, take: func(time.Time) {
		for _, id := range gone {
			t.Picture.DropStore(id)
			delete(t.settings.tunings, id)
		}
	}}
}

// mergeLabels are the labels that a store names, and those that operators gave it under other names.
func mergeLabels(old, own []*metapb.StoreLabel) []*metapb.StoreLabel {
	all := slices.Clone(own)
	for _, l := range old {
		if !slices.ContainsFunc(own, func(o *metapb.StoreLabel) bool { return o.Key == l.Key }) {
			all = append(all, l)
		}
	}
	return all
}

func relabel(old []*metapb.StoreLabel, labels map[string]string, force bool) []*metapb.StoreLabel {
	all := make(map[string]string)
	if !force {
		for _, l := range old {
			all[l.Key] = l.Value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all[key] = labels[key]
	}
	var list []*metapb.StoreLabel
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] != "" {
			list = append(list, &metapb.StoreLabel{Key: key, Value: all[key]})
		}
	}
	return list
}
