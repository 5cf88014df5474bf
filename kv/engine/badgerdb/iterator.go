package badgerdb

import (
	"bytes"

	"github.com/Connor1996/badger"
)

// iterator walks [lower, upper), both physical. badger's own go one way only; so there is one for each way, made when it is first
// needed, and a turn is a seek of the other to the key at which the first one stands.
type iterator struct {
	snap              *snapshot
	lower, upper      []byte
	forward, backward *badger.Iterator
	at                *badger.Iterator // the one that stands on the current key
	err               error
}

func (i *iterator) SeekGE(key []byte) bool {
	seek := i.lower
	if len(key) > 0 {
		if seek = i.inFamily(key); bytes.Compare(seek, i.lower) < 0 {
			seek = i.lower
		}
	}
	return i.ascend(seek, false)
}

func (i *iterator) SeekLT(key []byte) bool {
	seek := i.upper
	if len(key) > 0 {
		if seek = i.inFamily(key); bytes.Compare(seek, i.upper) > 0 {
			seek = i.upper
		}
	}
	return i.descend(seek)
}

func (i *iterator) Next() bool {
	if i.at == i.backward {
		return i.ascend(i.physical(), true)
	}
	i.at.Next()
	return i.inside()
}

func (i *iterator) Prev() bool {
	if i.at == i.forward {
		return i.descend(i.physical())
	}
	i.at.Next()
	return i.inside()
}

// ascend moves to the first key ≥ key, or > key.
func (i *iterator) ascend(key []byte, after bool) bool {
	if bytes.Compare(i.lower, i.upper) >= 0 {
		return false
	}
	if i.forward == nil {
		i.forward = i.open(false)
	}
	i.forward.Seek(key)
	if after && i.forward.Valid() && bytes.Equal(i.forward.Item().Key(), key) {
		i.forward.Next()
	}
	i.at = i.forward
	return i.inside()
}

// descend moves to the last key < key.
func (i *iterator) descend(key []byte) bool {
	if bytes.Compare(i.lower, i.upper) >= 0 {
		return false
	}
	if i.backward == nil {
		i.backward = i.open(true)
	}
	i.backward.Seek(key) // finds the key itself, too
	if i.backward.Valid() && bytes.Equal(i.backward.Item().Key(), key) {
		i.backward.Next()
	}
	i.at = i.backward
	return i.inside()
}

// open makes one of badger's; the keys only tell it which tables it can leave out.
func (i *iterator) open(reverse bool) *badger.Iterator {
	return i.snap.txn.NewIterator(badger.IteratorOptions{Reverse: reverse, StartKey: i.lower, EndKey: i.upper})
}

func (i *iterator) inside() bool { return i.at.Valid() && within(i.physical(), i.lower, i.upper) }

// inFamily puts the family's letter, with which lower begins, in front of a key.
func (i *iterator) inFamily(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), i.lower[0]), key...)
}

func (i *iterator) physical() []byte { return i.at.Item().Key() }

func (i *iterator) Key() []byte { return i.physical()[1:] }

func (i *iterator) Value() []byte {
	value, err := i.at.Item().Value()
	if err != nil && i.err == nil {
		i.err = err
	}
	return value
}

// Close reports a value that could not be read. Damage to a table is not always noticed by badger.
func (i *iterator) Close() error {
	for _, it := range []*badger.Iterator{i.forward, i.backward} {
		if it != nil {
			it.Close()
		}
	}
	i.snap.iterators.Add(-1)
	return i.err
}
