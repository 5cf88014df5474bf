package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// patience is how long anything of these tests may take on a busy machine.
const patience = time.Minute

// rig is a whole cluster of four stores, and commands that steer it.
type rig struct {
	*testing.T
	cluster *local.Cluster
}

func newRig(t *testing.T) rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts := local.Options{InMemory: true, Dir: t.TempDir(), Stores: 4}
	opts.Scheduler.MaxReplicas = 3
	c, err := local.Start(ctx, opts)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.WaitWhole(ctx))
	return rig{t, c}
}

func (r rig) try(line string) (string, error) {
	r.Helper()
	return run(r.T, append([]string{"--pd", r.cluster.PD(), "--timeout", "30s"}, strings.Fields(line)...)...)
}

// does runs a command that must succeed, and whose answer must have all the words.
func (r rig) does(line string, words ...string) string {
	r.Helper()
	out, err := r.try(line)
	require.NoError(r, err, line)
	for _, w := range words {
		require.Contains(r, out, w, line)
	}
	for l := range strings.Lines(out) {
		if strings.ContainsAny(l, "│┌") {
			require.LessOrEqual(r, len([]rune(strings.TrimRight(l, "\n"))), 100, "%s is too wide:\n%s", line, out)
		}
	}
	return out
}

// fails runs a command that must fail with all the words.
func (r rig) fails(line string, words ...string) {
	r.Helper()
	_, err := r.try(line)
	for _, w := range words {
		require.ErrorContains(r, err, w, line)
	}
}

// becomes repeats a command until its answer has a word.
func (r rig) becomes(line, word string) {
	r.Helper()
	out := ""
	require.Eventually(r, func() bool {
		var err error
		out, err = r.try(line)
		return err == nil && strings.Contains(out, word)
	}, patience, 50*time.Millisecond, "%s: %s in\n%s", line, word, out)
}

// ask reads a command's JSON.
func (r rig) ask(line string, into any) {
	r.Helper()
	require.NoError(r, json.Unmarshal([]byte(r.does(line+" -o json")), into), line)
}

// region is the one that holds a key. While it is divided there may be none for a moment (P4).
func (r rig) region(key string) (region pdapi.Region) {
	r.Helper()
	line := "region --key " + key + " -o json"
	for deadline := time.Now().Add(patience); ; {
		out, err := r.try(line)
		if err == nil {
			require.NoError(r, json.Unmarshal([]byte(out), &region), line)
			return region
		}
		if !strings.Contains(err.Error(), "not found") || time.Now().After(deadline) {
			require.NoError(r, err, line)
		}
	}
}

// free is a store that holds nothing of a region; 0 if there is none.
func (r rig) free(region pdapi.Region) uint64 {
	r.Helper()
	var stores []pdapi.Store
	r.ask("store", &stores)
	for _, s := range stores {
		if !slices.ContainsFunc(region.Peers, func(p pdapi.Peer) bool { return p.StoreID == s.Store.ID }) {
			return s.Store.ID
		}
	}
	return 0
}

func follower(region pdapi.Region) uint64 {
	for _, p := range region.Peers {
		if p.StoreID != region.Leader.StoreID {
			return p.StoreID
		}
	}
	return 0
}

// TestSteering has all that can be steered do its work, in a cluster in this process.
func TestSteering(t *testing.T) {
	r := newRig(t)
	r.Run("Regions", func(t *testing.T) { rig{t, r.cluster}.regions() })
	r.Run("Operators", func(t *testing.T) { rig{t, r.cluster}.operators() })
	r.Run("Schedulers", func(t *testing.T) { rig{t, r.cluster}.schedulers() })
	r.Run("Configuration", func(t *testing.T) { rig{t, r.cluster}.configuration() })
	r.Run("Placement", func(t *testing.T) { rig{t, r.cluster}.placement() })
	r.Run("Hot", func(t *testing.T) { rig{t, r.cluster}.hot() })
	r.Run("Completion", func(t *testing.T) { rig{t, r.cluster}.completion() })
	r.Run("Stores", func(t *testing.T) { rig{t, r.cluster}.stores() }) // at the end: it takes one away
}

func (r rig) regions() {
	r.does("scheduler pause all 10m") // what is done here must not be undone
	r.becomes("operator show", "nothing is being done")
	id := r.region("m").ID
	r.does(fmt.Sprintf("region split %d g p", id), "(first)", "g", "(last)")
	r.becomes("region scan g p", "│ p ")
	left, middle := r.region("a").ID, r.region("m")
	r.region("q") // the scheduler knows of all parts
	r.does("region", "(first)", "(last)")
	r.does(fmt.Sprintf("region %d", middle.ID), "'g'", "leader", "follower")
	r.does(fmt.Sprintf("region sibling %d", middle.ID), fmt.Sprint(left))
	r.does(fmt.Sprintf("region store %d", middle.Leader.StoreID), "(first)")
	r.does("region scan --prefix h", "g", "p")
	for _, by := range orderNames() {
		r.does("region top --limit 2 --by " + by)
	}
	for state := range checks() {
		r.does("region check " + state)
	}
	r.does("region check empty", "(first)") // there is nothing in any
	r.does("region check down-peer", "none")
	r.does("region check", "miss-peer", "hold next to nothing")
	r.does("region range g p", "g", "p")
	to := follower(r.region("m"))
	r.does(fmt.Sprintf("region transfer-leader %d %d --wait", middle.ID, to), "done in")
	r.fails(fmt.Sprintf("region scatter %d 99999", left), "regions are scattered", "region 99999 not found")
	r.becomes("operator show", "nothing is being done")
	r.becomes(fmt.Sprintf("region scatter %d", left), "on its way") // a leader of a moment ago may not have heard of its peers: not whole, for the scheduler
	r.becomes("operator show", "nothing is being done")
	r.does(fmt.Sprintf("region merge %d %d --wait", left, middle.ID))
	r.becomes(fmt.Sprintf("region %d", middle.ID), "''")

	r.fails("region sibling 99999", "there is no region 99999")
	r.fails("region top --by colour", "size, keys, read, write, confver, version")
	r.fails("region check colour", "miss-peer")
	r.fails("region scan --limit 0", "--limit is 0")
	r.fails("region scan --prefix a b", "--prefix needs START")
	r.fails(fmt.Sprintf("region transfer-leader %d 99999", middle.ID), "99999")
}

func (r rig) operators() {
	r.does("scheduler pause all 10m", "each scheduler is paused for 10m")
	r.becomes("operator show", "nothing is being done")
	region := r.region("m")
	for deadline := time.Now().Add(patience); len(region.Peers) > 3; region = r.region("m") { // one of its peers is still being moved
		require.Less(r, time.Now(), deadline, "%v", region.Peers)
	}
	id, spare := region.ID, r.free(region)
	r.does(fmt.Sprintf("operator add transfer-peer %d %d %d --wait", id, follower(region), spare), "done in")
	r.does(fmt.Sprintf("operator show %d", id), "success", "✓", fmt.Sprintf("store %d", spare))
	r.does("operator history", "success", fmt.Sprint(id))
	r.does(fmt.Sprintf("operator add split-region %d --key mm --wait", id))
	r.becomes("region --key mz", "'mm'")
	r.becomes(fmt.Sprintf("operator add scatter-region %d", id), "")
	r.becomes("operator show", "nothing is being done")

	region = r.region("mz")
	spare = r.free(region)
	stores := []string{fmt.Sprint(region.Leader.StoreID), fmt.Sprint(follower(region)), fmt.Sprint(spare)}
	r.does(fmt.Sprintf("operator add transfer-region %d %s --roles voter,leader,voter --wait", region.ID, strings.Join(stores, " ")))
	require.Eventually(r, func() bool { return fmt.Sprint(r.region("mz").Leader.StoreID) == stores[1] }, patience, 50*time.Millisecond)
	r.does(fmt.Sprintf("operator add remove-peer %d %d --wait", region.ID, spare))
	r.does("scheduler resume all", "each scheduler works")
	r.becomes("region check miss-peer", "none")
	require.Eventually(r, func() bool { // the schedulers may have begun to move one of its peers
		_, err := r.try(fmt.Sprintf("operator add add-learner %d %d --wait", region.ID, r.free(r.region("mz"))))
		return err == nil
	}, patience, 50*time.Millisecond)

	r.fails("operator cancel 99999", "region 99999 has no operator")
	r.fails("operator show 99999", "region 99999 has no operator")
	r.fails("operator show --kind colour", "leader")
	r.fails("operator history --since -1s", "must be above 0")
	r.fails(fmt.Sprintf("operator add add-peer %d 99999", id), "store 99999 not found")
	r.fails(fmt.Sprintf("operator add transfer-region %d 1 2 --roles leader", id), "--roles names 1 roles for 2 stores")
	r.fails("operator add add-peer x 1", `"x" is not an id`)
	r.fails("operator add transfer-leaders 1 2", "did you mean transfer-leader?")
}

func (r rig) schedulers() {
	r.does("scheduler show", schedule.BalanceLeader, schedule.BalanceRegion)
	store := r.region("m").Leader.StoreID
	r.does(fmt.Sprintf("scheduler add evict-leader %d", store), "lets a store lead nothing")
	r.becomes("scheduler show", "evict-leader-scheduler")
	require.Eventually(r, func() bool {
		var s pdapi.Store
		r.ask(fmt.Sprintf("store %d", store), &s)
		return s.Status.LeaderCount == 0
	}, patience, 50*time.Millisecond)
	r.fails(fmt.Sprintf("scheduler add evict-leader %d", store), "runs already")
	r.does("scheduler config evict-leader", fmt.Sprintf("│ %d ", store), "batch")
	var stores []pdapi.Store
	r.ask("store", &stores)
	other := stores[0].Store.ID
	if other == store {
		other = stores[1].Store.ID
	}
	r.does(fmt.Sprintf("scheduler config evict-leader add-store %d", other))
	r.does("scheduler show", list([]uint64{min(store, other), max(store, other)}))
	r.does(fmt.Sprintf("scheduler config evict-leader delete-store %d", other))
	r.does("scheduler config balance-leader batch 3")
	r.does("scheduler config balance-leader", "3")
	r.does("scheduler remove evict-leader", "is stopped")
	r.does("scheduler pause balance-region 90", "paused for 1m30s")
	r.does("scheduler show", "paused")
	r.does("scheduler resume balance-region-scheduler")

	r.fails("scheduler remove evict-leader", "no scheduler evict-leader-scheduler runs", "scheduler show")
	r.fails("scheduler add evict-leader", "needs the id of a store")
	r.fails("scheduler add balance-region 1", "works on all stores")
	r.fails("scheduler add colour", "balance-leader-scheduler")
	r.fails("scheduler pause balance-region soon", "at least 1s")
	r.fails("scheduler config balance-leader colour 1", "add-store, delete-store or batch")
	r.fails("scheduler pause colour 1m", "no scheduler colour-scheduler runs")
}

func (r rig) configuration() {
	r.does("config show", "max-replicas", "30m0s", "replicas of each region")
	r.does("config show --changed -o json")
	require.NotContains(r, r.does("config show replication", "max-replicas", "location-labels"), "leader-schedule-limit")
	r.fails("config set leader-schedule-limit many", `leader-schedule-limit cannot be "many"; it must be a whole number`)
	r.does("store limit 1", "15/min")
	r.fails("store limit 99999", "there is no store 99999")
	r.does("config set leader-schedule-limit 8", "leader-schedule-limit: 4 -> 8")
	r.does("config show limit --changed", "8 *")
	r.does("config set leader-schedule-limit 4", "8 -> 4")
	r.does("config set location-labels zone,host", "location-labels: '' -> zone,host")
	r.does("config set location-labels ,", "zone,host -> ''")
	r.does("config set enable-one-way-merge true", "false -> true")
	r.fails("config set max-replica 3", "did you mean max-replicas?")
	r.fails("config set enable-one-way-merge maybe", "true or false")
	r.fails("config set leader-schedule-policy colour", "count or size")
	r.fails("config set max-store-down-time soon", "such as 30m")
	r.fails("config set max-replicas 99", "between 1 and 15")
	r.fails("config show colour", "no key of the configuration has \"colour\"")
}

func (r rig) placement() {
	r.does("placement show", "pd/default", "3 voters")
	r.does("placement replicas --prefix x 4", "pd/replicas-x-y", "4 voters", "placement remove pd replicas-x-y")
	require.Eventually(r, func() bool {
		region := r.region("xx")
		return string(region.StartKey) == "x" && string(region.EndKey) == "y" && len(region.Peers) == 4
	}, patience, 50*time.Millisecond, "the range is a region of its own, and has its replicas")
	r.does("placement get --key xx", "replicas-x-y")
	r.does(fmt.Sprintf("placement get --region %d", r.region("xx").ID), "replicas-x-y")
	r.does("placement get --key a", "pd/default")
	r.does("placement replicas --prefix x 2", "2 voters")
	var rules []*placement.Rule
	r.ask("placement show", &rules)
	require.Len(r, rules, 2, "a range's rule is changed, not doubled")
	r.does("placement replicas x1 x2 1", "1 voter")
	r.does("placement get --key x15", "1 voter")
	r.does("placement remove pd replicas-x1-x2", "is removed")
	r.does("placement remove pd replicas-x-y")

	file := filepath.Join(r.TempDir(), "rules.json")
	require.NoError(r, os.WriteFile(file, []byte(`{"group_id":"g","id":"i","start_key":"61","end_key":"62","role":"learner","count":1,
		"label_constraints":[{"key":"disk","op":"in","values":["ssd","nvme"]}],"location_labels":["zone"]}`), 0o600))
	r.does("placement set "+file, "g/i", "1 learner", "disk=ssd|nvme", "zone")
	r.does("placement show g", "g/i")
	out, err := runWith(r.does("placement show g -o json"), "--pd", r.cluster.PD(), "placement", "set", "-")
	require.NoError(r, err, "what show writes, set reads")
	require.Contains(r, out, "g/i")
	r.does("placement remove g i")

	require.NoError(r, os.WriteFile(file, []byte(`[{"group_id":"g","id":"i","role":"voter","counts":1}]`), 0o600))
	r.fails("placement set "+file, `"counts"`, "count")
	require.NoError(r, os.WriteFile(file, []byte(`[{"group_id":"g","id":"i","role":"king","count":1}]`), 0o600))
	r.fails("placement set "+file, "voter, leader, follower or learner")
	r.fails("placement set /no/such/file", "no such file")
	r.fails("placement show colour", "no rule is of group colour")
	r.fails("placement remove pd colour", "there is no rule pd/colour")
	r.fails("placement get", "--region ID or --key KEY")
	r.fails("placement replicas x 3", "needs --prefix")
	r.fails("placement replicas x y many", "at least 1")
	r.fails("placement replicas y x 3", "not above")
}

func (r rig) hot() {
	r.does("hot read", "no region is hot by reads")
	r.does("hot write")
	r.does("hot store", "127.0.0.1", "/s")
	r.fails("hot read --limit 0", "--limit is 0")
}

func (r rig) completion() {
	for line, want := range map[string]string{
		"scheduler remove ":       schedule.BalanceRegion,
		"scheduler add ev":        schedule.EvictLeader,
		"scheduler pause ":        "all",
		"config set ":             "max-replicas\t3",
		"config show ":            "max-replicas",
		"placement show ":         "pd",
		"placement remove pd ":    "default",
		"store limit ":            "all\tevery store",
		"region check ":           "miss-peer\t",
		"region split ":           "\tfrom '", // any: while a region is divided, the scheduler may know of its other part alone (P4)
		"region top --by ":        "confver",
		"operator show --kind ":   "merge",
		"store limit 1 2 --only ": "add-peer",
	} {
		out, err := run(r.T, append([]string{cobra.ShellCompRequestCmd, "--pd", r.cluster.PD()}, strings.Split(line, " ")...)...)
		require.NoError(r, err)
		require.Contains(r, out, want, line)
	}
}

func (r rig) stores() {
	var stores []pdapi.Store
	r.ask("store", &stores)
	id := stores[3].Store.ID
	r.does(fmt.Sprintf("store label %d zone=z1 host=h1", id), "host=h1, zone=z1")
	r.does(fmt.Sprintf("store label %d host=", id), "labels zone=z1")
	r.does(fmt.Sprintf("store label %d disk=ssd --replace", id), "labels disk=ssd")
	r.does(fmt.Sprintf("store weight %d 2 3", id), "weight 2 for leaders and 3 for data")
	r.does(fmt.Sprintf("store limit %d 30", id), "30/min")
	r.does(fmt.Sprintf("store limit %d 31 --only add-peer", id))
	r.does("store limit", "31/min", "30/min", "15/min")
	r.does("store limit all 6000", "each store")
	r.does(fmt.Sprintf("store %d", id), "leaders 2, data 3", "disk=ssd", "6000 peers a minute may come")
	r.does("store", "disk=ssd")

	r.fails("store weight 1 -- -1 0", "is not negative")
	r.fails("store limit all 0", "above 0")
	r.fails("store limit 1 5 --only colour", "add-peer or remove-peer")
	r.fails(fmt.Sprintf("store label %d zone", id), "KEY=VALUE")
	r.fails(fmt.Sprintf("store label %d zone=1 zone=2", id), "given twice")
	r.fails("store delete 99999", "there is no store 99999")
	r.fails(fmt.Sprintf("store cancel-delete %d", id), "is not being drained; it is Up")

	r.does(fmt.Sprintf("store delete %d", id), "is being drained", "cancel-delete")
	r.does(fmt.Sprintf("store cancel-delete %d", id), "stays")
	r.does(fmt.Sprintf("store delete %d --wait", id), "is a tombstone after")
	require.NotContains(r, r.does("store"), "Tombstone")
	r.does("store list --all", "Tombstone")
	r.fails(fmt.Sprintf("store delete %d", stores[0].Store.ID), "2 while need 3", "start another store first")
	r.does("store remove-tombstone", "forgotten")
	require.NotContains(r, r.does("store list --all"), "Tombstone")
}

// TestEveryKeyHasAMeaning: what can be configured is explained, and nothing else is.
func TestEveryKeyHasAMeaning(t *testing.T) {
	names := append(schedule.DefaultConfig().Names(), "enable-placement-rules", "enable-placement-rules-cache")
	for _, name := range names {
		require.NotEmpty(t, configMeanings()[name].meaning, name)
		require.NotEmpty(t, configMeanings()[name].allowed, name)
	}
	require.Len(t, configMeanings(), len(names))
	for _, name := range schedule.KnownSchedulers() {
		require.NotEmpty(t, schedulerMeanings()[name], name)
	}
	require.Len(t, schedulerMeanings(), len(schedule.KnownSchedulers()))
}
