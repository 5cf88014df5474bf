package integration

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/shoaltest"
)

// A region that is busy beyond the threshold is divided, and so is its busier part: inside of the keys that are asked for, about in their middle, however
// small it is and however much else lies in it. Clients notice nothing.
func TestABusyRegionIsSplit(t *testing.T) {
	const hot = 1000
	c := shoaltest.Start(t, shoaltest.Stores(3), func(o *local.Options) {
		o.Config = config.NewTestConfig()
		o.Config.Split.QPSThreshold = 60
	})
	cli := connect(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for i := range 100 {
		require.NoError(t, cli.Put(ctx, fmt.Appendf(nil, "cold/%04d", i), []byte("v")))
	}

	var stop atomic.Bool
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop.Store(true)
	for w := range 4 {
		clients.Go(func() {
			written := make(map[int]string)
			for n := 0; !stop.Load() && !t.Failed(); n++ {
				i := (n*7919)%(hot/4)*4 + w // every key has one writer
				key := fmt.Appendf(nil, "hot/%04d", i)
				if n%4 == 0 {
					written[i] = fmt.Sprint(n)
					if err := cli.Put(ctx, key, []byte(written[i])); err != nil {
						t.Errorf("put: %v", err)
					}
				} else if got, err := cli.Get(ctx, key); err != nil || string(got) != written[i] {
					t.Errorf("%s holds %q, written was %q; %v", key, got, written[i], err)
				}
			}
		})
	}
	var found []string
	require.Eventually(t, func() bool { found = borders(t, c.PD()); return len(found) >= 2 }, 2*time.Minute, 200*time.Millisecond)
	for _, border := range found {
		var at int
		n, err := fmt.Sscanf(border, "hot/%04d", &at)
		require.True(t, err == nil && n == 1, "%q lies among the keys that are busy", border)
		require.True(t, at > hot/10 && at < hot*9/10, "%q is about in the middle", border)
	}
}

// borders are the keys at which regions begin, but the first.
func borders(t *testing.T, pd string) (keys []string) {
	var answer struct {
		Regions []struct {
			StartKey string `json:"start_key"`
		} `json:"regions"`
	}
	res, err := http.Get("http://" + pd + "/pd/api/v1/regions")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	for _, r := range answer.Regions {
		if key, err := hex.DecodeString(r.StartKey); err == nil && len(key) > 0 {
			keys = append(keys, string(key))
		}
	}
	return keys
}
