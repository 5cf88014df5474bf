package badgerdb

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/Connor1996/badger"

	"github.com/shoal-kv/shoal/kv/engine"
)

// snapshot is a read transaction. It keeps the tables that it can see, and the versions as of its beginning.
type snapshot struct {
	db        *DB
	txn       *badger.Txn
	iterators atomic.Int64
}

// Get looks with an iterator. Badger's own point read asks a table's hash index, which knows the block of a key's newest version, and looks no further than
// that block: an older version in the next one is "not found", or one that is too old is found in another table.
func (s *snapshot) Get(cf engine.CF, key []byte) (value []byte, err error) {
	if len(key) > MaxKeySize {
		return nil, nil // it could not be put
	}
	physical := physicalKey(cf, key)
	it := s.newIterator(physical, append(physical[:len(physical):len(physical)], 0))
	if it.ascend(physical, false) {
		value = append([]byte{}, it.Value()...)
	}
	return value, it.Close()
}

func (s *snapshot) NewIterator(cf engine.CF, opts engine.IterOptions) (engine.Iterator, error) {
	return s.newIterator(physicalStart(cf, opts.Lower), physicalEnd(cf, opts.Upper)), nil
}

func (s *snapshot) newIterator(lower, upper []byte) *iterator {
	s.iterators.Add(1)
	return &iterator{snap: s, lower: lower, upper: upper}
}

func (s *snapshot) Close() error {
	if n := s.iterators.Load(); n != 0 {
		return fmt.Errorf("badgerdb: a snapshot is closed with %d open iterators", n)
	}
	if s.txn == nil {
		return errors.New("badgerdb: a snapshot is closed twice")
	}
	s.txn.Discard()
	s.txn = nil
	s.db.snapshots.Add(-1)
	return nil
}

// closedSnapshot is what an engine gives out that is closed.
type closedSnapshot struct{}

func (closedSnapshot) Get(engine.CF, []byte) ([]byte, error) { return nil, engine.ErrClosed }

func (closedSnapshot) NewIterator(engine.CF, engine.IterOptions) (engine.Iterator, error) {
	return nil, engine.ErrClosed
}

func (closedSnapshot) Close() error { return nil }
