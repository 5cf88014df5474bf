package pebbledb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// A log that was closed in good order opens again wherever it ends: also where its last block has no room for another record and
// the mark of its end stands in the next block (S22: only damage is refused).
func TestClosedLogOpensWhereverItEnds(t *testing.T) {
	const overhead = 60 // what a batch of one pair and the log add to the value, about
	for left := range 100 {
		opts := Options{Dir: t.TempDir(), BlockCacheBytes: 1 << 20, MemTableBytes: 1 << 20}
		db, err := Open(opts)
		require.NoError(t, err)
		b := db.NewBatch()
		b.Put(engine.Default, []byte("k"), make([]byte, blockSize-overhead-left+20))
		require.NoError(t, b.Commit(true))
		require.NoError(t, b.Close())
		require.NoError(t, db.Close())
		db, err = Open(opts)
		require.NoError(t, err, "with %d", left)
		require.NoError(t, db.Close())
	}
}
