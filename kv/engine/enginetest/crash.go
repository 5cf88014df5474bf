package enginetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// CrashHarness makes engines on disks that lose what was not synced.
type CrashHarness struct {
	// Open returns a new, empty engine.
	Open func() (engine.Engine, error)
	// Crash stops the machine and returns the engine as it is found afterwards. Of what was not synced, as much
	// survives as rng says, within what the disk may do.
	Crash func(e engine.Engine, rng *rand.Rand) (engine.Engine, error)
}

// RunCrash crashes engines after random work and checks that a prefix of the batches is found, each whole, and everything
// that was acknowledged as durable (PITFALLS S22).
func RunCrash(t *testing.T, h CrashHarness) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("Seed%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			e, err := h.Open()
			require.NoError(t, err)
			w := NewWorkload(rng)
			for range 5 {
				for range rng.IntN(60) {
					require.NoError(t, w.Step(e))
				}
				durable := w.Durable()
				e, err = h.Crash(e, rng)
				require.NoError(t, err)
				w.Verify(t, e, durable)
			}
			require.NoError(t, e.Close())
		})
	}
}

// Workload is a random series of numbered steps: batches over all families with and without a sync, syncs, and ingests.
// It knows what an engine must hold after each step. Step and Verify are called by one goroutine; Durable by any.
type Workload struct {
	rng    *rand.Rand
	first  int       // the number of the step that states[0] is the outcome of
	states []content // after each step since
	// halfway[i] is, after states[i], what an engine holds when a crash lets an ingest's data in and not its Also.
	halfway map[int]content
	durable atomic.Int64
}

// NewWorkload begins with an empty engine.
func NewWorkload(rng *rand.Rand) *Workload {
	return &Workload{rng: rng, states: []content{{}}, halfway: map[int]content{}}
}

// Durable is the number of the last step that must survive a crash from now on.
func (w *Workload) Durable() int { return int(w.durable.Load()) }

// The number of the last step is kept in the engine itself.
const stepKey = "step"

func (w *Workload) now() int { return len(w.states) - 1 }

// Step does the next thing. The error is the engine's.
func (w *Workload) Step(e engine.Engine) error {
	switch n := w.rng.IntN(20); {
	case n == 0:
		return w.promise(e.Sync())
	case n == 1:
		b := e.NewBatch()
		defer func() { _ = b.Close() }()
		return w.promise(b.Commit(true)) // empty, and yet a promise about all that came before
	case n == 2:
		return w.ingest(e)
	default:
		return w.batch(e, n < 8)
	}
}

// promise notes that everything up to now is durable.
func (w *Workload) promise(err error) error {
	if err == nil {
		w.durable.Store(int64(w.first + w.now()))
	}
	return err
}

func (w *Workload) batch(e engine.Engine, sync bool) error {
	b := e.NewBatch()
	defer func() { _ = b.Close() }()
	next := maps.Clone(w.states[w.now()])
	for range 1 + w.rng.IntN(8) {
		cf, key := w.cf(), w.key()
		switch w.rng.IntN(8) {
		case 0:
			b.Delete(cf, []byte(key))
			next.delete(cf, key)
		case 1:
			end := w.key()
			b.DeleteRange(cf, []byte(key), []byte(end))
			next.deleteRange(cf, key, end)
		default:
			value := strings.Repeat("v", w.rng.IntN(4000))
			b.Put(cf, []byte(key), []byte(value))
			next.put(cf, key, value)
		}
	}
	w.advance(b, next)
	err := b.Commit(sync)
	if sync {
		return w.promise(err)
	}
	return err
}

func (w *Workload) ingest(e engine.Engine) error {
	next := maps.Clone(w.states[w.now()])
	cf, start, end := w.cf(), w.key(), w.key()
	next.deleteRange(cf, start, end)
	fresh := content{}
	for range w.rng.IntN(10) {
		fresh.put(cf, w.key(), "ingested")
	}
	src := source()
	for _, key := range fresh.keys(cf, start, end) {
		src.list = append(src.list, key, "ingested")
		next.put(cf, key, "ingested")
	}
	w.halfway[w.now()] = maps.Clone(next)
	also := e.NewBatch()
	defer func() { _ = also.Close() }()
	w.advance(also, next)
	return w.promise(e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{cf: {Start: []byte(start), End: []byte(end)}},
		Open:    func(engine.CF) (engine.Source, error) { return src, nil },
		Also:    also,
	}))
}

// advance numbers the step, in the batch and in the model.
func (w *Workload) advance(b engine.Batch, next content) {
	step := strconv.Itoa(w.first + w.now() + 1)
	b.Put(engine.Local, []byte(stepKey), []byte(step))
	next.put(engine.Local, stepKey, step)
	w.states = append(w.states, next)
}

// The step's own key stays out of reach of ranges: those of Local are as good as those of the rest.
func (w *Workload) cf() engine.CF { return engine.DataCFs[w.rng.IntN(len(engine.DataCFs))] }
func (w *Workload) key() string   { return strconv.Itoa(w.rng.IntN(40)) }

// Verify checks what a crash has left: the state after some step, no earlier than the one that was durable. The
// workload goes on from there.
func (w *Workload) Verify(t require.TestingT, e engine.Engine, durable int) {
	found := contentOf(t, e)
	step := 0
	if s, ok := found[inFamily(engine.Local, stepKey)]; ok {
		var err error
		step, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, step, durable, "an acknowledged step is lost")
	require.LessOrEqual(t, step, w.first+w.now(), "a step that was never made")
	if half, ok := w.halfway[step-w.first]; !ok || !maps.Equal(half, found) {
		require.Equal(t, w.states[step-w.first], found, "a step is not whole, or not in order")
	}
	w.first, w.states, w.halfway = step, []content{found}, map[int]content{}
	w.durable.Store(int64(step))
}
