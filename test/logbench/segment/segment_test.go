package segment

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

func small(fs vfs.FS) Options { return Options{Dir: "/log", FS: fs, SegmentBytes: 32 << 10} }

// region is what the model knows of one: entries[i] has the index first+i.
type region struct {
	state   *raft_serverpb.RaftLocalState
	first   uint64
	entries []eraftpb.Entry
}

func (r *region) next() uint64 { return r.first + uint64(len(r.entries)) }

// model is what a log must hold: plain slices.
type model map[uint64]region

// draw makes up an update that fits, and changes the model as it is to change the log. Regions with a low id are drawn more often, so that
// others lie in old segments.
func (m model) draw(rng *rand.Rand) logstore.Update {
	id := uint64(1 + min(rng.IntN(12), rng.IntN(12)))
	u := logstore.Update{RegionID: id}
	r, ok := m[id]
	if !ok {
		r = region{first: 1 + rng.Uint64N(10)}
	}
	switch kind := rng.IntN(30); {
	case ok && kind == 0:
		u.Destroy = true
		r = region{first: 1 + rng.Uint64N(10)}
		if delete(m, id); rng.IntN(2) == 0 {
			return u
		}
	case ok && kind == 1:
		u.Reset = true
		r.first, r.entries = r.next()+rng.Uint64N(100), nil
	case ok && kind < 12:
		u.CompactTo = r.first + rng.Uint64N(uint64(len(r.entries))+1)
		r.entries = r.entries[u.CompactTo-r.first:]
		r.first = u.CompactTo
	}
	if n := []int{0, 1, 1, 2, 5, 40}[rng.IntN(6)]; n > 0 && !u.Destroy {
		from := r.next()
		if rng.IntN(5) == 0 {
			from = r.first + rng.Uint64N(uint64(len(r.entries))+1)
		}
		u.OldLast = r.next() - 1
		r.entries = slices.Clone(r.entries[:from-r.first])
		for i := range uint64(n) {
			data := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN([]int{10, 200, 2000}[rng.IntN(3)]))
			u.Entries = append(u.Entries, eraftpb.Entry{Term: 1 + rng.Uint64N(200), Index: from + i, Data: data})
		}
		r.entries = append(r.entries, u.Entries...)
	}
	if !ok || u.Destroy || rng.IntN(2) == 0 {
		u.State = &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: rng.Uint64N(200), Vote: id}, LastIndex: r.next() - 1}
		r.state = u.State
	}
	m[id] = r
	return u
}

// differs says what the log has that the model has not, or the other way round; empty when they are alike.
func (m model) differs(l *Log) string {
	regions, err := l.Regions()
	if err != nil || !slices.Equal(regions, slices.Sorted(maps.Keys(m))) {
		return fmt.Sprintf("regions %v, want %v: %v", regions, slices.Sorted(maps.Keys(m)), err)
	}
	for id, r := range m {
		state, err := l.State(id)
		if err != nil || state.String() != r.state.String() {
			return fmt.Sprintf("region %d has the state %v, want %v: %v", id, state, r.state, err)
		}
		entries, err := l.Entries(id, r.first, r.next(), 0)
		same := slices.EqualFunc(entries, r.entries, func(a, b eraftpb.Entry) bool {
			return a.Index == b.Index && a.Term == b.Term && bytes.Equal(a.Data, b.Data)
		})
		if err != nil || !same {
			return fmt.Sprintf("region %d: entries [%d, %d) differ: %v", id, r.first, r.next(), err)
		}
		for _, i := range []uint64{r.first - 1, r.next()} {
			if _, err := l.Entries(id, i, i+1, 0); err == nil {
				return fmt.Sprintf("region %d: entry %d is there", id, i)
			}
		}
	}
	return ""
}

// life is a log, what it may hold, and the cut of power that ends it.
type life struct {
	fs  *vfs.MemFS
	rng *rand.Rand

	mu      sync.Mutex // the goroutine that makes segments ahead may meet the cut too
	history []model    // as of the last sync, and after each write since; the newest may be under way
	crashes int
	in      int // calls of the file system until the cut
	after   *vfs.MemFS
	may     []model
}

// MaybeError takes the picture of the disk at the call that it was told.
func (c *life) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		if c.in--; c.in == 0 {
			c.cut()
		}
	}
	return nil
}

func (c *life) String() string { return "power cut" }

func (c *life) cut() {
	c.may = slices.Clone(c.history)
	rng := rand.New(rand.NewPCG(uint64(len(c.history)), uint64(c.in)))
	c.after = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 20, 50, 90, 100}[c.crashes%5], RNG: rng})
}

// begin plans the next cut; what was recovered is durable.
func (c *life) begin(m model) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history, c.after, c.in = []model{m}, nil, 1+c.rng.IntN(600)
}

// end goes on with the disk as the cut left it. A life that saw no cut before its end has it now.
func (c *life) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after == nil {
		c.cut()
	}
	c.fs, c.history = c.after, c.may
}

// write makes one Write and checks now and then what can be read.
func (c *life) write(t *testing.T, l *Log) {
	now := maps.Clone(c.history[len(c.history)-1])
	var updates []logstore.Update
	for range c.rng.IntN(5) {
		updates = append(updates, now.draw(c.rng))
	}
	sync := c.rng.IntN(3) > 0
	if sync {
		updates = append(updates, logstore.Update{RegionID: 1, Sync: true})
	}
	c.mu.Lock()
	c.history = append(c.history, now)
	c.mu.Unlock()
	require.NoError(t, l.Write(updates))
	if sync {
		c.mu.Lock()
		c.history = c.history[len(c.history)-1:]
		c.mu.Unlock()
	}
	if c.rng.IntN(8) == 0 {
		require.Empty(t, now.differs(l))
	}
}

// S22: whatever happens, and whenever the power goes (in the middle of a write, between a write and its sync, while segments change), what
// was synced is found again, and of the rest whole writes, the oldest first.
func TestCrashAnywhere(t *testing.T) {
	var moved uint64
	var recycled int
	for seed := range uint64(10) {
		c := &life{fs: vfs.NewCrashableMem(), rng: rand.New(rand.NewPCG(seed, 1)), history: []model{{}}}
		for c.crashes = range 5 {
			l, err := Open(small(errorfs.Wrap(c.fs, c)))
			require.NoError(t, err, "seed %d, crash %d", seed, c.crashes)
			i := slices.IndexFunc(c.history, func(m model) bool { return m.differs(l) == "" })
			require.NotEqual(t, -1, i, "seed %d, crash %d: never was what was found: %s", seed, c.crashes, c.history[len(c.history)-1].differs(l))
			c.begin(c.history[i])
			for range 200 {
				c.write(t, l)
			}
			moved, recycled = moved+l.Stats().MovedBytes, recycled+l.Stats().Recycled
			require.NoError(t, l.Close())
			c.end()
		}
	}
	require.NotZero(t, moved, "garbage collection had nothing to do")
	require.NotZero(t, recycled, "no segment was written over")
}
