package snapfile

import (
	"bytes"
	"slices"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// StageIn makes the Manager put what it receives into the engine at once, where it waits for its installation, in place of a file.
// To be called before the first Receive.
func (m *Manager) StageIn(e engine.Stager) { m.stager = e }

// staged is a received snapshot that is in the engine already, and takes effect when it is installed.
type staged struct {
	meta Meta
	data engine.Staged
}

// keep holds on to what was received until it is installed or deleted.
func (m *Manager) keep(meta Meta, data engine.Staged) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	m.staged[meta.Key] = staged{meta, data}
	return nil
}

func (m *Manager) takeStaged(key Key) (staged, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.staged[key]
	delete(m.staged, key)
	return s, ok
}

// Install puts a received snapshot in place of what the engine has of the region, and commits also behind it, as engine.Ingestion.Also says.
// ErrNotFound when it is not here, *CorruptError when it is not that region's or a file is damaged: then nothing has changed.
func (m *Manager) Install(key Key, region *metapb.Region, e engine.Engine, also engine.Batch) (err error) {
	if s, ok := m.takeStaged(key); ok {
		if err := fits(fileName(key), s.meta.Region, region); err != nil {
			s.data.Discard()
			return err
		}
		return s.data.Commit(also)
	}
	file, err := m.OpenToInstall(key)
	if err != nil {
		return err
	}
	defer func() {
		if failed := file.Close(); err == nil {
			err = failed
		}
	}()
	if err := fits(file.name, file.region, region); err != nil {
		return err
	}
	return e.Ingest(engine.Ingestion{Replace: replaced(region), Open: file.Source, Also: also})
}

// fits compares the region that a file holds with the one that is to be installed.
func fits(name string, have, want *metapb.Region) error {
	if bytes.Equal(have.StartKey, want.StartKey) && bytes.Equal(have.EndKey, want.EndKey) {
		return nil
	}
	return &CorruptError{Name: name, Reason: "the region in it has another range than the one that it came for"}
}

// replaced are the ranges whose content a region's snapshot takes the place of.
func replaced(region *metapb.Region) map[engine.CF]engine.Range {
	ranges := make(map[engine.CF]engine.Range, len(engine.DataCFs))
	for _, cf := range engine.DataCFs {
		ranges[cf] = engine.Range{Start: slices.Clone(region.StartKey), End: slices.Clone(region.EndKey)}
	}
	return ranges
}

var errClosed = errors.New("the snapshots are closed")
