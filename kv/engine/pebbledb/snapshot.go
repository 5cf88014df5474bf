package pebbledb

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/shoal-kv/shoal/kv/engine"
)

type snapshot struct {
	db   *DB
	snap *pebble.Snapshot
	// healed is what had been cut out of damaged tables before.
	healed int64
	// replaced is how often a damaged range had been replaced before.
	replaced int64
}

// Get allocates the answer and nothing else: the key with its family's byte is built in a pooled buffer.
func (s *snapshot) Get(cf engine.CF, key []byte) ([]byte, error) {
	buf := s.db.getBuf()
	*buf = appendKey((*buf)[:0], cf, key)
	value, closer, err := s.snap.Get(*buf)
	healed := s.db.damage.healed.check(s.healed, *buf, nil)
	s.db.putBuf(buf)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, healed
	case err != nil:
		return nil, s.readError(err)
	case healed != nil:
		return nil, firstError(healed, closer.Close())
	}
	out := make([]byte, len(value))
	copy(out, value)
	return out, closer.Close()
}

func (s *snapshot) NewIterator(cf engine.CF, opts engine.IterOptions) (engine.Iterator, error) {
	// pebble copies the bounds, so that one buffer serves every iterator.
	buf := s.db.getBuf()
	defer s.db.putBuf(buf)
	*buf = appendKey((*buf)[:0], cf, opts.Lower)
	n := len(*buf)
	*buf = appendEnd(*buf, cf, opts.Upper)
	lower, upper := (*buf)[:n:n], (*buf)[n:]
	if bytes.Compare(lower, upper) > 0 {
		upper = lower // pebble must not see inverted bounds
	}
	it, err := s.iterate(span{lower, upper})
	if err != nil {
		return nil, err
	}
	return &iterator{snap: s, it: it, cf: cf}, nil
}

// iterate returns an iterator over a span, which is copied.
func (s *snapshot) iterate(over span) (*pebble.Iterator, error) {
	it, err := s.snap.NewIter(&pebble.IterOptions{LowerBound: over.lower, UpperBound: over.upper})
	if err != nil {
		return nil, s.readError(err)
	}
	if err := s.db.damage.healed.check(s.healed, over.lower, over.upper); err != nil {
		return nil, firstError(err, it.Close())
	}
	return it, nil
}

func (s *snapshot) Close() error { return s.snap.Close() }

// readError tells damage from every other failure of a read. Damage that was met after a damaged range has been replaced may be what is there no more: who believed
// it would have the new data replaced again. If it is other damage, a later snapshot meets it.
func (s *snapshot) readError(err error) error {
	if err = readError(err); engine.IsCorruption(err) && s.db.damage.replaced.Load() != s.replaced {
		return &engine.CorruptionError{Cause: engine.ErrHealed}
	}
	return err
}

type iterator struct {
	snap *snapshot
	it   *pebble.Iterator
	cf   engine.CF
	seek []byte
}

func (i *iterator) SeekGE(key []byte) bool {
	if len(key) == 0 {
		return i.it.First()
	}
	i.seek = appendKey(i.seek[:0], i.cf, key)
	return i.it.SeekGE(i.seek)
}

func (i *iterator) SeekLT(key []byte) bool {
	if len(key) == 0 {
		return i.it.Last()
	}
	i.seek = appendKey(i.seek[:0], i.cf, key)
	return i.it.SeekLT(i.seek)
}

func (i *iterator) Next() bool { return i.it.Next() }
func (i *iterator) Prev() bool { return i.it.Prev() }

func (i *iterator) Key() []byte { return i.it.Key()[1:] }

// Value cannot fail once a move has succeeded: values lie beside their keys, as no comparer here splits keys.
func (i *iterator) Value() []byte { return i.it.Value() }

func (i *iterator) Close() error { return i.snap.readError(i.it.Close()) }
