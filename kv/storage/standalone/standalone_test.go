package standalone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func onEveryEngine(t *testing.T, test func(t *testing.T, e engine.Engine)) {
	t.Run("memdb", func(t *testing.T) {
		e := memdb.New()
		test(t, e)
		require.NoError(t, e.Close())
	})
	t.Run("pebbledb", func(t *testing.T) {
		e, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir(), BlockCacheBytes: 1 << 20})
		require.NoError(t, err)
		test(t, e)
		require.NoError(t, e.Close())
	})
}

var ctx = context.Background()

func put(key, value string) storage.Modify {
	return storage.Modify{Op: storage.Put, Key: []byte(key), Value: []byte(value)}
}

func get(t *testing.T, s storage.Storage, cf engine.CF, key string) []byte {
	snap, err := storage.Snap(ctx, s, storage.Target{})
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	value, err := snap.Get(cf, []byte(key))
	require.NoError(t, err)
	return value
}

// A1, A2: batches, column families, and snapshots that do not see what comes later.
func TestReadYourWrites(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, e engine.Engine) {
		s := New(e, Options{Sync: true})
		defer s.Close()
		before, err := storage.Snap(ctx, s, storage.Target{RegionID: RegionID})
		require.NoError(t, err)
		require.Equal(t, uint64(RegionID), before.Region().Id)
		require.True(t, region.Contains(before.Region(), nil))
		require.Equal(t, uint64(1), before.Term())

		require.NoError(t, storage.Apply(ctx, s, storage.Target{}, before.Term(), []storage.Modify{
			put("a", "1"), put("b", "2"), put("c", ""),
			{Op: storage.Put, CF: engine.Write, Key: []byte("a"), Value: []byte("w")},
			{Op: storage.Delete, Key: []byte("b")},
		}))
		require.Equal(t, []byte("1"), get(t, s, engine.Default, "a"))
		require.Nil(t, get(t, s, engine.Default, "b"), "a later write of a batch overrides an earlier one")
		require.Equal(t, []byte{}, get(t, s, engine.Default, "c"))
		require.Equal(t, []byte("w"), get(t, s, engine.Write, "a"))
		value, err := before.Get(engine.Default, []byte("a"))
		require.NoError(t, err)
		require.Nil(t, value)
		require.NoError(t, before.Close())
	})
}

func TestDeleteRange(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, e engine.Engine) {
		s := New(e, Options{})
		defer s.Close()
		require.NoError(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{put("a", "1"), put("b", "1"), put("c", "1")}))
		require.NoError(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{{Op: storage.DeleteRange, Key: []byte("a"), Value: []byte("b")}}))
		require.Nil(t, get(t, s, engine.Default, "a"))
		require.NotNil(t, get(t, s, engine.Default, "b"))
		require.NoError(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{{Op: storage.DeleteRange, Key: []byte("b"), Value: []byte{}}}))
		require.Nil(t, get(t, s, engine.Default, "c"), "an empty end is the region's end")
	})
}

func TestUnknownRegion(t *testing.T) {
	e := memdb.New()
	s := New(e, Options{})
	defer s.Close()
	var unknown *region.NotFoundError
	_, err := storage.Snap(ctx, s, storage.Target{RegionID: 2})
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, uint64(2), unknown.RegionID)
	require.ErrorAs(t, storage.Apply(ctx, s, storage.Target{RegionID: 2}, 0, nil), &unknown)
}

func TestCancelledRequestIsNotTaken(t *testing.T) {
	s := New(memdb.New(), Options{})
	defer s.Close()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, storage.Apply(gone, s, storage.Target{}, 0, []storage.Modify{put("a", "1")}), context.Canceled)
	require.Nil(t, get(t, s, engine.Default, "a"))
}

// blockingEngine holds commits until told, and counts them.
type blockingEngine struct {
	engine.Engine
	commits chan chan error
}

func (e *blockingEngine) NewBatch() engine.Batch {
	return &blockingBatch{Batch: e.Engine.NewBatch(), engine: e}
}

type blockingBatch struct {
	engine.Batch
	engine *blockingEngine
}

func (b *blockingBatch) Commit(sync bool) error {
	verdict := make(chan error)
	b.engine.commits <- verdict
	if err := <-verdict; err != nil {
		return err
	}
	return b.Batch.Commit(sync)
}

// While one commit runs, the writes that wait become one batch; what does not fit into the queue is refused; Close performs what was queued.
func TestGroupCommitAndFullQueue(t *testing.T) {
	e := &blockingEngine{Engine: memdb.New(), commits: make(chan chan error)}
	s := New(e, Options{QueueLength: 10})
	var mu sync.Mutex
	var order []int
	write := func(i int) {
		s.Write(ctx, storage.Target{}, 0, []storage.Modify{put(fmt.Sprint(i), "v")}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			require.NoError(t, err)
			order = append(order, i)
		})
	}
	write(0)
	first := <-e.commits
	for i := 1; i <= 10; i++ {
		write(i)
	}
	var busy *region.ServerIsBusyError
	require.ErrorAs(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{put("11", "v")}), &busy)
	require.Positive(t, busy.Backoff)
	require.Contains(t, busy.Error(), "10 writes are waiting")

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Close()
	}()
	first <- nil
	second := <-e.commits
	mu.Lock()
	require.Equal(t, []int{0}, order)
	mu.Unlock()
	second <- nil // one commit for all ten
	<-closed
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, order)
	s.Close() // again is no harm

	var stopped *region.StoppedError
	require.ErrorAs(t, storage.Apply(ctx, s, storage.Target{}, 0, nil), &stopped)
	_, err := storage.Snap(ctx, s, storage.Target{})
	require.ErrorAs(t, err, &stopped)
}

// S22, S25: the writes of a failed commit are undetermined; later ones are rejected and never retried.
func TestFailedCommit(t *testing.T) {
	e := &blockingEngine{Engine: memdb.New(), commits: make(chan chan error)}
	s := New(e, Options{})
	defer s.Close()
	outcomes := make(chan error, 1)
	s.Write(ctx, storage.Target{}, 0, []storage.Modify{put("a", "1")}, func(err error) { outcomes <- err })
	onFire := errors.New("disk on fire")
	(<-e.commits) <- onFire
	err := <-outcomes
	require.ErrorIs(t, err, region.ErrUndetermined)
	require.ErrorContains(t, err, "disk on fire")

	err = storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{put("b", "1")}) // and no commit is tried
	require.ErrorIs(t, err, onFire)
	require.NotErrorIs(t, err, region.ErrUndetermined)
}

// A batch of the engine stays small whatever waits.
func TestBatchBytes(t *testing.T) {
	e := &blockingEngine{Engine: memdb.New(), commits: make(chan chan error)}
	s := New(e, Options{BatchBytes: 1})
	for _, key := range []string{"a", "b"} {
		s.Write(ctx, storage.Target{}, 0, []storage.Modify{put(key, "1")}, func(err error) { require.NoError(t, err) })
	}
	(<-e.commits) <- nil
	(<-e.commits) <- nil
	s.Close()
	require.NoError(t, e.Close())
}

// Only what has expired goes; a key that is written anew keeps its value, whichever side of the deletion the write is queued on.
func TestDeleteExpired(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, e engine.Engine) {
		s := New(e, Options{})
		defer s.Close()
		raw := func(key string, expiry uint64) storage.Modify {
			return storage.Modify{Op: storage.Put, Key: []byte(key), Value: keys.AppendRawValue(nil, nil, expiry)}
		}
		expire := func(key string) storage.Modify {
			return storage.Modify{Op: storage.DeleteExpired, Key: []byte(key), Value: keys.AppendBound(nil, 60)}
		}
		require.NoError(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{raw("a", 60), raw("b", 61), raw("c", 0), raw("d", 1), raw("e", 1)}))
		outcomes := make(chan error, 3)
		done := func(err error) { outcomes <- err }
		s.Write(ctx, storage.Target{}, 0, []storage.Modify{raw("d", 90)}, done)
		s.Write(ctx, storage.Target{}, 0, []storage.Modify{expire("a"), expire("b"), expire("c"), expire("d"), expire("e"), expire("absent")}, done)
		s.Write(ctx, storage.Target{}, 0, []storage.Modify{raw("e", 90)}, done)
		for range 3 {
			require.NoError(t, <-outcomes)
		}
		for key, stays := range map[string]bool{"a": false, "b": true, "c": true, "d": true, "e": true, "absent": false} {
			require.Equal(t, stays, get(t, s, engine.Default, key) != nil, key)
		}
		bad := storage.Modify{Op: storage.DeleteExpired, Key: []byte("a"), Value: []byte("soon")}
		require.ErrorContains(t, storage.Apply(ctx, s, storage.Target{}, 0, []storage.Modify{bad}), "bound of an expiry")
	})
}
