package reclaim

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/standalone"
	"github.com/shoal-kv/shoal/proto/region"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hooked lets a test come between a worker and its storage.
type hooked struct {
	storage.Storage
	hook atomic.Pointer[func(batch []storage.Modify, write func(), done func(error))]
}

// onWrite makes fn answer writes; it may call write to have them done.
func (h *hooked) onWrite(fn func(batch []storage.Modify, write func(), done func(error))) {
	h.hook.Store(&fn)
}

func (h *hooked) Write(ctx context.Context, at storage.Target, term uint64, batch []storage.Modify, done func(error)) {
	write := func() { h.Storage.Write(ctx, at, term, batch, done) }
	if fn := h.hook.Load(); fn != nil {
		(*fn)(batch, write, done)
		return
	}
	write()
}

// bed is a worker over one region, whose wall clock stands at now.
type bed struct {
	t       *testing.T
	storage *hooked
	now     atomic.Int64
	regions atomic.Pointer[[]*metapb.Region]
	worker  *Worker
	metrics *prometheus.Registry
}

func newBed(t *testing.T, interval time.Duration) *bed {
	e := memdb.New()
	s := standalone.New(e, standalone.Options{})
	b := &bed{t: t, storage: &hooked{Storage: s}, metrics: prometheus.NewRegistry()}
	b.now.Store(1000)
	b.lead(standalone.RegionID)
	b.worker = Start(Options{
		Storage: b.storage, Leading: func() []*metapb.Region { return *b.regions.Load() }, Wall: func() time.Time { return time.Unix(b.now.Load(), 0) },
		Interval: interval, Logger: zap.NewNop(), Metrics: b.metrics,
	})
	t.Cleanup(func() {
		b.worker.Close()
		s.Close()
		require.NoError(t, e.Close())
	})
	return b
}

// lead says which regions the store leads.
func (b *bed) lead(ids ...uint64) {
	var led []*metapb.Region
	for _, id := range ids {
		led = append(led, &metapb.Region{Id: id})
	}
	b.regions.Store(&led)
}

func put(cf engine.CF, key string, expiry uint64) storage.Modify {
	return storage.Modify{Op: storage.Put, CF: cf, Key: []byte(key), Value: keys.AppendRawValue(nil, []byte("v"), expiry)}
}

func (b *bed) write(batch ...storage.Modify) {
	require.NoError(b.t, storage.Apply(context.Background(), b.storage.Storage, storage.Target{}, 0, batch))
}

// stored counts what the engine has, whether it can be seen or not.
func (b *bed) stored(cf engine.CF) (found []string) {
	snap, err := storage.Snap(context.Background(), b.storage, storage.Target{})
	require.NoError(b.t, err)
	it, err := snap.NewIterator(cf, engine.IterOptions{KeyOnly: true})
	require.NoError(b.t, err)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		found = append(found, string(it.Key()))
	}
	require.NoError(b.t, it.Close())
	require.NoError(b.t, snap.Close())
	return found
}

// metric reads what an operator would see.
func (b *bed) metric(name string, label ...string) (sum float64) {
	families, err := b.metrics.Gather()
	require.NoError(b.t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (len(label) == 0 || m.Label[0].GetValue() == label[0]) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Over many pages and all families, exactly what has expired goes, as time passes.
func TestPassTakesWhatHasExpired(t *testing.T) {
	b := newBed(t, time.Hour)
	const n = 2*pageRows + 3
	for i := range n {
		for _, cf := range engine.DataCFs {
			b.write(put(cf, fmt.Sprintf("%05d", i), uint64(i%4)*500)) // never, 500, 1000, 1500
		}
	}
	for _, step := range []struct{ now, kept int64 }{{499, 4}, {1000, 2}, {1499, 2}, {1500, 1}, {1 << 40, 1}} {
		b.now.Store(step.now)
		require.Zero(t, b.worker.Pass(context.Background()))
		for _, cf := range engine.DataCFs {
			for _, key := range b.stored(cf) {
				i, err := strconv.Atoi(key)
				require.NoError(t, err)
				expiry := int64(i%4) * 500
				require.True(t, expiry == 0 || expiry > step.now, "%s at %d", key, step.now)
			}
			require.InDelta(t, n*step.kept/4, len(b.stored(cf)), 3)
		}
	}
	gone := float64(3*n - 3*len(b.stored(engine.Default)))
	require.Equal(t, gone, b.metric("tikv_ttl_expire_kv_count_total"))
	require.Positive(t, b.metric("tikv_ttl_expire_kv_size_total"))
	require.Equal(t, 1.0, b.metric("tikv_ttl_checker_processed_regions"))
}

// A key that is written anew after the worker has seen it expired, and before its deletion, keeps its value.
func TestRewrittenMeanwhile(t *testing.T) {
	b := newBed(t, time.Hour)
	b.write(put(engine.Default, "a", 10), put(engine.Default, "b", 10), put(engine.Default, "c", 10))
	b.storage.onWrite(func(batch []storage.Modify, write func(), _ func(error)) {
		require.Len(t, batch, 3)
		b.write(put(engine.Default, "b", 2000), put(engine.Default, "c", 0))
		write()
	})
	require.Zero(t, b.worker.Pass(context.Background()))
	require.Equal(t, []string{"b", "c"}, b.stored(engine.Default))
	b.storage.onWrite(func(batch []storage.Modify, _ func(), _ func(error)) { t.Errorf("nothing has expired: %v", batch) })
	require.Zero(t, b.worker.Pass(context.Background()))
}

// What one region refuses costs the others nothing, and is counted.
func TestRegionThatCannotBeReadIsLeft(t *testing.T) {
	b := newBed(t, time.Hour)
	b.write(put(engine.Default, "a", 10))
	b.lead(7, standalone.RegionID, 8)
	require.Equal(t, 2, b.worker.Pass(context.Background()))
	require.Empty(t, b.stored(engine.Default))
	require.Equal(t, 2.0, b.metric("tikv_ttl_checker_actions", "error"))

	b.write(put(engine.Default, "a", 10))
	b.storage.onWrite(func(_ []storage.Modify, _ func(), done func(error)) { done(&region.ServerIsBusyError{Reason: "full"}) })
	require.Equal(t, 3, b.worker.Pass(context.Background()), "a deletion that was refused is not done")
	require.Equal(t, 1.0, b.metric("tikv_ttl_expire_kv_count_total"))
}

// The loop, in virtual time: the first pass comes soon, then one each interval, sooner after one that left something out.
func TestWorkerPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 12*time.Hour)
		passed := func() float64 { return b.metric("tikv_ttl_expire_kv_count_total") }
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		b.write(put(engine.Default, "a", 10))
		wait(soon - time.Second)
		require.Zero(t, passed())
		wait(2 * time.Second)
		require.Equal(t, 1.0, passed())
		b.write(put(engine.Default, "a", 10))
		wait(12*time.Hour - 10*time.Second)
		require.Equal(t, 1.0, passed())
		b.lead(standalone.RegionID, 7)
		wait(10 * time.Second)
		require.Equal(t, 2.0, passed())
		b.write(put(engine.Default, "a", 10))
		wait(soon + time.Second)
		require.Equal(t, 3.0, passed(), "region 7 was left out")
	})
}

// A region without a quorum holds up neither the pass for ever nor Close.
func TestWorkerDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Hour)
		b.write(put(engine.Default, "a", 10))
		b.storage.onWrite(func([]storage.Modify, func(), func(error)) {}) // no answer, ever
		require.Equal(t, 1, b.worker.Pass(context.Background()))
		<-time.After(soon + time.Second) // now it waits for the answer
		begin := time.Now()
		b.worker.Close()
		require.Zero(t, time.Since(begin))
	})
}

// The rate is bounded: so many rows take so many seconds.
func TestRateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, time.Hour)
		const n = 4 * pageRows
		for i := range n {
			b.write(put(engine.Write, fmt.Sprintf("%05d", i), 0))
		}
		begin := time.Now()
		require.Zero(t, b.worker.Pass(context.Background()))
		require.InDelta(t, float64(n)/rowsPerSecond, time.Since(begin).Seconds(), 0.001)
	})
}
