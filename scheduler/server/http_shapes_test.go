package server_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shapes are the requests whose answers testdata/http-answers.txt shows, by the command that asks.
var shapes = map[string]string{
	"member": "/members", "member leader show": "/leader", "cluster": "/cluster", "health": "/health",
	"config show": "/config", "config show replication": "/config/replicate", "config show cluster-version": "/config/cluster-version",
	"store": "/stores", "store 1": "/store/1", "region": "/regions", "region 2": "/region/id/2", "region key --format=raw a": "/region/key/a",
	"region scan": "/regions/key?key=&limit=1024", "region check extra-peer": "/regions/check/extra-peer",
	"scheduler show": "/schedulers", "min-resolved-ts": "/min-resolved-ts", "service-gc-safepoint": "/gc/safepoint",
	"hot write": "/hotspot/regions/write", "label": "/labels",
}

// unlike are fields that only the family's scheduler has, and why this one does not.
var unlike = map[string]string{
	"deploy_path": "where a program lies is not told", "binary_version": "see /version", "git_hash": "see /status",
	"schedule.enable-witness": "there are no witnesses", "schedule.switch-witness-interval": "there are no witnesses", "schedule.witness-schedule-limit": "there are no witnesses",
	"schedule.affinity-schedule-limit": "there are no affinity groups", "schedule.max-affinity-merge-region-size": "there are no affinity groups",
	"schedule.enable-cross-table-merge": "keys are opaque: there are no tables", "schedule.enable-tikv-split-region": "stores split by themselves, always",
	"schedule.enable-diagnostic": "schedulers always say why they do nothing", "schedule.enable-heartbeat-breakdown-metrics": "one histogram shows how long heartbeats take",
	"schedule.enable-heartbeat-concurrent-runner": "heartbeats are taken in one after the other", "schedule.hot-regions-reserved-days": "no history of hot regions is kept",
	"schedule.hot-regions-write-interval": "no history of hot regions is kept", "schedule.max-movable-hot-peer-size": "hot regions of any size may move",
	"schedule.max-store-preparing-time": "a new store serves at once", "schedule.patrol-region-interval": "the patrol looks at 128 regions every 100 ms",
	"schedule.patrol-region-worker-count": "there is one patrol", "schedule.region-score-formula-version": "there is one formula",
	"schedule.slow-store-evicting-affected-store-ratio-threshold": "a slow store is one that says so", "schedule.split-scatter-schedule-limit": "what is split by load is balanced like all else",
	"schedule.store-limit-version": "there is one kind of store limits",
}

// TestShapesOfTheFamily compares field by field: every field of the family's answer is in this scheduler's, unless there is a reason, and of the same type.
func TestShapesOfTheFamily(t *testing.T) {
	r, _ := newStill(t)
	answers := familyAnswers(t)
	used := map[string]bool{}
	for command, path := range shapes {
		want := fields(t, answers[command])
		code, body := r.ask("GET", path, "")
		require.Equal(t, 200, code, body)
		got := fields(t, body)
		for name, kind := range want {
			if reason := unlike[lastOf(name)] + unlike[name]; reason != "" {
				require.NotContains(t, got, name, command)
				used[lastOf(name)], used[name] = true, true
				continue
			}
			require.Contains(t, slices.Sorted(maps.Keys(got)), name, "%s: GET %s", command, path)
			require.Equal(t, kind, got[name], "%s: the type of %s", command, name)
		}
	}
	for name := range unlike {
		require.True(t, used[name], "the family has no field %s", name)
	}
}

var answerOf = regexp.MustCompile(`(?m)^### pd-ctl (.*)$`)

// familyAnswers are the first answers to commands.
func familyAnswers(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/http-answers.txt")
	require.NoError(t, err)
	body, _, _ := strings.Cut(string(text), "# command => request")
	answers := make(map[string]string)
	at := answerOf.FindAllStringSubmatchIndex(body, -1)
	for i, m := range at {
		end := len(body)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		if name := body[m[2]:m[3]]; answers[name] == "" {
			answers[name] = body[m[1]:end]
		}
	}
	return answers
}

var number = regexp.MustCompile(`^\d+$`)

// fields are the types of all fields of a JSON text, by their paths: lists and objects by number count as one. An element that may be missing is looked for where it is there.
func fields(t *testing.T, text string) map[string]string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	all := make(map[string]string)
	collect(all, "", v)
	return all
}

func collect(all map[string]string, at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if number.MatchString(name) {
				name = "*"
			}
			collect(all, strings.TrimPrefix(at+"."+name, "."), inner)
		}
	case []any:
		for _, inner := range v {
			collect(all, at, inner)
		}
	case nil:
	default:
		all[at] = map[bool]string{true: "string", false: "other"}[isString(v)]
	}
}

func isString(v any) bool { _, ok := v.(string); return ok }

func lastOf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
