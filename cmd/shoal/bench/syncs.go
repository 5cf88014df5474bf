package bench

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// syncMetric is the counter by which a store tells how often it has made its raft log durable.
const syncMetric = "tikv_raftstore_raft_log_sync_total"

// syncs asks every store for its counter, by status address; one that does not answer is left out.
func (s *servers) syncs() map[string]float64 {
	client := &http.Client{Timeout: 2 * time.Second}
	counts := map[string]float64{}
	for _, addr := range s.status {
		if n, ok := metric(client, addr, syncMetric); ok {
			counts[addr] = n
		}
	}
	return counts
}

// syncsSince sums up what was counted since; a counter that has gone back is that of a store that was started anew.
func syncsSince(before, after map[string]float64) float64 {
	total := 0.0
	for addr, n := range after {
		if b := before[addr]; b <= n {
			total += n - b
		} else {
			total += n
		}
	}
	return total
}

// metric reads one unlabelled metric of a page in Prometheus' text format.
func metric(client *http.Client, addr, name string) (float64, bool) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(text, 64)
			return n, err == nil
		}
	}
	return 0, false
}
