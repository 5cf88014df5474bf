package ctl

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/local"
)

// Two of three stores are lost for good, and a person has the data back: the plan changes nothing, its application is safe to repeat, every write that was
// acknowledged is there, and writes go on.
func TestRecoverTheLossOfTwoStoresOfThree(t *testing.T) {
	c, err := local.Start(t.Context(), local.Options{InMemory: true, Dir: t.TempDir()})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WaitWhole(t.Context()))
	ctl := func(args ...string) (string, error) {
		return run(t, append([]string{"--pd", c.PD(), "--timeout", "30s"}, args...)...)
	}
	for i := range 10 {
		_, err := ctl("kv", "put", fmt.Sprintf("k%d", i), "v")
		require.NoError(t, err)
	}
	nothing := filepath.Join(t.TempDir(), "nothing.json")
	out, err := ctl("recover", "plan", nothing, "-o", "json")
	require.NoError(t, err)
	require.Contains(t, out, `"rescues": []`)
	_, err = ctl("recover", "plan", nothing)
	require.Error(t, err, "a plan is not overwritten")

	require.NoError(t, c.StopStore(1))
	require.NoError(t, c.StopStore(2))
	plan := filepath.Join(t.TempDir(), "plan.json")
	_, err = ctl("recover", "plan", plan, "--timeout", "3s")
	require.ErrorContains(t, err, "--lost-stores", "nobody is given up without being named")
	lost := idsOfStores(t, ctl, c.Addrs()[1:])
	require.Eventually(t, func() bool { // a store is Up until it has been silent for a while
		out, err = ctl("recover", "plan", "--lost-stores", lost, plan)
		return err == nil
	}, time.Minute, 200*time.Millisecond)
	require.Contains(t, out, "writes that the lost stores acknowledged after entry")
	require.Eventually(t, func() bool {
		_, err = ctl("recover", "apply", plan)
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	_, err = ctl("recover", "apply", plan)
	require.NoError(t, err, "again")
	for i := range 10 {
		out, err := ctl("kv", "get", fmt.Sprintf("k%d", i))
		require.NoError(t, err)
		require.Contains(t, out, "v")
	}
	_, err = ctl("kv", "put", "more", "w")
	require.NoError(t, err)
}

// idsOfStores are the ids of the stores at these addresses, as a flag takes them.
func idsOfStores(t *testing.T, ctl func(...string) (string, error), addrs []string) string {
	t.Helper()
	out, err := ctl("store", "-o", "json")
	require.NoError(t, err)
	var stores []pdapi.Store
	require.NoError(t, json.Unmarshal([]byte(out), &stores))
	var ids []string
	for _, s := range stores {
		if slices.Contains(addrs, s.Store.Address) {
			ids = append(ids, strconv.FormatUint(s.Store.ID, 10))
		}
	}
	require.Len(t, ids, len(addrs))
	return strings.Join(ids, ",")
}
