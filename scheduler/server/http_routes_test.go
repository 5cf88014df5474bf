package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/server"
)

// notServed are the routes of the family's API that there is nothing behind here, and why.
var notServed = map[string]string{
	"/checker/{name}":              "a checker has no switch of its own: enable-… items and limits of the configuration switch what it does",
	"/config/pd-server":            "none of its items exists here",
	"/config/label-property":       "replaced by placement rules long ago",
	"POST /config/cluster-version": "the version is that of the oldest store, and nobody's to set",
	"/config/region-label/":        "regions have no labels",
	"/region/id/{id}/label":        "regions have no labels",
	"/hotspot/regions/history":     "no history of hot regions is kept",
	"/regions/keyspace/":           "there are no keyspaces",
	"/regions/writequery":          "stores do not report queries by region",
	"/regions/readquery":           "stores do not report queries by region",
	"/regions/cpu":                 "stores do not report CPU by region",
	"/regions/accelerate-schedule": "every heartbeat has its region checked: nothing waits to be accelerated",
	"POST /members/name/{name}":    "members have no priorities; leader/transfer names the next leader",
	"/admin/storage/region/{id}":   "what is saved of a region follows the picture: admin/cache/region removes both",
	"/admin/persist-file/":         "the scheduler writes no files for others",
	"/admin/cluster/markers/":      "restoring from volume snapshots, or to a point in time, is not offered",
	"/admin/base-alloc-id":         "ids are restored with etcd's data",
	"/admin/reset-ts":              "timestamps are restored with etcd's data",
	"/service-middleware/":         "requests are neither rate-limited nor audited",
	"/plugin":                      "there are no plugins",
	"/metric/":                     "no Prometheus stands behind the scheduler",
	"/tso/allocator/":              "there is one timestamp oracle, and no local ones",
	"ANY /debug/pprof/zip":         "every profile is served by itself",
}

var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

// TestEveryRoute holds the family's whole list against the table of routes: each is served or has a reason not to be, and none has both.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	logger, _ := logTo(t)
	r := newRig(t, func(c *server.Config) { c.LogLevel, c.EnablePprof = logger.Level, true })
	text, err := os.ReadFile("testdata/routes.txt")
	require.NoError(t, err)
	used := map[string]bool{}
	served := 0
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		method, path := "ANY", ""
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), `registerFunc(clusterRouter, "`); ok {
			path = strings.TrimSuffix(rest, `",`)
		} else {
			fields := strings.Fields(line)
			method, path = strings.ToUpper(fields[0]), strings.TrimPrefix(fields[1], "/pd/api/v1")
		}
		reason := ""
		for prefix := range notServed {
			if strings.HasPrefix(path, prefix) || strings.HasPrefix(method+" "+path, prefix) {
				reason = prefix
			}
		}
		ask := method
		switch {
		case strings.HasPrefix(path, "/admin/unsafe/") && !strings.HasSuffix(path, "/show"):
			ask = "POST"
		case ask == "ANY":
			ask = "GET"
		}
		if reason != "" {
			used[reason] = true
		}
		has := r.s.Serves(ask, "/pd/api/v1"+parameter.ReplaceAllString(path, "1"))
		if path == "/debug/pprof/zip" {
			has = false // all profiles share one handler, which knows no such profile
		}
		require.Equal(t, reason == "", has, "%s: served %v, in the list of those that are not %q", line, has, reason)
		if has {
			served++
		}
	}
	for prefix := range notServed {
		require.True(t, used[prefix], "no such route: %s", prefix)
	}
	require.Greater(t, served, 100)
}
