// Package enginetest asks of every engine what package engine promises. An engine's own tests call Run (the contract, one
// clause a test), RunModel (comparison with a plain map), RunCrash (what a crash may take) and RunBenchmarks. What is not asked
// here must not be leant on above the seam.
package enginetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Harness makes the engines that are tested.
type Harness struct {
	// Open returns a new, empty engine.
	Open func() (engine.Engine, error)
	// Reopen closes the engine and opens its data again.
	Reopen func(engine.Engine) (engine.Engine, error)
	// OpenCheckpoint opens what Checkpoint of the engine wrote into dir.
	OpenCheckpoint func(e engine.Engine, dir string) (engine.Engine, error)
	// Limits are what the engine cannot hold; the zero value is an engine without limits.
	Limits Limits
}

// Limits says what an engine may refuse. What lies within must work, and what lies beyond must be refused with an error, with
// nothing of its batch applied, and the engine usable. 0 is no limit.
type Limits struct {
	// KeySize bounds a key, in bytes.
	KeySize int
}

// Run tests an engine against the contract.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"EmptyAndAbsentValues", testEmptyAndAbsent},
		{"AnyBytesAreKeys", testAnyBytesAreKeys},
		{"LargeKeysAndValues", testLargeKeysAndValues},
		{"LongestKeys", testLongestKeys},
		{"GetReturnsACopy", testGetReturnsACopy},
		{"FamiliesAreApart", testFamiliesAreApart},
		{"BatchOrder", testBatchOrder},
		{"BatchIsAtomic", testBatchIsAtomic},
		{"BatchLifecycle", testBatchLifecycle},
		{"BatchCopiesIn", testBatchCopiesIn},
		{"DeleteRange", testDeleteRange},
		{"IteratorDirections", testIteratorDirections},
		{"IteratorBounds", testIteratorBounds},
		{"IteratorOverManyKeys", testIteratorOverManyKeys},
		{"IteratorsAcrossWrites", testIteratorsAcrossWrites},
		{"SnapshotsOutliveDeletes", testSnapshotsOutliveDeletes},
		{"ApproximateSize", testApproximateSize},
		{"Ingest", testIngest},
		{"IngestEmptyAndOpenRanges", testIngestEmptyAndOpenRanges},
		{"IngestFailsWhole", testIngestFailsWhole},
		{"IngestDoesNotShowInSnapshots", testIngestAndSnapshots},
		{"Stage", testStage},
		{"StageRefuses", testStageRefuses},
		{"Pack", testPack},
		{"PackRefuses", testPackRefuses},
		{"Checkpoint", testCheckpoint},
		{"Reopen", testReopen},
		{"ClosedEngine", testClosedEngine},
		{"ConcurrentUse", testConcurrentUse},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := h.Open()
			require.NoError(t, err)
			f := &fixture{Harness: h, e: e}
			c.test(t, f)
			require.NoError(t, f.e.Close(), "every test closes what it opened, so nothing may be left")
		})
	}
}

// fixture is one engine under test.
type fixture struct {
	Harness
	e engine.Engine
}

func (f *fixture) reopen(t *testing.T) {
	e, err := f.Reopen(f.e)
	require.NoError(t, err)
	f.e = e
}

// write commits what fill puts into a batch.
func write(t require.TestingT, e engine.Engine, sync bool, fill func(engine.Batch)) {
	b := e.NewBatch()
	fill(b)
	require.NoError(t, b.Commit(sync))
	require.NoError(t, b.Close())
}

func put(t require.TestingT, e engine.Engine, cf engine.CF, pairs ...string) {
	write(t, e, false, func(b engine.Batch) {
		for i := 0; i < len(pairs); i += 2 {
			b.Put(cf, []byte(pairs[i]), []byte(pairs[i+1]))
		}
	})
}

// get answers "<none>" for an absent key.
func get(t require.TestingT, s engine.Snapshot, cf engine.CF, key string) string {
	v, err := s.Get(cf, []byte(key))
	require.NoError(t, err)
	if v == nil {
		return "<none>"
	}
	return string(v)
}

func getNow(t require.TestingT, e engine.Engine, cf engine.CF, key string) string {
	s := e.NewSnapshot()
	defer closeAll(t, s)
	return get(t, s, cf, key)
}

// scan lists "key=value" in order.
func scan(t require.TestingT, s engine.Snapshot, cf engine.CF, opts engine.IterOptions) []string {
	it, err := s.NewIterator(cf, opts)
	require.NoError(t, err)
	found := []string{}
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		found = append(found, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
	}
	require.NoError(t, it.Close())
	return found
}

func scanNow(t require.TestingT, e engine.Engine, cf engine.CF) []string {
	s := e.NewSnapshot()
	defer closeAll(t, s)
	return scan(t, s, cf, engine.IterOptions{})
}

func closeAll(t require.TestingT, closers ...interface{ Close() error }) {
	for _, c := range closers {
		require.NoError(t, c.Close())
	}
}

// pairs is a Source over keys and values, one after the other. It fails with err after the last, when err is set.
type pairs struct {
	list []string
	pos  int
	err  error
}

func source(list ...string) *pairs { return &pairs{list: list, pos: -2} }

func (p *pairs) Next() bool    { p.pos += 2; return p.pos < len(p.list) }
func (p *pairs) Key() []byte   { return []byte(p.list[p.pos]) }
func (p *pairs) Value() []byte { return []byte(p.list[p.pos+1]) }
func (p *pairs) Close() error  { return p.err }
