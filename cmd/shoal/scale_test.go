package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func (c *cluster) stores() []pdapi.Store {
	c.t.Helper()
	var stores []pdapi.Store
	require.NoError(c.t, json.Unmarshal([]byte(must(c.t, "ctl", "--pd", c.pd, "store", "-o", "json")), &stores))
	return stores
}

// A playground of real processes grows by a store, gives one up, and goes on in its directory with those that are left; no key is lost.
func TestThePlaygroundIsScaled(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // for the socket: no other playground is found
	dir := filepath.Join(t.TempDir(), "cluster")
	c := startCluster(t, dir)
	ctl := func(args ...string) string { return must(t, append([]string{"ctl", "--pd", c.pd}, args...)...) }
	for i := range 10 {
		ctl("kv", "put", fmt.Sprintf("k%d", i), "v")
	}
	ctl("config", "set", "store-limit-add-peer", "6000")
	ctl("config", "set", "store-limit-remove-peer", "6000")
	out := must(t, "playground", "scale-out", "--kv", "1")
	require.Regexp(t, `store-4 is up at \S+ as store \d+`, out)
	require.Len(t, c.stores(), 4)

	leaving := c.stores()[0].Store.ID
	out = must(t, "playground", "scale-in", "--store", fmt.Sprint(leaving))
	require.Regexp(t, `was drained in .* and is stopped`, out)
	name := c.waitFor(`(?m)^(store-\d) was removed, and its data$`)[1]
	require.NoDirExists(t, filepath.Join(dir, name))
	require.NotContains(t, must(t, "playground", "display"), name)
	require.NotContains(t, c.printed(), "died")
	for i := range 10 {
		require.Contains(t, ctl("kv", "get", fmt.Sprintf("k%d", i)), "v")
	}
	require.Len(t, c.stores(), 3)
	pid := 0
	for line := range strings.Lines(must(t, "playground", "display")) {
		if strings.Contains(line, "store-4") {
			_, err := fmt.Sscan(strings.Split(line, "│")[2], &pid)
			require.NoError(t, err)
		}
	}
	require.NoError(t, syscall.Kill(pid, 0))
	c.stop()
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "a store that was added ends with the others")

	c = startCluster(t, dir)
	require.Contains(t, c.printed(), "store-4 has data")
	require.Eventually(t, func() bool { return len(c.stores()) == 4 }, time.Minute, 100*time.Millisecond)
	require.Contains(t, ctl("kv", "get", "k7"), "v")
	c.stop()
}
