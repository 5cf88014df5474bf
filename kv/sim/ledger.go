package sim

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/proto/region"
)

// ledger follows what a state engine holds, so that the data of two replicas can be compared at every applied index: a fingerprint of a key range is the
// sum of its pairs' hashes, and changes with every write by as much as the write changes.
type ledger struct {
	db *memdb.DB
	// pairs are the hashes of all pairs, by column family and key; nil until they were counted.
	pairs map[string]*uint64
	// tallies are the ranges that were asked for, by start key, disjoint.
	tallies []*tally
}

type tally struct {
	start, end []byte
	sum        uint64
}

func newLedger(db *memdb.DB) *ledger { return &ledger{db: db} }

// recount reads [start, end) of a column family anew: the engine's content was replaced there.
func (l *ledger) recount(cf engine.CF, start, end []byte) {
	if l.pairs == nil {
		return // it is counted when somebody asks
	}
	l.deleteRange(cf, start, end)
	snap := l.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	l.read(snap, cf, engine.IterOptions{Lower: start, Upper: end})
}

// forget makes the next sum count everything anew.
func (l *ledger) forget() { l.pairs = nil }

// sum is the fingerprint of [start, end).
func (l *ledger) sum(start, end []byte) uint64 {
	if l.pairs == nil {
		l.count()
	}
	if t := l.tallyOf(start); t != nil && bytes.Equal(t.start, start) && bytes.Equal(t.end, end) {
		return t.sum
	}
	t := &tally{start: start, end: end}
	for id, hash := range l.pairs { // order-free: a sum
		if t.holds([]byte(id[1:])) {
			t.sum += *hash
		}
	}
	kept := []*tally{t}
	for _, old := range l.tallies {
		before := len(old.end) > 0 && bytes.Compare(old.end, start) <= 0
		behind := len(end) > 0 && bytes.Compare(old.start, end) >= 0
		if before || behind {
			kept = append(kept, old)
		}
	}
	sort.Slice(kept, func(i, j int) bool { return bytes.Compare(kept[i].start, kept[j].start) < 0 })
	l.tallies = kept
	return t.sum
}

// stray is a key that is in none of these ranges, "" when there is none.
func (l *ledger) stray(regions []*metapb.Region) string {
	if l.pairs == nil {
		l.count()
	}
	first := ""
	for id := range l.pairs { // order-free: the least
		key := []byte(id[1:])
		if first != "" && first < id[1:] || slices.ContainsFunc(regions, func(r *metapb.Region) bool { return region.Contains(r, key) }) {
			continue
		}
		first = id[1:]
	}
	return first
}

func (t *tally) holds(key []byte) bool {
	return bytes.Compare(key, t.start) >= 0 && (len(t.end) == 0 || bytes.Compare(key, t.end) < 0)
}

func (l *ledger) tallyOf(key []byte) *tally {
	i := sort.Search(len(l.tallies), func(i int) bool { return bytes.Compare(l.tallies[i].start, key) > 0 }) - 1
	if i < 0 || !l.tallies[i].holds(key) {
		return nil
	}
	return l.tallies[i]
}

// count reads the whole engine.
func (l *ledger) count() {
	l.pairs, l.tallies = make(map[string]*uint64), nil
	snap := l.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	for _, cf := range engine.DataCFs {
		l.read(snap, cf, engine.IterOptions{})
	}
}

func (l *ledger) read(snap engine.Snapshot, cf engine.CF, within engine.IterOptions) {
	it, err := snap.NewIterator(cf, within)
	if err != nil {
		panic(err) // memdb has no such error
	}
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		l.put(cf, it.Key(), it.Value())
	}
	_ = it.Close()
}

func (l *ledger) put(cf engine.CF, key, value []byte) {
	var buf [64]byte
	id := append(append(buf[:0], byte(cf)), key...)
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(binary.AppendUvarint(nil, uint64(len(id))))
	_, _ = d.Write(id)
	_, _ = d.Write(value)
	l.set(id, d.Sum64())
}

// set changes a pair's hash; 0 takes it away.
func (l *ledger) set(id []byte, hash uint64) {
	old := l.pairs[string(id)]
	change := hash
	switch {
	case old != nil:
		change -= *old
		if *old = hash; hash == 0 {
			delete(l.pairs, string(id))
		}
	case hash != 0:
		l.pairs[string(id)] = &hash
	}
	if t := l.tallyOf(id[1:]); t != nil {
		t.sum += change
	}
}

func (l *ledger) deleteRange(cf engine.CF, start, end []byte) {
	doomed := tally{start: start, end: end}
	for id := range l.pairs { // order-free: each goes by itself
		if id[0] == byte(cf) && doomed.holds([]byte(id[1:])) {
			l.set([]byte(id), 0)
		}
	}
}

// take follows a batch, in the form in which it is traced.
func (l *ledger) take(batch []byte) {
	if l.pairs == nil {
		return // it is counted when somebody asks
	}
	next := func() []byte {
		n, used := binary.Uvarint(batch)
		field := batch[used : used+int(n)]
		batch = batch[used+int(n):]
		return field
	}
	for len(batch) > 0 {
		op, cf := batch[0], engine.CF(batch[1])
		batch = batch[2:]
		key, value := next(), next()
		if cf == engine.Local {
			continue
		}
		switch op {
		case 'p':
			l.put(cf, key, value)
		case 'd':
			l.set(append([]byte{byte(cf)}, key...), 0)
		case 'r':
			l.deleteRange(cf, key, value)
		}
	}
}
