package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/shoaltest"
)

// traffic is as the dashboard is told of it.
type traffic struct{ Read, Write struct{ Bytes, Keys float64 } }

func dashboard(t *testing.T, pd, path string, v any) {
	res, err := http.Get("http://" + pd + "/dashboard/api/" + path)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(v))
}

// What clients read and write comes to the scheduler with the reports of the region and of the store that serve it: written keys, keys that are read one by one, and those of
// scans.
func TestTrafficIsReported(t *testing.T) {
	c := shoaltest.Start(t, shoaltest.Stores(1))
	cli := connect(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	value := bytes.Repeat([]byte("v"), 1000)
	key := func(i int) []byte { return fmt.Appendf(nil, "key/%03d", i%100) }
	// until does something again and again until the region's and the store's traffic are as they shall be.
	until := func(do func(i int) error, want func(region, store traffic) bool, what string) {
		var region, store traffic
		for i := 0; !want(region, store); i++ {
			require.NoError(t, do(i), "%s; region: %+v, store: %+v", what, region, store)
			if i%100 != 0 {
				continue
			}
			var strip struct{ Hottest []traffic }
			var overview struct{ Stores []traffic }
			dashboard(t, c.PD(), "strip", &strip)
			dashboard(t, c.PD(), "overview", &overview)
			region, store = traffic{}, overview.Stores[0]
			if len(strip.Hottest) > 0 {
				region = strip.Hottest[0]
			}
		}
	}
	put := func(i int) error { return cli.Put(ctx, key(i), value) }
	scan := func(int) error { _, _, err := cli.Scan(ctx, nil, nil, 100); return err }
	get := func(i int) error { _, err := cli.Get(ctx, key(i)); return err }
	rest := func(int) error { return ctx.Err() }
	until(put, func(r, s traffic) bool { return r.Write.Bytes > 0 && s.Write.Bytes > 1000 && s.Write.Keys > 0 }, "written")
	until(scan, func(r, s traffic) bool { return r.Read.Bytes > 0 && s.Read.Bytes > 1000 && s.Read.Keys > 0 }, "scanned")
	until(rest, func(_, s traffic) bool { return s.Read.Bytes == 0 && s.Write.Bytes == 0 }, "silent again")
	until(get, func(_, s traffic) bool { return s.Read.Bytes > 1000 && s.Write.Bytes == 0 }, "read")
}
