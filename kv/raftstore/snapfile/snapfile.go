package snapfile

import (
	stderrors "errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Key names a snapshot: the data of a region as of an applied index.
type Key struct{ RegionID, Term, Index uint64 }

// Meta describes a complete snapshot file.
type Meta struct {
	Key Key
	// Region is the region as of the snapshot.
	Region *metapb.Region
	// Size is the file's length in bytes, Checksum the CRC-32C of all of it but the footer.
	Size     uint64
	Checksum uint32
	// CFs tell, for each of engine.DataCFs in order, what the snapshot holds of it.
	CFs []CFMeta
}

// CFMeta is what a snapshot holds of one column family.
type CFMeta struct {
	CF engine.CF
	// Pairs is the number of keys, Bytes the sum of the lengths of keys and values.
	Pairs, Bytes uint64
}

// Item is one complete snapshot file of a Manager.
type Item struct {
	Key Key
	// Received tells a file that came from another store ("rev") from one that was built here ("gen").
	Received bool
	Size     int64
}

// Manager owns the snapshot files of one directory. Safe for concurrent use.
type Manager struct {
	fs FS

	mu   sync.Mutex
	busy map[string]bool    // names of the files that are being written
	seen map[Item]time.Time // when Sweep met a file first
}

// New returns the manager of the files in dir, after it has removed those of an earlier run: a crash may have left names without their content.
func New(dir FS) (*Manager, error) {
	names, err := dir.List()
	if err != nil {
		return nil, errors.Annotate(err, "list the snapshot files")
	}
	for _, name := range names {
		if strings.HasPrefix(name, namePrefix) && (strings.HasSuffix(name, nameSuffix) || strings.HasSuffix(name, nameSuffix+tmpSuffix)) {
			if err := dir.Remove(name); err != nil {
				return nil, errors.Annotate(err, "remove an old snapshot file")
			}
		}
	}
	return &Manager{fs: dir, busy: make(map[string]bool)}, nil
}

// OpenToSend opens a built file. The caller closes it; it may be deleted meanwhile. ErrNotFound when there is none.
func (m *Manager) OpenToSend(key Key) (file io.ReadCloser, size int64, err error) {
	f, err := m.open(fileName(key, false))
	if err != nil {
		return nil, 0, err
	}
	return &sequential{SectionReader: io.NewSectionReader(f, 0, f.Size()), file: f}, f.Size(), nil
}

// sequential reads a file from its begin to its end.
type sequential struct {
	*io.SectionReader
	file ReadFile
}

func (s *sequential) Close() error { return s.file.Close() }

// Delete removes a file, received or built; that it does not exist is no error. The removal is not durable at once: after
// a crash the file may be there again.
func (m *Manager) Delete(key Key, received bool) error {
	name := fileName(key, received)
	if err := m.fs.Remove(name); err != nil && !stderrors.Is(err, fs.ErrNotExist) {
		return errors.Annotatef(err, "delete snapshot file %s", name)
	}
	return nil
}

// DeleteAll removes every complete file.
func (m *Manager) DeleteAll() error {
	items, err := m.List()
	if err != nil {
		return err
	}
	for _, i := range items {
		if err := m.Delete(i.Key, i.Received); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the complete files that it met more than age before now. Whoever comes for one of them gets ErrNotFound.
func (m *Manager) Sweep(now time.Time, age time.Duration) error {
	items, err := m.List()
	if err != nil {
		return err
	}
	m.mu.Lock()
	before := m.seen
	m.seen = make(map[Item]time.Time, len(items))
	var old []Item
	for _, i := range items {
		at, known := before[i]
		if !known {
			at = now
		}
		if now.Sub(at) > age {
			old = append(old, i)
		} else {
			m.seen[i] = at
		}
	}
	m.mu.Unlock()
	for _, i := range old {
		if err := m.Delete(i.Key, i.Received); err != nil {
			return err
		}
	}
	return nil
}

// List returns the complete files, sorted by region, index, term and origin (built before received).
func (m *Manager) List() ([]Item, error) {
	names, err := m.fs.List()
	if err != nil {
		return nil, errors.Annotate(err, "list the snapshot files")
	}
	var items []Item
	for _, name := range names {
		key, received, ok := parseName(name)
		if !ok {
			continue
		}
		file, err := m.open(name)
		if stderrors.Is(err, ErrNotFound) {
			continue // deleted since
		}
		if err != nil {
			return nil, err
		}
		items = append(items, Item{Key: key, Received: received, Size: file.Size()})
		if err := file.Close(); err != nil {
			return nil, errors.Trace(err)
		}
	}
	slices.SortFunc(items, compareItems)
	return items, nil
}

func (m *Manager) open(name string) (ReadFile, error) {
	file, err := m.fs.Open(name)
	if stderrors.Is(err, fs.ErrNotExist) {
		return nil, errors.Annotate(ErrNotFound, name)
	}
	return file, errors.Annotatef(err, "open snapshot file %s", name)
}

func (m *Manager) exists(name string) (bool, error) {
	file, err := m.open(name)
	if stderrors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Trace(file.Close())
}
