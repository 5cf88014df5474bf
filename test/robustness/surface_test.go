package robustness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tikvconfig "github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/test/rawmodel"
)

// The client library's whole raw surface against plain maps, while the store that leads is killed (SIGKILL, no goodbye) and started again, on each
// engine, on one replica and on three, with TTL mode and without.
//
// Of badger, what it is known to lose stays outside: an acknowledged write at the rotation of a value log (which this little data does
// not reach), and whatever a power cut or a damaged file takes. A killed process alone takes nothing from either engine.
func TestRawSurfaceUnderKills(t *testing.T) {
	quietClient()
	bin := buildBinary(t)
	for _, tc := range []struct {
		engine string
		stores int
		ttl    bool
	}{
		{config.EnginePebble, 1, true},
		{config.EnginePebble, 3, false},
		{config.EngineBadger, 1, false},
		{config.EngineBadger, 3, true},
	} {
		t.Run(fmt.Sprintf("%s-%d", tc.engine, tc.stores), func(t *testing.T) {
			c := startCluster(t, bin, tc.stores, "--config", configFile(t, tc.ttl), "--engine", tc.engine)
			client, err := rawkv.NewClient(context.Background(), []string{c.pd}, tikvconfig.DefaultConfig().Security)
			require.NoError(t, err)
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			var clock *rawmodel.Clock
			if tc.ttl {
				clock = &rawmodel.Clock{Now: func() int64 { return time.Now().Unix() }}
			}
			m := rawmodel.New(ctx, t, client.SetAtomicForCAS(true), 20261122, clock)
			c.drive(m)
		})
	}
}

// drive kills the leader time and again; a store that has company stays away for a while.
func (c *cluster) drive(m *rawmodel.Model) {
	const steps, cycle, away = 600, 200, 50
	region, victim := c.region(), 0
	for i := range steps {
		switch i % cycle {
		case away:
			victim = c.leader(region, 0)
			c.stores[victim].kill()
			if len(c.stores) == 1 {
				c.spawn(c.stores[victim])
			}
		case 2 * away:
			if len(c.stores) > 1 {
				c.spawn(c.stores[victim])
				c.waitCaughtUp(victim, region)
			}
		}
		m.Step(i)
	}
	require.Positive(c.t, m.Live())
	m.CheckAll()
}

// configFile makes raft quicker than usual, and reclaims all the time where there is something to reclaim.
func configFile(t *testing.T, ttl bool) string {
	cfg := config.NewTestConfig()
	cfg.Storage.EnableTTL = ttl
	cfg.Storage.TTLCheckPollInterval.Duration = 100 * time.Millisecond
	text, err := cfg.TOML()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "store.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
