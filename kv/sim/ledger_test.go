package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// A ledger that follows writes knows at every time what one knows that counts everything anew.
func TestLedgerFollows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	db := memdb.New()
	l := newLedger(db)
	w := world.New(1, world.NewTrace(nil))
	e := &traced{Engine: db, trace: w.Trace, p: w.NewProcess(1, "p"), d: newDisk(w, "d"), name: 'S', ledger: l}
	bounds := [][]byte{nil, []byte("f"), []byte("m"), nil}
	key := func() []byte { return []byte{byte('a' + rng.IntN(26)), byte('a' + rng.IntN(2))} }
	seen := map[uint64]bool{}
	for range 500 {
		b := e.NewBatch()
		for range 1 + rng.IntN(4) {
			cf := engine.DataCFs[rng.IntN(len(engine.DataCFs))]
			switch from, to := key(), key(); rng.IntN(8) {
			case 0:
				b.DeleteRange(cf, from, to)
			case 1, 2:
				b.Delete(cf, from)
			case 3:
				b.Put(engine.Local, from, to)
			default:
				b.Put(cf, from, to)
			}
		}
		if rng.IntN(10) == 0 { // an ingestion that fails leaves what it had, and takes nothing of what was to be committed also
			broken := func(engine.CF) (engine.Source, error) { return nil, errIO }
			require.ErrorIs(t, e.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Default: {Start: key(), End: nil}}, Open: broken, Also: b}), errIO)
		} else {
			require.NoError(t, b.Commit(rng.IntN(2) == 0))
		}
		for i := range len(bounds) - 1 {
			sum := l.sum(bounds[i], bounds[i+1])
			require.Equal(t, newLedger(db).sum(bounds[i], bounds[i+1]), sum)
			seen[sum] = true
		}
		if rng.IntN(20) == 0 {
			bounds[1] = key()[:1] // ranges change
			if string(bounds[1]) >= "m" {
				bounds[1] = []byte("c")
			}
		}
	}
	require.Greater(t, len(seen), 500)
}
