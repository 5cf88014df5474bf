package integration

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/badgerdb"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/shoaltest"
	"github.com/shoal-kv/shoal/test/rawmodel"
)

type rawOption = rawkv.RawOption

// The client library's whole raw surface in TTL mode, with a clock that the test moves, against plain maps: on every engine, on one
// replica and on three, while a store stops and starts and expired values are reclaimed. Package robustness does it with kills.
func TestRawSurfaceAgainstModel(t *testing.T) {
	for _, engine := range []string{config.EnginePebble, config.EngineBadger} {
		for _, stores := range []int{1, 3} {
			t.Run(fmt.Sprint(engine, "-", stores), func(t *testing.T) {
				second := &atomic.Int64{}
				second.Store(1_800_000_000)
				c := shoaltest.Start(t, shoaltest.Stores(stores), shoaltest.OnDisk(), withTTL(engine, second))
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
				defer cancel()
				clock := &rawmodel.Clock{Now: second.Load, Advance: func(s int64) { second.Add(s) }}
				m := rawmodel.New(ctx, t, connect(t, c).SetAtomicForCAS(true), 20261121, clock)
				for i := range 1000 {
					victim := i / 200 % stores
					if i%200 == 50 {
						c.StopStore(victim)
					}
					if i%200 == 100 || (stores == 1 && i%200 == 50) { // a lone store is back before anybody can miss it
						c.StartStore(victim)
					}
					m.Step(i)
				}
				require.Positive(t, m.Live())
				m.CheckAll()
			})
		}
	}
}

// withTTL makes stores of that engine in TTL mode that judge by the given second and reclaim all the time.
func withTTL(name string, second *atomic.Int64) shoaltest.Option {
	return func(o *local.Options) {
		o.Config = config.NewTestConfig()
		o.Config.Storage.Engine = name
		o.Config.Storage.EnableTTL = true
		o.Config.Storage.TTLCheckPollInterval.Duration = 20 * time.Millisecond
		o.NodeOptions = []node.Option{
			node.WithEngine(config.EngineBadger, openBadger),
			node.WithWall(func() time.Time { return time.Unix(second.Load(), 0) }),
		}
	}
}

// openBadger keeps its memtables small: six of its engines share this process.
func openBadger(dir string, cacheBytes int64, _ *config.Config, logger *zap.Logger, onFatal func(error)) (engine.Engine, func() uint64, error) {
	db, err := badgerdb.Open(badgerdb.Options{Dir: dir, BlockCacheBytes: cacheBytes, Logger: logger, OnFatal: onFatal, MemTableBytes: 4 << 20})
	if err != nil {
		return nil, nil, err
	}
	return db, db.DiskBytes, nil
}
