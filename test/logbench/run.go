package main

import (
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/test/logbench/segment"
)

// latency is in microseconds.
type latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Max   float64 `json:"max_us"`
}

func latencyOf(h *hdrhistogram.Histogram) latency {
	at := func(ns int64) float64 { return float64(ns) / 1e3 }
	return latency{h.TotalCount(), at(h.ValueAtQuantile(50)), at(h.ValueAtQuantile(99)), at(h.Max())}
}

// newHistogram counts nanoseconds, from a microsecond to two minutes.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(2*time.Minute), 3) }

// result is what a scenario gave. Bytes are for each byte of the payloads that were proposed.
type result struct {
	Scenario         scenario `json:"scenario"`
	Kept             int      `json:"kept_entries"`
	EntriesPerBatch  float64  `json:"entries_per_batch"`
	Entries          uint64   `json:"entries"`
	EntriesPerSecond float64  `json:"entries_per_second"`
	// OSBytes is what the kernel says that the process caused to be written, DeviceBytes what the disk was sent by everybody: the journal of the file
	// system is in it, and what else the machine does. The log counts LogBytes of its batches itself. Tables, and ZeroBytes of
	// segments while a log of segments grows, come on top; MovedBytes are garbage collection's part of LogBytes.
	OSBytes     float64 `json:"os_bytes"`
	DeviceBytes float64 `json:"device_bytes"`
	LogBytes    float64 `json:"log_bytes"`
	TableBytes  float64 `json:"table_bytes"`
	ZeroBytes   float64 `json:"zero_bytes"`
	MovedBytes  float64 `json:"moved_bytes"`
	// CPU is of an entry, in microseconds, without LoadCPU, which making it took.
	CPU     float64 `json:"cpu_us"`
	LoadCPU float64 `json:"load_cpu_us"`
	Sync    latency `json:"sync"`  // of the files of the log
	Write   latency `json:"write"` // what the log writer waits
	// Memory is the process's own, without files; Disk is what the directory takes; Reopen is the time to recover.
	Memory  int64   `json:"memory_bytes"`
	Disk    int64   `json:"disk_bytes"`
	Reopen  float64 `json:"reopen_ms"`
	Engine  engine  `json:"engine"`
	Elapsed float64 `json:"elapsed_s"`
}

// engine is what a log counts itself, during the measured time.
type engine struct {
	LogBytes    uint64 `json:"log_bytes"`
	Flushes     uint64 `json:"flushes,omitempty"`
	Compactions uint64 `json:"compactions,omitempty"`
	WriteStalls uint64 `json:"write_stalls,omitempty"`
	MovedBytes  uint64 `json:"moved_bytes,omitempty"`
	Made        uint64 `json:"segments_made,omitempty"`
	Recycled    uint64 `json:"segments_recycled,omitempty"`
}

func (e engine) since(b engine) engine {
	return engine{
		e.LogBytes - b.LogBytes, e.Flushes - b.Flushes, e.Compactions - b.Compactions, e.WriteStalls - b.WriteStalls,
		e.MovedBytes - b.MovedBytes, e.Made - b.Made, e.Recycled - b.Recycled,
	}
}

// opened is a log with what lies behind it.
type opened struct {
	log
	count func() engine
	close func() error
}

// open opens a log as the product would, but on a watched disk.
func open(s scenario, dir string, disk vfs.FS) (*opened, error) {
	switch s.Log {
	case "pebble":
		const cacheBytes = 8 << 20 // kv/node gives it so much
		db, err := pebbledb.Open(pebbledb.Options{Dir: dir, FS: disk, BlockCacheBytes: cacheBytes, MemTableBytes: s.MemTableBytes})
		if err != nil {
			return nil, err
		}
		store := logstore.New(db)
		return &opened{
			log: store,
			count: func() engine {
				m := db.Metrics()
				return engine{LogBytes: m.LogBytes, Flushes: m.Flushes, Compactions: m.Compactions, WriteStalls: m.WriteStalls}
			},
			close: func() error {
				if err := store.Close(); err != nil {
					return err
				}
				return db.Close()
			},
		}, nil
	case "segment":
		l, err := segment.Open(segment.Options{Dir: dir, FS: disk, SegmentBytes: s.SegmentBytes})
		if err != nil {
			return nil, err
		}
		return &opened{
			log: l,
			count: func() engine {
				s := l.Stats()
				return engine{LogBytes: s.WrittenBytes, MovedBytes: s.MovedBytes, Made: uint64(s.Made), Recycled: uint64(s.Recycled)}
			},
			close: l.Close,
		}, nil
	}
	return nil, errors.Errorf("there is no log %q; it must be pebble or segment", s.Log)
}

// run carries out one scenario in an empty directory.
func run(s scenario, dir string) (r result, err error) {
	dir = filepath.Join(dir, "log")
	r.Scenario = s
	l := newLoad(s)
	r.Kept = l.kept()
	disk := newWatchedDisk(vfs.Default)
	o, err := open(s, dir, disk)
	if err != nil {
		return r, err
	}
	err = l.fill(o)
	if err == nil {
		_, err = l.drive(o, s.Warmup, newHistogram())
	}
	if err == nil {
		err = r.measure(l, o, disk, dir)
	}
	if e := o.close(); err == nil {
		err = e
	}
	if err != nil {
		return r, err
	}
	if r.Disk, err = sizeOf(dir); err != nil {
		return r, err
	}
	return r, r.reopen(l, dir)
}

// drive writes batches until the time is over, and returns how many entries there were.
func (l *load) drive(to log, d time.Duration, took *hdrhistogram.Histogram) (entries uint64, err error) {
	for begin, now := time.Now(), time.Now(); now.Sub(begin) < d; {
		updates := l.batch()
		written := time.Now()
		if err := to.Write(updates); err != nil {
			return entries, err
		}
		now = time.Now()
		if err := took.RecordValue(int64(now.Sub(written))); err != nil {
			return entries, errors.Trace(err)
		}
		for i := range updates {
			entries += uint64(len(updates[i].Entries))
		}
	}
	return entries, nil
}

// nowhere is a log that costs nothing.
type nowhere struct{ log }

func (nowhere) Write([]logstore.Update) error { return nil }

func (r *result) measure(l *load, o *opened, disk *watchedDisk, dir string) error {
	took := newHistogram()
	disk.reset()
	count, before, begin := o.count(), readUsage(dir), time.Now()
	entries, err := l.drive(o, r.Scenario.Duration, took)
	if err != nil {
		return err
	}
	elapsed, used := time.Since(begin), readUsage(dir).since(before)
	r.Engine = o.count().since(count)
	tables, syncs := disk.read()
	r.Sync = syncs

	// Nothing of this is written: the same load on a copy of the regions' state.
	alone := newLoad(r.Scenario)
	before = readUsage(dir)
	idle, err := alone.drive(nowhere{}, min(200*time.Millisecond, r.Scenario.Duration), newHistogram())
	if err != nil {
		return err
	}
	making := readUsage(dir).since(before)

	proposed := float64(entries) * float64(r.Scenario.Size)
	r.Elapsed, r.Entries = elapsed.Seconds(), entries
	r.EntriesPerSecond = float64(entries) / elapsed.Seconds()
	r.Write = latencyOf(took)
	r.EntriesPerBatch = float64(entries) / float64(max(1, r.Write.Count))
	r.OSBytes = float64(used.written) / proposed
	r.DeviceBytes = float64(used.device) / proposed
	r.LogBytes, r.TableBytes = float64(r.Engine.LogBytes)/proposed, float64(tables)/proposed
	r.ZeroBytes = float64(r.Engine.Made) * float64(r.Scenario.SegmentBytes) / proposed
	r.MovedBytes = float64(r.Engine.MovedBytes) / proposed
	r.LoadCPU = float64(making.cpu.Nanoseconds()) / 1e3 / float64(max(1, idle))
	r.CPU = float64(used.cpu.Nanoseconds())/1e3/float64(max(1, entries)) - r.LoadCPU
	r.Memory = used.memory
	return nil
}

// reopen recovers the log and looks whether every region has what it had, and nothing that was cut.
func (r *result) reopen(l *load, dir string) (err error) {
	begin := time.Now()
	o, err := open(r.Scenario, dir, vfs.Default)
	if err != nil {
		return err
	}
	r.Reopen = float64(time.Since(begin).Microseconds()) / 1e3
	defer func() {
		if e := o.close(); err == nil {
			err = e
		}
	}()
	cutLater := map[uint64]bool{}
	for _, u := range l.cuts {
		cutLater[u.RegionID] = true
	}
	for i := range l.regions {
		g := &l.regions[i]
		entries, err := o.Entries(g.id, g.first, g.next, 0)
		if err != nil {
			return errors.Annotate(err, "after the log was opened again")
		}
		if entries[0].Index != g.first || len(entries[0].Data) != l.Size {
			return errors.Errorf("region %d is not what it was: its first entry is %d of %d bytes", g.id, entries[0].Index, len(entries[0].Data))
		}
		if _, err := o.Entries(g.id, g.first-1, g.first, 0); err == nil && !cutLater[g.id] {
			return errors.Errorf("region %d has an entry that was cut: %d", g.id, g.first-1)
		}
		state, err := o.State(g.id)
		if err != nil || state.GetLastIndex() != g.next-1 {
			return errors.Errorf("region %d has lost its state: last index %d, it was %d: %v", g.id, state.GetLastIndex(), g.next-1, err)
		}
	}
	return nil
}
