package pebbledb

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Packing makes of what a snapshot shows the tables that an ingestion wants, before they leave for another store: that one then has to write bytes, and nothing
// else. A large range is halved, and each half read and packed by one goroutine: a pair goes from the block that holds it into the table while it is in that
// core's cache. Were one to read and another to pack, pairs would have to be copied in between, and both stood still whenever either does.

var _ engine.Packer = (*snapshot)(nil)

// TableForm names pebble's format of tables. The families' place in the key and the default comparer are part of the form, and do not change.
func (d *DB) TableForm() string { return "pebble " + d.pdb.TableFormat().String() }

func (s *snapshot) TableForm() string { return s.db.TableForm() }

// Pack has each lane read its part of the range and make its tables.
func (s *snapshot) Pack(cf engine.CF, r engine.Range, to [engine.TableLanes]engine.TableSink) (engine.Packed, error) {
	f := family{cf: cf, Range: r}
	parts, err := s.halves(f.span())
	if err != nil {
		return engine.Packed{}, err
	}
	var (
		p      packing
		lanes  sync.WaitGroup
		packed [engine.TableLanes]engine.Packed
	)
	for i, part := range parts {
		lanes.Go(func() { packed[i] = p.lane(s, part, to[i]) })
	}
	lanes.Wait()
	if failed := p.over.Load(); failed != nil {
		return engine.Packed{}, *failed
	}
	var sum engine.Packed
	for _, lane := range packed {
		sum.Pairs += lane.Pairs
		sum.Bytes += lane.Bytes
	}
	return sum, nil
}

// packing is what the lanes of a range share.
type packing struct {
	// over is why nothing is given to any sink any more, if so.
	over atomic.Pointer[error]
}

func (p *packing) stop(err error) { p.over.CompareAndSwap(nil, &err) }

// lane packs a part of the range.
func (p *packing) lane(s *snapshot, part span, to engine.TableSink) (packed engine.Packed) {
	out := &sinkFile{packing: p, sink: to}
	t := tables{
		db: s.db, start: part.lower, end: part.upper,
		open: func() (objstorage.Writable, error) { return out, nil },
		done: func(table *sstable.Writer) error { return table.Close() },
	}
	err := s.eachIn(part, func(key, value []byte) error {
		packed.Pairs++
		packed.Bytes += uint64(len(key) - 1 + len(value)) // without the family
		return t.put(key, value)
	})
	if err == nil {
		err = t.finish()
	}
	if err != nil {
		p.stop(err)
	}
	t.abort()
	return packed
}

// eachIn calls do for every pair of a part, with keys as pebble has them.
func (s *snapshot) eachIn(part span, do func(key, value []byte) error) error {
	it, err := s.iterate(part)
	if err != nil {
		return err
	}
	for more := it.First(); more && err == nil; more = it.Next() {
		err = do(it.Key(), it.Value())
	}
	return firstError(err, s.readError(it.Close()))
}

// halvedFrom is the size in bytes of tables from which on a range is halved; a test's engine has a smaller one.
const halvedFrom = 4 << 20

// halves cuts a range where about half of its bytes lie on either side, if it is large and has such a place.
func (s *snapshot) halves(all span) ([]span, error) {
	first, last, err := s.ends(all)
	if err != nil || first == nil {
		return []span{all}, err
	}
	size := func(upper []byte) (uint64, error) {
		n, err := s.db.pdb.EstimateDiskUsage(all.lower, upper)
		return n, s.readError(err)
	}
	total, err := size(all.upper)
	if err != nil || total < s.db.halvedFrom {
		return []span{all}, err
	}
	// Less than half of the bytes lie before low, and more before high, until what lies between them has no key.
	low, high := first, last
	for middle := between(low, high); middle != nil; middle = between(low, high) {
		before, err := size(middle)
		if err != nil {
			return nil, err
		}
		switch {
		case before > total/2+total/32:
			high = middle
		case before < total/2-total/32:
			low = middle
		default:
			return []span{{all.lower, middle}, {middle, all.upper}}, nil
		}
	}
	if bytes.Compare(first, high) >= 0 {
		return []span{all}, nil
	}
	return []span{{all.lower, high}, {high, all.upper}}, nil
}

// ends are the first and the last key of a range; nil when there is none.
func (s *snapshot) ends(all span) (first, last []byte, err error) {
	it, err := s.iterate(all)
	if err != nil {
		return nil, nil, err
	}
	if it.First() {
		first = bytes.Clone(it.Key())
		if it.Last() {
			last = bytes.Clone(it.Key())
		}
	}
	return first, last, s.readError(it.Close())
}

// between is a key halfway from low to high, of at most eight bytes more than they have in common; nil where there is none.
func between(low, high []byte) []byte {
	common := 0
	for common < min(len(low), len(high)) && low[common] == high[common] {
		common++
	}
	number := func(key []byte) uint64 {
		var b [8]byte
		copy(b[:], key[common:])
		return binary.BigEndian.Uint64(b[:])
	}
	a, b := number(low), number(high)
	middle := binary.BigEndian.AppendUint64(bytes.Clone(low[:common]), a+(b-a)/2)
	if bytes.Compare(middle, low) <= 0 || bytes.Compare(middle, high) >= 0 {
		return nil
	}
	return middle
}

// sinkFile is the file of one table after the other, which are a sink's. A table's writer knows no abort, and would end the table: so nothing is
// given on once the packing is over.
type sinkFile struct {
	*packing
	sink engine.TableSink
}

func (f *sinkFile) Write(p []byte) error { return f.give(func() error { return f.sink.Write(p) }) }

func (f *sinkFile) Finish() error { return f.give(f.sink.EndTable) }

func (f *sinkFile) give(do func() error) error {
	if over := f.over.Load(); over != nil {
		return *over
	}
	err := do()
	if err != nil {
		f.stop(err)
	}
	return err
}

func (f *sinkFile) Abort() {}
