package memdb

import (
	"bytes"

	"github.com/google/btree"

	"github.com/shoal-kv/shoal/kv/engine"
)

type snapshot struct{ trees *trees }

func (s *snapshot) Get(cf engine.CF, key []byte) ([]byte, error) {
	p, ok := s.trees[cf].Get(pair{key: key})
	if !ok {
		return nil, nil
	}
	return append([]byte{}, p.value...), nil
}

func (s *snapshot) NewIterator(cf engine.CF, opts engine.IterOptions) (engine.Iterator, error) {
	return &iterator{
		tree:  s.trees[cf],
		lower: bytes.Clone(opts.Lower),
		upper: bytes.Clone(opts.Upper),
	}, nil
}

func (s *snapshot) Close() error { return nil }

// iterator reads the tree a run of pairs at a time, in the direction in which it goes.
type iterator struct {
	tree         *btree.BTreeG[pair]
	lower, upper []byte
	run          []pair
	pos          int
	backward     bool
}

const runLength = 32

func (i *iterator) SeekGE(key []byte) bool {
	if bytes.Compare(key, i.lower) < 0 {
		key = i.lower
	}
	return i.ascend(key, false)
}

func (i *iterator) SeekLT(key []byte) bool {
	if len(key) == 0 || len(i.upper) > 0 && bytes.Compare(key, i.upper) > 0 {
		key = i.upper
	}
	return i.descend(key)
}

func (i *iterator) Next() bool {
	if !i.backward && i.pos+1 < len(i.run) {
		i.pos++
		return true
	}
	return i.ascend(i.Key(), true)
}

func (i *iterator) Prev() bool {
	if i.backward && i.pos+1 < len(i.run) {
		i.pos++
		return true
	}
	key := i.Key()
	return len(key) > 0 && i.descend(key) // nothing lies below the empty key
}

// ascend reads the run of keys ≥ key, or > key.
func (i *iterator) ascend(key []byte, after bool) bool {
	run := make([]pair, 0, runLength)
	i.tree.AscendGreaterOrEqual(pair{key: key}, func(p pair) bool {
		if len(i.upper) > 0 && bytes.Compare(p.key, i.upper) >= 0 {
			return false
		}
		if !after || !bytes.Equal(p.key, key) {
			run = append(run, p)
		}
		return len(run) < runLength
	})
	i.run, i.pos, i.backward = run, 0, false
	return len(run) > 0
}

// descend reads the run of keys < key, largest first; an empty key is the end of the tree.
func (i *iterator) descend(key []byte) bool {
	run := make([]pair, 0, runLength)
	collect := func(p pair) bool {
		if bytes.Compare(p.key, i.lower) < 0 {
			return false
		}
		if len(key) == 0 || !bytes.Equal(p.key, key) {
			run = append(run, p)
		}
		return len(run) < runLength
	}
	if len(key) == 0 {
		i.tree.Descend(collect)
	} else {
		i.tree.DescendLessOrEqual(pair{key: key}, collect)
	}
	i.run, i.pos, i.backward = run, 0, true
	return len(run) > 0
}

func (i *iterator) Key() []byte   { return i.run[i.pos].key }
func (i *iterator) Value() []byte { return i.run[i.pos].value }
func (i *iterator) Close() error  { return nil }
