package server_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

func TestConfigIsSetAndLasts(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ path, body, want string }{
		{"/config", `{"leader-schedule-limit":8}`, "The config is updated."},
		{"/config", `{"schedule.max-store-down-time":"1h","replication.location-labels":"zone,host"}`, "The config is updated."},
		{"/config/schedule", `{"enable-joint-consensus":"false","low-space-ratio":0.9}`, "The schedule config is updated."},
		{"/config/replicate", `{"max-replicas":5,"isolation-level":"zone","enable-placement-rules":"true"}`, "The replication config is updated."},
		{"/config/replicate", `{"location-labels":["zone","rack"]}`, "The replication config is updated."},
		{"/config/replication-mode", `{"replication-mode":"majority"}`, "The replication mode config is updated."},
	} {
		r.does("POST", c.path, c.body, c.want)
	}
	for range 2 {
		schedule, replicate := shows[object](r, "/config/schedule"), shows[object](r, "/config/replicate")
		require.InDelta(t, 8, schedule["leader-schedule-limit"], 0)
		require.Equal(t, "1h0m0s", schedule["max-store-down-time"])
		require.Equal(t, "false", schedule["enable-joint-consensus"])
		require.InDelta(t, 0.9, schedule["low-space-ratio"], 0)
		require.NotContains(t, schedule, "max-replicas")
		require.Equal(t, object{
			"max-replicas": 5.0, "location-labels": "zone,rack", "isolation-level": "zone", "strictly-match-label": "false",
			"enable-placement-rules": "true", "enable-placement-rules-cache": "false",
		}, replicate)
		all := shows[object](r, "/config")
		require.Equal(t, schedule, all["schedule"])
		require.Equal(t, replicate, all["replication"])
		require.InDelta(t, 5, shows[object](r, "/cluster")["max_peer_count"], 0)
		r.restart()
	}
	require.InDelta(t, 3, shows[object](r, "/config/default")["replication"].(object)["max-replicas"], 0)
}

func TestConfigSaysWhatIsAllowed(t *testing.T) {
	r := newRig(t)
	before := shows[object](r, "/config")
	for _, c := range []struct{ path, body, part string }{
		{"/config", `{"leader-schedule-limits":8}`, "config item leader-schedule-limits not found; there are enable-"},
		{"/config", `{"pd-server.leader-schedule-limit":8}`, "pd-server.leader-schedule-limit not found"},
		{"/config", `{"replication.leader-schedule-limit":8}`, "replication.leader-schedule-limit not found"},
		{"/config", `{"leader-schedule-limit":-1}`, "must not be negative"},
		{"/config", `{"leader-schedule-limit":"many"}`, `leader-schedule-limit cannot be "many"; it must be a whole number`},
		{"/config", `{"leader-schedule-limit":1.5}`, `leader-schedule-limit cannot be "1.5"; it must be a whole number`},
		{"/config", `{"enable-joint-consensus":1}`, `enable-joint-consensus cannot be "1"; it must be true or false`},
		{"/config", `{"low-space-ratio":"most"}`, `low-space-ratio cannot be "most"; it must be a number`},
		{"/config", `{"location-labels":"zone,zone"}`, `"zone" is named twice`},
		{"/config", `{"location-labels":["a b","zone"]}`, `"a b" cannot be the name of a store's label`},
		{"/config", `{"leader-schedule-limit":{}}`, "must be a string, a number, true or false"},
		{"/config", `{"max-replicas":99}`, "must lie between 1 and 15"},
		{"/config", `{"max-store-down-time":5}`, "a duration with its unit, such as 30m"},
		{"/config", `{"low-space-ratio":2,"leader-schedule-limit":8}`, "must lie between 0 and 1"},
		{"/config", `{}`, "no config item is given"},
		{"/config", `nothing`, "not the JSON"},
		{"/config?ttlSecond=5", `{"leader-schedule-limit":8}`, "limited time"},
		{"/config/schedule", `{"max-replicas":5}`, "max-replicas not found; there are"},
		{"/config/schedule", `{"default-store-limit":5}`, "default-store-limit not found"},
		{"/config/replicate", `{"enable-placement-rules":"false"}`, "can only be true"},
		{"/config/replicate", `{"isolation-level":"zone"}`, "must be one of the location-labels"},
		{"/config/replication-mode", `{"replication-mode":"dr-auto-sync"}`, "the only replication-mode is majority"},
	} {
		r.declines("POST", c.path, c.body, 400, c.part)
	}
	r.declines("POST", "/config", `{"a":"`+strings.Repeat("x", 5<<20)+`"}`, 413, "must not be larger than")
	require.Equal(t, before, shows[object](r, "/config"))
}

// What one leader was told holds for the next (P10), and a follower passes on what it is asked.
func TestConfigOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	g := newTrio(t)
	leader, followers := g.roles()
	code, answer := send(t, "POST", followers[0].ClientURL()+"/pd/api/v1/config", `{"leader-schedule-limit":11}`)
	require.Equal(t, 200, code, answer)
	code, answer = send(t, "POST", leader.ClientURL()+"/pd/api/v1/leader/resign", "")
	require.Equal(t, 200, code, answer)
	require.Eventually(t, func() bool { return !leader.Leads() }, 2*soon, poll)
	next := schedulertest.Leader(t, g.all...)
	_, answer = send(t, "GET", next.ClientURL()+"/pd/api/v1/config/schedule", "")
	require.Contains(t, answer, `"leader-schedule-limit": 11`)
}

func TestLogLevelAsAConfigItem(t *testing.T) {
	logger, _ := logTo(t)
	r := newRig(t, func(c *server.Config) { c.Logger, c.LogLevel = logger.Logger, logger.Level })
	r.does("POST", "/config", `{"log.level":"error"}`, "The config is updated.")
	require.Equal(t, "error", logger.Level.Name())
	require.Equal(t, object{"level": "error"}, shows[object](r, "/config")["log"])
	r.declines("POST", "/config", `{"log.level":"loud"}`, 400, "none of debug")
}
