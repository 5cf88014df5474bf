package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoal-kv/shoal/shoaltest"
)

var rewrite = flag.Bool("rewrite", false, "write docs/metrics.md")

// TestEveryMetricOfTheBoards walks the names that the family's boards and alerts ask for: each is shown by a real store or scheduler, or has a reason
// not to be. The list is docs/metrics.md.
func TestEveryMetricOfTheBoards(t *testing.T) {
	c := shoaltest.Start(t, shoaltest.Stores(4), shoaltest.OnDisk())
	use(t, c)
	names := boardNames(t)
	var pages map[string]string // by service
	shows := func() bool {
		pages = map[string]string{"store": storePages(t, c), "scheduler": page(t, c.PD()+"/metrics")}
		return len(missing(names, pages)) == 0
	}
	for deadline := time.Now().Add(time.Minute); !shows(); {
		require.True(t, time.Now().Before(deadline), "not shown, and without a reason: %s", missing(names, pages))
	}
	var shownThough []string
	for name := range noCounterpart {
		require.Contains(t, names, name, "no board asks for %s", name)
		for _, p := range pages {
			if shown(p, name) {
				shownThough = append(shownThough, name)
			}
		}
	}
	require.Empty(t, shownThough, "shown, though there is a reason not to")
	const file = "../../docs/metrics.md"
	text := metricsPage(names, pages)
	if *rewrite {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, text, string(written), "`make docs` writes docs/metrics.md anew")
}

// use does something of everything that is counted.
func use(t *testing.T, c *shoaltest.Cluster) {
	cli := connect(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 50 {
		require.NoError(t, cli.Put(ctx, fmt.Appendf(nil, "k%02d", i), []byte(strings.Repeat("v", 1000))))
	}
	_, err := cli.Get(ctx, []byte("k01"))
	require.NoError(t, err)
	_, _, err = cli.SetAtomicForCAS(true).CompareAndSwap(ctx, []byte("cas"), nil, []byte("1"))
	require.NoError(t, err)
	id, peers, leader := wholeRegion(t, c)
	free := uint64(1)
	for slices.Contains(peers, free) || !hasStore(t, c, free) {
		free++
	}
	from := peers[0]
	if from == leader {
		from = peers[1]
	}
	operate(t, c, fmt.Sprintf(`{"name":"transfer-peer","region_id":%d,"from_store_id":%d,"to_store_id":%d}`, id, from, free))
	operate(t, c, fmt.Sprintf(`{"name":"scatter-regions","region_ids":[%d],"group":"g"}`, id))
	post(t, c, "/store/1/label", `{"zone":"z1"}`)
	askForTimeAndRegions(t, ctx, c)
	c.StopStore(3)
	require.Eventually(t, func() bool {
		return strings.Contains(storePages(t, c), "tikv_server_report_failure_msg_total{")
	}, time.Minute, 100*time.Millisecond)
	c.StartStore(3)
	drainForGood(t, c)
}

// drainForGood begins to drain a store that has a replica, and lets nothing be moved any more: the store stays as it is.
func drainForGood(t *testing.T, c *shoaltest.Cluster) {
	require.Equal(t, http.StatusOK, post(t, c, "/config", `{"schedule.halt-scheduling":"true"}`))
	_, stores, _ := wholeRegion(t, c)
	req, err := http.NewRequest(http.MethodDelete, fmt.Sprintf("http://%s/pd/api/v1/store/%d", c.PD(), stores[0]), nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// askForTimeAndRegions asks as only newer clients do, over streams.
func askForTimeAndRegions(t *testing.T, ctx context.Context, c *shoaltest.Cluster) {
	conn, err := grpc.NewClient(c.PD(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	pd := pdpb.NewPDClient(conn)
	members, err := pd.GetMembers(ctx, &pdpb.GetMembersRequest{})
	require.NoError(t, err)
	header := &pdpb.RequestHeader{ClusterId: members.GetHeader().GetClusterId()}
	times, err := pd.Tso(ctx)
	require.NoError(t, err)
	require.NoError(t, times.Send(&pdpb.TsoRequest{Header: header, Count: 3}))
	_, err = times.Recv()
	require.NoError(t, err)
	regions, err := pd.QueryRegion(ctx)
	require.NoError(t, err)
	require.NoError(t, regions.Send(&pdpb.QueryRegionRequest{Header: header, Keys: [][]byte{[]byte("a")}}))
	_, err = regions.Recv()
	require.NoError(t, err)
}

func post(t *testing.T, c *shoaltest.Cluster, path, body string) int {
	res, err := http.Post("http://"+c.PD()+"/pd/api/v1"+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	return res.StatusCode
}

// operate asks for an operator until it is taken, and waits until the region has none.
func operate(t *testing.T, c *shoaltest.Cluster, body string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return post(t, c, "/operators", body) == http.StatusOK
	}, time.Minute, 50*time.Millisecond, body)
	require.Eventually(t, func() bool {
		return strings.TrimSpace(page(t, c.PD()+"/pd/api/v1/operators")) == "[]"
	}, time.Minute, 20*time.Millisecond, body)
}

// wholeRegion waits until the region has three voters that are well.
func wholeRegion(t *testing.T, c *shoaltest.Cluster) (id uint64, stores []uint64, leader uint64) {
	var list struct {
		Regions []struct {
			ID    uint64 `json:"id"`
			Peers []struct {
				Store uint64 `json:"store_id"`
				Role  string `json:"role_name"`
			} `json:"peers"`
			Leader struct {
				Store uint64 `json:"store_id"`
			} `json:"leader"`
			Pending []any `json:"pending_peers"`
		} `json:"regions"`
	}
	require.Eventually(t, func() bool {
		list.Regions = nil
		require.NoError(t, json.Unmarshal([]byte(page(t, c.PD()+"/pd/api/v1/regions")), &list))
		r := list.Regions[0]
		stores = nil
		for _, p := range r.Peers {
			if p.Role == "Voter" {
				stores = append(stores, p.Store)
			}
		}
		id, leader = r.ID, r.Leader.Store
		return len(stores) == 3 && len(r.Peers) == 3 && len(r.Pending) == 0
	}, time.Minute, 50*time.Millisecond)
	return id, stores, leader
}

func hasStore(t *testing.T, c *shoaltest.Cluster, id uint64) bool {
	_, ok := storeAddresses(t, c)[id]
	require.Less(t, id, uint64(1000), "no store is free")
	return ok
}

// storeAddresses are where the stores' status servers are.
func storeAddresses(t *testing.T, c *shoaltest.Cluster) map[uint64]string {
	var list struct {
		Stores []struct {
			Store struct {
				ID     uint64 `json:"id"`
				Status string `json:"status_address"`
			} `json:"store"`
		} `json:"stores"`
	}
	require.NoError(t, json.Unmarshal([]byte(page(t, c.PD()+"/pd/api/v1/stores")), &list))
	all := make(map[uint64]string)
	for _, s := range list.Stores {
		all[s.Store.ID] = s.Store.Status
	}
	return all
}

// storePages are the metrics of all stores, one after the other: not all of them do everything.
func storePages(t *testing.T, c *shoaltest.Cluster) (all string) {
	for _, address := range storeAddresses(t, c) {
		res, err := (&http.Client{Timeout: 30 * time.Second}).Get("http://" + address + "/metrics")
		if err != nil {
			continue // it is stopped
		}
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		all += string(text)
	}
	return all
}

func page(t *testing.T, url string) string {
	if !strings.HasPrefix(url, "http") {
		url = "http://" + url
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, string(text))
	return string(text)
}

// laterBoards are boards that are not promised: what they ask for beyond the others is shown as far as it is there.
var laterBoards = []string{"tikv_raw.json", "tikv_trouble_shooting.json"}

// boardNames are the names of the file, without those of the later boards alone.
func boardNames(t *testing.T) []string {
	text, err := os.ReadFile("testdata/metric-names.txt")
	require.NoError(t, err)
	names, later := map[string]bool{}, false
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			later = slices.ContainsFunc(laterBoards, func(b string) bool { return strings.Contains(line, b) })
		case line != "" && !later:
			names[line] = true
		}
	}
	require.Greater(t, len(names), 150)
	return slices.Sorted(maps.Keys(names))
}

var suffix = regexp.MustCompile(`_(bucket|count|sum)$`)

// help is what a page says of a metric; empty if it is not there.
func help(page, name string) string {
	for _, family := range []string{name, suffix.ReplaceAllString(name, "")} {
		if m := regexp.MustCompile(`(?m)^# HELP ` + family + ` (.*)$`).FindStringSubmatch(page); m != nil {
			return m[1]
		}
	}
	return ""
}

// missing lists the names that are on no page, and for whose absence there is no reason. A histogram must have been observed.
func missing(names []string, pages map[string]string) (list []string) {
	for _, name := range names {
		if noCounterpart[name] != "" || notAlone[name] != "" || shown(pages["store"], name) || shown(pages["scheduler"], name) {
			continue
		}
		list = append(list, name)
	}
	return list
}

func shown(page, name string) bool {
	return strings.Contains(page, "\n"+name+"{") || strings.Contains(page, "\n"+name+" ")
}

// metricsPage is docs/metrics.md.
func metricsPage(names []string, pages map[string]string) string {
	var w strings.Builder
	w.WriteString("# Metrics\n\n<!-- written by `make docs` out of what a running cluster shows; what is changed here is lost -->\n\n" +
		"A store shows its metrics at `/metrics` of its status address, a scheduler at `/metrics` of its client URLs. These are the ones that the first " +
		"board, the alerts and the scheduler's board of this family ask for by name.\n\n| name | of | what it is |\n|---|---|---|\n")
	for _, name := range names {
		if strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count") && slices.Contains(names, suffix.ReplaceAllString(name, "_bucket")) {
			continue // said of the bucket
		}
		var of []string
		text := ""
		for _, service := range []string{"store", "scheduler"} {
			if shown(pages[service], name) {
				of, text = append(of, service), help(pages[service], name)
			}
		}
		if notAlone[name] != "" {
			of, text = []string{"scheduler"}, notAlone[name]
		}
		if len(of) > 0 {
			fmt.Fprintf(&w, "| `%s` | %s | %s |\n", strings.TrimSuffix(name, "_bucket"), strings.Join(of, ", "), text)
		}
	}
	w.WriteString("\n## Without a counterpart\n\nBoards ask for these too, and show nothing for them.\n\n| name | why |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(noCounterpart)) {
		fmt.Fprintf(&w, "| `%s` | %s |\n", name, noCounterpart[name])
	}
	return w.String()
}
