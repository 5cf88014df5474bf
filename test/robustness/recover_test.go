package robustness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two of three stores die and their disks are gone. The cluster serves nothing of their regions until a person applies a plan; then everything is there
// that the survivor had, applying again changes nothing, and two new stores bring the replicas back.
func TestRecoverFromTheLossOfAMajority(t *testing.T) {
	c, verify := startLoaded(t)
	lost := c.loseForGood(1, 2)
	plan := filepath.Join(t.TempDir(), "plan.json")
	require.Eventually(t, func() bool { // a store is Up until it has been silent for a while
		_, err := c.ctl("recover", "plan", "--lost-stores", lost, plan)
		return err == nil
	}, 2*time.Minute, time.Second)
	for _, r := range c.regionList() {
		s, ok := c.regionOn(0, r.ID)
		require.True(t, ok && !s.IsLeader, "a plan changes nothing")
	}
	for range 2 { // a plan may be applied again
		require.Eventually(t, func() bool {
			_, err := c.ctl("recover", "apply", plan)
			return err == nil
		}, time.Minute, time.Second)
	}
	verify()

	for range 2 {
		c.addStore()
	}
	c.waitWhole(3)
	_, err := c.ctl("recover", "apply", plan)
	require.NoError(t, err, "however late")
	c.waitWhole(3)
	verify()
	out, err := c.ctl("consistency-check", "--all")
	require.NoError(t, err)
	require.Equal(t, len(c.regionList()), strings.Count(out, "equal"), out)
}

// The same through the family's API, in one step: what is asked wrongly is refused, a removal that waits for a store in vain can be aborted, and one that
// names both does it.
func TestRemoveFailedStores(t *testing.T) {
	c, verify := startLoaded(t)
	require.Contains(t, c.removal("show", ""), "No on-going recovery.")
	lost := c.loseForGood(1, 2)
	one, _, _ := strings.Cut(lost, ",")
	require.Contains(t, c.removal("", `{"stores": [`+lost+`]}`), "is up and connected")
	require.Eventually(t, func() bool { // a store is given up only when it has been silent for a while
		return strings.Contains(c.removal("", `{"stores": [`+one+`], "timeout": 300}`), "Request has been accepted.")
	}, 2*time.Minute, time.Second)
	require.Contains(t, c.removal("", `{"stores": [`+lost+`]}`), "unsafe recovery is running")
	require.Eventually(t, func() bool { return strings.Contains(c.removal("show", ""), "alive stores(1/2)") }, time.Minute, 100*time.Millisecond)
	require.Contains(t, c.removal("abort", ""), "Request has been accepted.")
	require.Eventually(t, func() bool { return strings.Contains(c.removal("show", ""), "Unsafe recovery failed") }, time.Minute, 100*time.Millisecond)
	for _, r := range c.regionList() {
		s, ok := c.regionOn(0, r.ID)
		require.True(t, ok && !s.IsLeader, "one that was aborted before its plan changes nothing")
	}

	require.Eventually(t, func() bool {
		return strings.Contains(c.removal("", `{"auto-detect": true}`), "Request has been accepted.")
	}, time.Minute, time.Second)
	require.Eventually(t, func() bool { return strings.Contains(c.removal("show", ""), "Unsafe recovery finished") }, time.Minute, 100*time.Millisecond, c.removal("show", ""))
	t.Log(c.removal("show", ""))
	require.Contains(t, c.removal("abort", ""), "no unsafe recovery is running")
	verify()
	for range 2 {
		c.addStore()
	}
	c.waitWhole(3)
}

// startLoaded is a cluster of three stores that hold 300 keys in three regions. verify reads every one of them, and writes one more.
func startLoaded(t *testing.T) (c *cluster, verify func()) {
	const n = 300
	c = startCluster(t, buildBinary(t), 3)
	c.splitAt([][]byte{benchKey(n / 3), benchKey(2 * n / 3)})
	client := c.client()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	for i := range n {
		require.NoError(t, client.Put(ctx, benchKey(i), []byte(strconv.Itoa(i))))
	}
	c.waitServing(0)
	return c, func() {
		t.Helper()
		for i := range n {
			value, err := client.Get(ctx, benchKey(i))
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(i), string(value))
		}
		require.NoError(t, client.Put(ctx, benchKey(n), []byte(strconv.Itoa(n))))
	}
}

// removal asks the scheduler's API for a removal of failed stores, and answers what it says.
func (c *cluster) removal(what, body string) string {
	method, path := http.MethodPost, "http://"+c.pd+"/pd/api/v1/admin/unsafe/remove-failed-stores"
	if what == "show" {
		method = http.MethodGet
	}
	if what != "" {
		path += "/" + what
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(body))
	require.NoError(c.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return string(text)
}

// ctl is what a person types.
func (c *cluster) ctl(args ...string) (string, error) {
	out, err := exec.Command(c.bin, append([]string{"ctl", "--pd", c.pd, "--timeout", "20s"}, args...)...).CombinedOutput()
	return string(out), err
}

// loseForGood kills stores at once and takes their disks. It answers their ids, as a flag takes them.
func (c *cluster) loseForGood(which ...int) string {
	out, err := c.ctl("store", "-o", "json")
	require.NoError(c.t, err, out)
	var stores []struct {
		Store struct {
			ID            uint64 `json:"id"`
			StatusAddress string `json:"status_address"`
		} `json:"store"`
	}
	require.NoError(c.t, json.Unmarshal([]byte(out), &stores), out)
	var ids []string
	for _, i := range which {
		c.stores[i].kill()
		for _, s := range stores {
			if s.Store.StatusAddress == c.status[i] {
				ids = append(ids, strconv.FormatUint(s.Store.ID, 10))
			}
		}
	}
	for _, i := range which {
		require.NoError(c.t, os.RemoveAll(filepath.Join(c.dir, fmt.Sprintf("kv%d", i))))
	}
	require.Len(c.t, ids, len(which))
	return strings.Join(ids, ",")
}

// addStore starts one more store, at addresses of its own.
func (c *cluster) addStore() {
	ports := freePorts(c.t, 2)
	i, status := len(c.stores), fmt.Sprintf("127.0.0.1:%d", ports[1])
	c.status = append(c.status, status)
	c.stores = append(c.stores, c.start(fmt.Sprintf("store%d", i), "store", "--pd", c.pd, "--addr", fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"--status-addr", status, "--data-dir", filepath.Join(c.dir, fmt.Sprintf("kv%d", i))))
}
