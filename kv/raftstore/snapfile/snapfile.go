package snapfile

import (
	stderrors "errors"
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
	// Size is the file's length in bytes.
	Size uint64
	// CFs tell, for each of engine.DataCFs in order, what the snapshot holds of it.
	CFs []CFMeta
}

// CFMeta is what a snapshot holds of one column family.
type CFMeta struct {
	CF engine.CF
	// Pairs is the number of keys, Bytes the sum of the lengths of keys and values.
	Pairs, Bytes uint64
}

// Item is one snapshot of a Manager.
type Item struct {
	Key Key
	// Received tells what came from another store from what is held to be sent.
	Received bool
	// Size is the file's length; 0 of what is held.
	Size int64
}

// Manager owns the snapshots that a store sends and receives, and the files of one directory. Safe for concurrent use.
type Manager struct {
	fs     FS
	stager engine.Stager // nil: what is received goes to files

	mu     sync.Mutex
	closed bool
	held   map[Key]*held      // to be sent
	staged map[Key]staged     // received, and complete
	busy   map[string]bool    // names of what is being received
	seen   map[Item]time.Time // when Sweep met it first
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
	return &Manager{fs: dir, held: make(map[Key]*held), staged: make(map[Key]staged), busy: make(map[string]bool)}, nil
}

// Delete removes what was received under that key, or lets go of what is held under it; that there is nothing is no error. A file's
// removal is not durable at once: after a crash it may be there again.
func (m *Manager) Delete(key Key, received bool) error {
	if !received {
		return m.letGo(key)
	}
	if s, ok := m.takeStaged(key); ok {
		s.data.Discard()
	}
	name := fileName(key)
	if err := m.fs.Remove(name); err != nil && !stderrors.Is(err, fs.ErrNotExist) {
		return errors.Annotatef(err, "delete snapshot file %s", name)
	}
	return nil
}

// Close lets go of what is held, and of what is staged: the engine may be closed then. Streams and Receivers must have ended.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	var failed error
	for _, i := range m.inEngine() {
		if err := m.Delete(i.Key, i.Received); failed == nil {
			failed = err
		}
	}
	return failed
}

// inEngine lists what is no file.
func (m *Manager) inEngine() (items []Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.held {
		items = append(items, Item{Key: key})
	}
	for key, s := range m.staged {
		items = append(items, Item{Key: key, Received: true, Size: int64(s.meta.Size)})
	}
	slices.SortFunc(items, compareItems)
	return items
}

// DeleteAll removes everything that is complete.
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

// maxHold is how long a snapshot of the engine is held at most for one who may come: it keeps the engine from giving back space.
const maxHold = 5 * time.Minute

// Sweep removes what it met more than age before now, and lets go of what it met more than maxHold before. Whoever comes for it gets ErrNotFound.
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
		limit := age
		if !i.Received {
			limit = min(age, maxHold)
		}
		if now.Sub(at) > limit {
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

// List returns what is complete, sorted by region, index, term and origin (held before received).
func (m *Manager) List() ([]Item, error) {
	names, err := m.fs.List()
	if err != nil {
		return nil, errors.Annotate(err, "list the snapshot files")
	}
	items := m.inEngine()
	for _, name := range names {
		key, ok := parseName(name)
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
		items = append(items, Item{Key: key, Received: true, Size: file.Size()})
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

// here says whether a snapshot has been received.
func (m *Manager) here(key Key) (bool, error) {
	m.mu.Lock()
	_, staged := m.staged[key]
	m.mu.Unlock()
	if staged {
		return true, nil
	}
	file, err := m.open(fileName(key))
	if stderrors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Trace(file.Close())
}

// claim makes a name its caller's, until release. ErrBusy when it is somebody's.
func (m *Manager) claim(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[name] {
		return errors.Annotate(ErrBusy, name)
	}
	m.busy[name] = true
	return nil
}

func (m *Manager) release(name string) {
	m.mu.Lock()
	delete(m.busy, name)
	m.mu.Unlock()
}
