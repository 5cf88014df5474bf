package snapfile

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Pace is asked after every so many bytes whether work may go on; it may wait. Its error ends the work.
type Pace func(bytes int) error

// held is a region's data in the engine, kept as it is until everybody has been sent it. Its fields behind users are the
// Manager's to guard.
type held struct {
	key     Key
	region  *metapb.Region
	encoded []byte // the region
	snap    engine.Snapshot
	pace    Pace
	// users counts the Manager, while it holds it, and the streams that are open.
	users int
}

// Hold keeps the data of a region, as snap shows it, to be sent under that key, to several receivers if need be; each sending goes at
// that pace, nil for none. It takes the place of what was held under that key. snap belongs to the Manager from now on, also when Hold fails.
//
// What the engine has dropped meanwhile stays on its disk as long as it is held: so Delete, or Sweep, must follow.
func (m *Manager) Hold(key Key, region *metapb.Region, snap engine.Snapshot, pace Pace) error {
	var encoded []byte
	var err error
	if region.GetId() != key.RegionID {
		err = errors.Errorf("snapshot %+v cannot hold region %d", key, region.GetId())
	} else if encoded, err = region.Marshal(); err == nil && len(encoded) > maxBlock {
		err = errors.Errorf("region %d takes %d bytes, the limit is %d", key.RegionID, len(encoded), maxBlock)
	}
	if err != nil {
		_ = snap.Close() // nothing was read from it
		return errors.Trace(err)
	}
	if pace == nil {
		pace = func(int) error { return nil }
	}
	h := &held{key: key, region: region, encoded: encoded, snap: snap, pace: pace, users: 1}
	m.mu.Lock()
	before := m.held[key]
	if m.closed {
		before = h
	} else {
		m.held[key] = h
	}
	m.mu.Unlock()
	return m.giveBack(before)
}

// letGo ends the Manager's own hold; streams that are open go on.
func (m *Manager) letGo(key Key) error {
	m.mu.Lock()
	h := m.held[key]
	delete(m.held, key)
	m.mu.Unlock()
	return m.giveBack(h)
}

// giveBack counts one user less, and closes the engine's snapshot behind the last.
func (m *Manager) giveBack(h *held) error {
	if h == nil {
		return nil
	}
	m.mu.Lock()
	h.users--
	last := h.users == 0
	m.mu.Unlock()
	if !last {
		return nil
	}
	return errors.Annotatef(h.snap.Close(), "let go of snapshot %+v", h.key)
}
