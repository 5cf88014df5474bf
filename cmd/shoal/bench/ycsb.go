package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pingcap/errors"
)

// YCSB is a run of one of YCSB's core workloads. A record is one raw key and value: an update writes all of its fields, since a
// raw value can only be written as a whole.
type YCSB struct {
	Options
	// Workload is a letter from a to f.
	Workload string
	Records  int
	// A record has FieldCount fields of FieldSize bytes.
	FieldCount, FieldSize int
	// MaxScan is the greatest number of records of a scan; the lengths are equally likely.
	MaxScan int
	// Load writes the records before the run; Run is whether there is one.
	Load, Run bool
}

// Kinds of operation of all workloads, in the order in which they are shown.
const (
	ycsbRead = iota
	ycsbUpdate
	ycsbInsert
	ycsbScan
	ycsbModify
	ycsbKinds
)

var ycsbNames = [ycsbKinds]string{"read", "update", "insert", "scan", "rmw"}

// mix is a workload: what share each kind has, and whether the newest records are the popular ones.
type mix struct {
	share  [ycsbKinds]float64
	latest bool
}

func mixes() map[string]mix {
	return map[string]mix{
		"a": {share: [ycsbKinds]float64{ycsbRead: 0.5, ycsbUpdate: 0.5}},
		"b": {share: [ycsbKinds]float64{ycsbRead: 0.95, ycsbUpdate: 0.05}},
		"c": {share: [ycsbKinds]float64{ycsbRead: 1}},
		"d": {share: [ycsbKinds]float64{ycsbRead: 0.95, ycsbInsert: 0.05}, latest: true},
		"e": {share: [ycsbKinds]float64{ycsbScan: 0.95, ycsbInsert: 0.05}},
		"f": {share: [ycsbKinds]float64{ycsbRead: 0.5, ycsbModify: 0.5}},
	}
}

func (o *YCSB) validate() error {
	_, ok := mixes()[o.Workload]
	switch {
	case !ok:
		return errors.Errorf("the workload is %q; it must be one of a, b, c, d, e and f", o.Workload)
	case o.Records < 1 || o.Records > maxKeys:
		return errors.Errorf("--records is %d; it must be between 1 and %d", o.Records, maxKeys)
	case o.FieldCount < 1 || o.FieldSize < 1 || o.FieldCount > maxValue || o.FieldSize > maxValue ||
		o.size() < minValue || o.size() > maxValue:
		return errors.Errorf("--field-count is %d and --field-size %d; a record of them must have between %d and %d bytes",
			o.FieldCount, o.FieldSize, minValue, maxValue)
	case o.MaxScan < 1 || o.MaxScan > maxScan:
		return errors.Errorf("--max-scan is %d; it must be between 1 and %d", o.MaxScan, maxScan)
	}
	return o.Options.validate()
}

// maxScan is what a store lets one scan have.
const maxScan = 10240

func (o *YCSB) size() int { return o.FieldCount * o.FieldSize }

// RunYCSB does one run. When ctx ends before the duration is over, the run ends early, with what was measured so far.
func RunYCSB(ctx context.Context, o YCSB) (*Result, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return connected(ctx, o.Options, func(client kvClient, servers *servers) (*Result, error) {
		return runYCSB(ctx, o, client, servers)
	})
}

func runYCSB(ctx context.Context, o YCSB, client kvClient, servers *servers) (*Result, error) {
	b := newYCSB(o, client)
	r := &Result{}
	var loaded *Loaded
	if o.Load {
		began := time.Now()
		if err := b.load(ctx); err != nil {
			return nil, errors.Annotate(err, "cannot load the records")
		}
		took := time.Since(began).Seconds()
		loaded = &Loaded{Records: o.Records, Seconds: took, PerSecond: float64(o.Records) / took}
	}
	if o.Run {
		r = drive(ctx, o.Options, b, servers)
	}
	r.Load, r.Workload, r.Keys, r.ValueSize = loaded, "ycsb "+o.Workload, o.Records, o.size()
	return r, nil
}

// ycsbBench is one run.
type ycsbBench struct {
	YCSB
	store    kvClient
	mix      mix
	shown    []int // kinds of operation that the workload has
	popular  *scrambled
	ages     *zipfian
	inserted *inserted
	end      []byte // behind the last key
}

func newYCSB(o YCSB, store kvClient) *ycsbBench {
	b := &ycsbBench{YCSB: o, store: store, mix: mixes()[o.Workload], inserted: newInserted(uint64(o.Records)), end: []byte(o.Prefix + "user~")}
	for kind, share := range b.mix.share {
		if share > 0 {
			b.shown = append(b.shown, kind)
		}
	}
	if b.popular = newScrambled(uint64(o.Records)); b.mix.latest {
		b.ages = newZipfian(uint64(o.Records))
	}
	return b
}

func (b *ycsbBench) kinds() (names []string) {
	for _, kind := range b.shown {
		names = append(names, ycsbNames[kind])
	}
	return names
}

// key is that of a record: neighbours by number are not neighbours in the store.
func (b *ycsbBench) key(record uint64) []byte {
	return fmt.Appendf(nil, "%suser%019d", b.Prefix, hash(record))
}

// fill writes a record's value: its number, then what the operation draws.
func (b *ycsbBench) fill(value []byte, record uint64, r *rand.Rand) {
	binary.BigEndian.PutUint64(value, record)
	for i := 8; i < len(value); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.Uint64()&0x0F0F0F0F0F0F0F0F|0x4040404040404040) // letters: half of it compresses
		copy(value[i:], word[:])
	}
}

func (b *ycsbBench) load(ctx context.Context) error {
	return inBatches(batches{items: b.Records, bytes: b.size(), clients: b.Clients}, func(first, end int) error {
		d := newDraws(b.Seed)
		var keys, values [][]byte
		for record := uint64(first); record < uint64(end); record++ {
			value := make([]byte, b.size())
			b.fill(value, record, d.of(record))
			keys, values = append(keys, b.key(record)), append(values, value)
		}
		if err := b.store.BatchPut(ctx, keys, values); err != nil {
			return err
		}
		return ctx.Err()
	}, b.Progress)
}

func (b *ycsbBench) client(int) actor {
	c := &ycsbClient{ycsbBench: b, draws: newDraws(b.Seed ^ runDraws), value: make([]byte, b.size()), pick: b.popular.draw}
	if b.mix.latest {
		c.pick = newLatest(*b.ages, b.inserted).draw
	}
	return c
}

// runDraws keeps what a run draws apart from what was loaded.
const runDraws = 0x9E3779B97F4A7C15

// ycsbClient is one client.
type ycsbClient struct {
	*ycsbBench
	draws  *draws
	pick   func(*rand.Rand) uint64
	kind   int
	record uint64
	length int // of a scan
	value  []byte
}

func (c *ycsbClient) draw(n uint64) int {
	r := c.draws.of(n)
	c.kind = c.shown[len(c.shown)-1]
	p := r.Float64()
	for _, kind := range c.shown {
		if p -= c.mix.share[kind]; p < 0 {
			c.kind = kind
			break
		}
	}
	if c.kind != ycsbInsert {
		c.record = c.pick(r)
	}
	switch c.kind {
	case ycsbScan:
		c.length = 1 + r.IntN(c.MaxScan)
	case ycsbUpdate, ycsbModify, ycsbInsert:
		c.fill(c.value, c.record, r)
	}
	return slices.Index(c.shown, c.kind)
}

func (c *ycsbClient) do(ctx context.Context) error {
	switch c.kind {
	case ycsbRead:
		return c.read(ctx)
	case ycsbUpdate:
		return c.store.Put(ctx, c.key(c.record), c.value)
	case ycsbInsert:
		return c.insert(ctx)
	case ycsbScan:
		return c.scan(ctx)
	}
	if err := c.read(ctx); err != nil {
		return err
	}
	return c.store.Put(ctx, c.key(c.record), c.value)
}

// read also looks whether what it finds is the record.
func (c *ycsbClient) read(ctx context.Context) error {
	value, err := c.store.Get(ctx, c.key(c.record))
	switch {
	case err != nil:
		return err
	case value == nil:
		return errMissing
	case len(value) != c.size() || binary.BigEndian.Uint64(value) != c.record:
		return errWrong
	}
	return nil
}

// insert takes its key only now: an operation that is drawn and never done must not leave a gap.
func (c *ycsbClient) insert(ctx context.Context) error {
	c.record = c.inserted.begin()
	defer c.inserted.end(c.record)
	binary.BigEndian.PutUint64(c.value, c.record)
	return c.store.Put(ctx, c.key(c.record), c.value)
}

// scan begins at a record, which must be there.
func (c *ycsbClient) scan(ctx context.Context) error {
	keys, values, err := c.store.Scan(ctx, c.key(c.record), c.end, c.length)
	switch {
	case err != nil:
		return err
	case len(keys) == 0 || string(keys[0]) != string(c.key(c.record)):
		return errMissing
	case len(keys) > c.length || len(values[0]) != c.size():
		return errWrong
	}
	return nil
}
