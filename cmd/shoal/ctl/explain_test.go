package ctl

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/local"
)

// troubled is a cluster that trouble is made for.
func troubled(t *testing.T, stores int) rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts := local.Options{InMemory: true, Dir: t.TempDir(), Stores: stores}
	opts.Scheduler.MaxReplicas = 3
	c, err := local.Start(ctx, opts)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.WaitWhole(ctx))
	return rig{t, c}
}

// explains waits until an explanation has all the words, and returns it.
func (r rig) explains(line string, words ...string) string {
	r.Helper()
	out, missing := "", ""
	has := func() bool {
		var err error
		if out, err = r.try("explain " + line); err != nil {
			missing = err.Error()
			return false
		}
		plain := strings.Join(strings.Fields(out), " ")
		at := slices.IndexFunc(words, func(w string) bool { return !strings.Contains(plain, w) })
		if at >= 0 {
			missing = words[at]
		}
		return at < 0
	}
	for end := time.Now().Add(patience); !has(); {
		require.True(r, time.Now().Before(end), "explain %s: %s is not in\n%s", line, missing, out)
		runtime.Gosched()
	}
	for l := range strings.Lines(out) {
		require.LessOrEqual(r, len([]rune(strings.TrimRight(l, "\n"))), 110, "too wide:\n%s", out)
	}
	r.Logf("$ shoal ctl explain %s\n%s", line, out)
	return out
}

// storeID is the id of the i-th store.
func (r rig) storeID(i int) uint64 {
	r.Helper()
	var stores []pdapi.Store
	r.ask("store", &stores)
	for _, s := range stores {
		if s.Store.Address == r.cluster.Addrs()[i] {
			return s.Store.ID
		}
	}
	require.FailNow(r, "no such store")
	return 0
}

// TestExplainLostStores stops one store of three, then another: the region is first not as safe as it should be, then unavailable. Both come back.
func TestExplainLostStores(t *testing.T) {
	r := troubled(t, 3)
	region := r.region("a").ID
	r.explains("key a", fmt.Sprintf("Region %d, from (first) to (last), is well", region), "Nothing need be done.")
	first, second := r.storeID(1), r.storeID(2)

	require.NoError(t, r.cluster.StopStore(1))
	at := fmt.Sprintf("region %d", region)
	r.explains(at, "does not tell of its replica", "is available", fmt.Sprintf("What to do: start store %d again if it does not run", first))
	r.explains(at, fmt.Sprintf("Store %d (%s), which has one of its replicas, is Disconnected", first, r.cluster.Addrs()[1]), "does not report (since ", "s ago).",
		"max-store-down-time (30m0s) says; then it is replaced (until ", "is available: store", "What to do: start store "+fmt.Sprint(first)+" again. If it is lost, nothing need be done")
	r.does("config set max-store-down-time 21s")
	r.explains(at, fmt.Sprintf("The replica on store %d is to be replaced", first), "and 2 can be counted on: no store can take another: every store holds one already (since ", "Start another store.")
	r.does("config set max-store-down-time 30m")

	require.NoError(t, r.cluster.StopStore(2))
	r.explains(at, "Too few of its replicas answer", "is unavailable")
	r.explains(at, "It has lost its majority: of its 3 replicas 2 are on stores that do not report", "(since ", "is unavailable",
		fmt.Sprintf("start one of the stores %d, %d again", min(first, second), max(first, second)),
		fmt.Sprintf("recover plan --lost-stores %d,%d recover.json", min(first, second), max(first, second)))
	r.explains("balance", "Disconnected")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, r.cluster.StartStore(ctx, 1))
	require.NoError(t, r.cluster.StartStore(ctx, 2))
	r.explains(at, "is well", "Nothing need be done.")

	r.fails("explain region 99999", "region 99999 is not known")
	var a explainedRegion
	r.ask("explain "+at, &a)
	require.Equal(t, region, a.Region.ID)
	require.NotZero(t, a.Leads)
	require.Empty(t, a.Do)
}

// TestExplainRules: a rule that no store can serve, which a label mends; and regions that are kept from merging.
func TestExplainRules(t *testing.T) {
	r := troubled(t, 4)
	region := r.region("a")
	spare := r.free(region)
	file := filepath.Join(t.TempDir(), "rule.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"group_id":"g","id":"ssd","role":"learner","count":1,
		"label_constraints":[{"key":"disk","op":"in","values":["ssd"]}]}`), 0o600))
	r.does("placement set " + file)
	r.explains(fmt.Sprintf("region %d", region.ID), "Rule g/ssd asks for 1 learner on stores with disk in ssd, and 0 can be counted on", "(since ",
		fmt.Sprintf("store %d: its labels do not meet the rule's constraints", spare), "What to do: label a store as the rule asks")
	r.explains("balance", "1 region ("+fmt.Sprint(region.ID)+") waits: rule g/ssd lacks 1 peers")
	r.does(fmt.Sprintf("store label %d disk=ssd", spare))
	r.explains(fmt.Sprintf("region %d", region.ID), "is well")

	r.does(fmt.Sprintf("region split %d m", region.ID))
	r.explains("key x", "is not merged with a neighbour", "split-merge-interval (1h0m0s)", "Nothing need be done.")
}

// TestExplainBalance: leaders that all are on one store stay there while the scheduler is paused, removed or limited to nothing, or the others are kept from
// leading; each is mended, and then they spread.
func TestExplainBalance(t *testing.T) {
	r := troubled(t, 3)
	r.does("scheduler pause all 10m")
	r.does(fmt.Sprintf("region split %d b c d e f g h", r.region("a").ID))
	for _, key := range strings.Split("b c d e f g h", " ") {
		r.becomes("region scan a z", "│ "+key+" ")
	}
	store := r.region("a").Leader.StoreID
	for _, key := range strings.Split("a b c d e f g h", " ") {
		require.Eventually(t, func() bool {
			region := r.region(key)
			if region.Leader != nil && region.Leader.StoreID == store {
				return true
			}
			_, _ = r.try(fmt.Sprintf("region transfer-leader %d %d --wait", region.ID, store)) // asked again until it is so
			return false
		}, patience, 50*time.Millisecond)
	}
	uneven := "Leaders are spread unevenly"
	r.explains("balance", uneven, fmt.Sprintf("store %d leads 8 regions", store), "balance-leader-scheduler is paused (until ", "scheduler resume balance-leader`")
	r.does("config set leader-schedule-limit 0")
	r.does("scheduler resume all")
	r.explains("balance", uneven, "leader-schedule-limit is 0", "config set leader-schedule-limit 4`")
	r.does("scheduler remove balance-leader")
	r.does("config set leader-schedule-limit 4")
	r.explains("balance", uneven, "balance-leader-scheduler does not run", "scheduler add balance-leader`")
	r.does("config set halt-scheduling true")
	r.does("scheduler add balance-leader")
	r.explains("balance", uneven, "halt-scheduling is true", "config set halt-scheduling false`")
	r.explains("key a", "halt-scheduling is true")
	for i := range 3 {
		if id := r.storeID(i); id != store {
			r.does(fmt.Sprintf("scheduler add evict-leader %d", id))
		}
	}
	r.does("config set halt-scheduling false")
	r.explains("balance", uneven, "gets no leaders: its leaders are evicted (evict-leader-scheduler)", "scheduler remove evict-leader-scheduler-")
	r.does(fmt.Sprintf("scheduler add evict-leader %d", store))
	r.explains("key a", fmt.Sprintf("Store %d leads it and is not to: its leaders are evicted", store), "No other can take the lead")
	r.does("scheduler remove evict-leader")
	r.explains("balance", "Leaders and data are even enough", "Nothing need be done.")
}

// TestExplainDamage: a replica is marked to be rebuilt while it is cut off from the others, so that it stays as it is until the network is whole again.
func TestExplainDamage(t *testing.T) {
	r := troubled(t, 3)
	region := r.region("a")
	cut := slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return r.storeID(i) == follower(region) })
	rest := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == cut })
	require.NoError(t, r.cluster.Partition(rest, []int{cut}))
	api, err := pdapi.New(r.cluster.PD())
	require.NoError(t, err)
	servers, err := findStatusServers(t.Context(), api)
	require.NoError(t, err)
	store := r.storeID(cut)
	require.NoError(t, servers.call(t.Context(), http.MethodPost, store, fmt.Sprintf("/region/%d/rebuild", region.ID), nil))
	r.explains("key a", fmt.Sprintf("The replica on store %d is damaged and serves nobody", store), ", damaged", "is available",
		fmt.Sprintf("Look at the disk of store %d", store))
	r.cluster.Heal()
	r.explains("key a", "is well", "Nothing need be done.")
}

// TestExplainDamageOfAll: a byte of a table is flipped, and there is no other replica.
func TestExplainDamageOfAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	c, err := local.Start(ctx, local.Options{Dir: dir, Stores: 1})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WaitWhole(ctx))
	r := rig{t, c}
	fill(t, ctx, c)
	require.NoError(t, c.StopStore(0))
	require.NoError(t, c.StartStore(ctx, 0)) // moves what was in the engine's log into a table
	require.NoError(t, c.StopStore(0))
	flipInLargestTable(t, filepath.Join(dir, "store-1", "kv"))
	require.NoError(t, c.StartStore(ctx, 0))
	require.Eventually(t, func() bool {
		_, err := run(t, "--pd", c.PD(), "--timeout", "1s", "kv", "scan")
		return err != nil
	}, patience, 10*time.Millisecond, "the damage is met")
	r.explains("key key000", "is unavailable", "is damaged and serves nobody", "restore it from a backup")
}
