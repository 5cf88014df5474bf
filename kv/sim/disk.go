package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// disk is what a store has on its disk: two engines and a directory of snapshots, each of which loses what was not synced
// by itself when the machine dies. How long things take is drawn here too.
type disk struct {
	log, state *memdb.DB
	dir        *snapfile.MemFS
	rng        *rand.Rand
	diskFaults
	// stalledUntil is when a disk that hangs goes on.
	stalledUntil world.Time
	// keep, when not nil, says how much of what is not synced a crash leaves.
	keep func(n int) int
	// ledger counts what the state engine holds.
	ledger *ledger
	// reshaped says that a region's state was written.
	reshaped bool
	// decoded is, by region, the region's state that was read last: it is read much more often than it changes.
	decoded map[uint64]decodedState
}

// decodedState is a stored region state, and the region in it; nil for a tombstone.
type decodedState struct {
	raw    []byte
	region *metapb.Region
}

func newDisk(w *world.World, name string) *disk {
	return &disk{log: memdb.New(), state: memdb.New(), dir: snapfile.NewMemFS(), rng: w.Rand(name + "/disk"), diskFaults: diskFaults{slow: 1, flip: -1}, decoded: make(map[uint64]decodedState)}
}

// open is the disk as a store that starts sees it.
func (d *disk) open(p *world.Process, trace *world.Trace) (*raftstore.Disk, error) {
	if d.full {
		d.obstruct()
	}
	snaps, err := snapfile.New(directory{d.dir, d})
	if err != nil {
		return nil, err
	}
	log := &traced{Engine: d.log, trace: trace, p: p, d: d, name: 'L'}
	d.ledger = newLedger(d.state)
	state := &traced{Engine: d.state, trace: trace, p: p, d: d, name: 'S', ledger: d.ledger}
	return &raftstore.Disk{Log: logstore.New(log), State: state, Snapshots: snaps}, nil
}

// crash loses what was not synced: of each engine, and independently, a random prefix stays.
func (d *disk) crash() {
	keep := d.keep
	if keep == nil {
		keep = func(n int) int { return d.rng.IntN(n + 1) }
	}
	d.log, d.state = d.log.Crash(keep), d.state.Crash(keep)
	d.dir.Crash(keep)
}

// latency is how long a worker's next step takes.
func (d *disk) latency(kind raftstore.WorkerKind, now world.Time) time.Duration {
	var t time.Duration
	switch kind {
	case raftstore.RaftWorker, raftstore.StoreWorker:
		return world.Between(d.rng, time.Microsecond, 200*time.Microsecond)
	case raftstore.Reporter:
		return world.Between(d.rng, time.Microsecond, 500*time.Microsecond)
	case raftstore.LogWriter:
		t = world.Between(d.rng, 200*time.Microsecond, 3*time.Millisecond)
	case raftstore.ApplyWorker:
		t = world.Between(d.rng, 50*time.Microsecond, 2*time.Millisecond)
	default:
		t = world.Between(d.rng, 100*time.Microsecond, 10*time.Millisecond)
	}
	t = time.Duration(float64(t) * d.slow)
	if d.stalledUntil > now {
		t += time.Duration(d.stalledUntil - now)
	}
	return t
}

// traced is an engine whose writes are in the trace, byte for byte.
type traced struct {
	engine.Engine
	trace *world.Trace
	p     *world.Process
	d     *disk
	name  byte
	// ledger is told of every write, where there is one.
	ledger *ledger
}

// NewBatch implements engine.Engine.
func (t *traced) NewBatch() engine.Batch { return &tracedBatch{Batch: t.Engine.NewBatch(), t: t} }

// Ingest implements engine.Engine. The files' bytes were in the trace when they were written.
func (t *traced) Ingest(in engine.Ingestion) error {
	if also, ok := in.Also.(*tracedBatch); ok {
		also.flush(true)
		in.Also = also.Batch
	}
	err := t.Engine.Ingest(in)
	switch {
	case t.ledger == nil:
	case err != nil:
		t.ledger.forget() // what was to be committed also is noted, and may not be there
	default:
		for _, cf := range engine.DataCFs {
			t.ledger.recount(cf, in.Replace[cf].Start, in.Replace[cf].End)
		}
	}
	t.d.tore(in.Replace[engine.Default], err != nil)
	return err
}

// Sync implements engine.Engine.
func (t *traced) Sync() error {
	t.trace.Add(world.Disk, t.p, []byte{t.name, 's'})
	return t.Engine.Sync()
}

type tracedBatch struct {
	engine.Batch
	t   *traced
	buf []byte
}

func (b *tracedBatch) note(op byte, cf engine.CF, key, value []byte) {
	b.buf = append(b.buf, op, byte(cf))
	b.buf = binary.AppendUvarint(b.buf, uint64(len(key)))
	b.buf = append(b.buf, key...)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(value)))
	b.buf = append(b.buf, value...)
}

func (b *tracedBatch) Put(cf engine.CF, key, value []byte) {
	b.note('p', cf, key, value)
	if cf == engine.Local && b.t.ledger != nil {
		_, kind, err := keys.DecodeRegionMeta(key)
		b.t.d.reshaped = b.t.d.reshaped || err == nil && kind == keys.MetaRegionState
	}
	b.Batch.Put(cf, key, value)
}

func (b *tracedBatch) Delete(cf engine.CF, key []byte) {
	b.note('d', cf, key, nil)
	b.Batch.Delete(cf, key)
}

func (b *tracedBatch) DeleteRange(cf engine.CF, start, end []byte) {
	b.note('r', cf, start, end)
	b.Batch.DeleteRange(cf, start, end)
}

func (b *tracedBatch) flush(sync bool) {
	if b.t.ledger != nil {
		b.t.ledger.take(b.buf)
	}
	kind := byte('w')
	if sync {
		kind = 'y'
	}
	b.buf = append(b.buf, b.t.name, kind)
	b.t.trace.Add(world.Write, b.t.p, b.buf)
	b.buf = b.buf[:0]
}

func (b *tracedBatch) Commit(sync bool) error {
	b.flush(sync)
	return b.Batch.Commit(sync)
}

func (b *tracedBatch) Reset() {
	b.buf = b.buf[:0]
	b.Batch.Reset()
}
