package server_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSchedulersAreSteered(t *testing.T) {
	r, _ := newStill(t)
	r.does("POST", "/schedulers", `{"name":"evict-leader-scheduler","store_id":1}`, "The scheduler is created.")
	r.does("POST", "/schedulers", `{"name":"evict-leader-scheduler","store_id":2}`, "The scheduler is created.")
	r.does("POST", "/schedulers", `{"name":"shuffle-leader-scheduler"}`, "The scheduler is created.")
	r.does("DELETE", "/schedulers/balance-region-scheduler", "", "The scheduler is removed.")
	r.does("POST", "/scheduler-config/evict-leader-scheduler/config", `{"store_id":3}`, "Config is updated.")
	r.does("POST", "/scheduler-config/balance-leader-scheduler/config", `{"batch":3}`, "Config is updated.")
	r.does("DELETE", "/scheduler-config/evict-leader-scheduler/delete/1", "", "Config is updated.")
	for range 2 {
		require.Equal(t, []string{
			"balance-hot-region-scheduler", "balance-leader-scheduler", "evict-leader-scheduler", "evict-slow-store-scheduler", "shuffle-leader-scheduler",
		}, shows[[]string](r, "/schedulers"))
		require.Equal(t, []string{"balance-region-scheduler", "grant-leader-scheduler", "shuffle-region-scheduler"},
			shows[[]string](r, "/schedulers?status=disabled"))
		evict := shows[object](r, "/scheduler-config/evict-leader-scheduler/list")
		require.Len(t, evict["store-id-ranges"], 2)
		require.Contains(t, evict["store-id-ranges"], "3")
		require.InDelta(t, 3, shows[object](r, "/scheduler-config/balance-leader-scheduler/list")["batch"], 0)
		require.Len(t, shows[object](r, "/scheduler-config"), 5)
		r.restart()
	}
	r.does("DELETE", "/schedulers/evict-leader-scheduler-2", "", "The scheduler is removed.")
	require.Contains(t, shows[[]string](r, "/schedulers"), "evict-leader-scheduler")
	r.does("DELETE", "/schedulers/evict-leader-scheduler-3", "", "The scheduler is removed.")
	require.NotContains(t, shows[[]string](r, "/schedulers"), "evict-leader-scheduler")
}

func TestSchedulersArePaused(t *testing.T) {
	r, _ := newStill(t)
	const done = "Pause or resume the scheduler successfully."
	r.does("POST", "/schedulers/balance-leader-scheduler", `{"delay":60}`, done)
	require.Equal(t, []string{"balance-leader-scheduler"}, shows[[]string](r, "/schedulers?status=paused"))
	paused := shows[[]object](r, "/schedulers?status=paused&timestamp=true")
	require.Equal(t, "balance-leader-scheduler", paused[0]["name"])
	require.NotEmpty(t, paused[0]["resume_at"])
	r.does("POST", "/schedulers/all", `{"delay":60}`, done)
	require.Len(t, shows[[]string](r, "/schedulers?status=paused"), 4)
	r.does("POST", "/schedulers/all", `{"delay":0}`, done)
	require.Empty(t, shows[[]string](r, "/schedulers?status=paused"))
}

func TestSchedulersSayWhatTheyDo(t *testing.T) {
	r, _ := newStill(t)
	const path = "/schedulers/diagnostic/balance-leader-scheduler"
	require.Equal(t, "halted", shows[object](r, path)["status"])
	r.does("POST", "/config", `{"halt-scheduling":false,"leader-schedule-limit":0}`, "The config is updated.")
	require.Eventually(t, func() bool { return shows[object](r, path)["status"] == "pending" }, soon, poll)
	require.Eventually(t, func() bool {
		return shows[object](r, path)["summary"] == "there are as many leader operators as may be (leader-schedule-limit)"
	}, soon, poll)
	r.does("POST", "/schedulers/balance-leader-scheduler", `{"delay":60}`, "Pause or resume the scheduler successfully.")
	require.Equal(t, "paused", shows[object](r, path)["status"])
	require.Equal(t, "disabled", shows[object](r, "/schedulers/diagnostic/shuffle-leader-scheduler")["status"])
}

func TestSchedulersAreNotMissteered(t *testing.T) {
	r, _ := newStill(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		part               string
	}{
		{"POST", "/schedulers", `{}`, 400, "missing scheduler name"},
		{"POST", "/schedulers", `{"name":"lazy-scheduler"}`, 400, `unknown scheduler "lazy-scheduler"; there are balance-leader-scheduler`},
		{"POST", "/schedulers", `{"name":"evict-leader-scheduler"}`, 400, "needs the id of a store"},
		{"POST", "/schedulers", `{"name":"evict-leader-scheduler","store_id":77}`, 404, "store 77 not found"},
		{"POST", "/schedulers", `{"name":"shuffle-leader-scheduler","store_id":1}`, 400, "not for single stores"},
		{"POST", "/schedulers", `{"name":"balance-leader-scheduler"}`, 500, "scheduler existed"},
		{"DELETE", "/schedulers/shuffle-leader-scheduler", "", 404, "[PD:scheduler:ErrSchedulerNotFound]"},
		{"DELETE", "/schedulers/evict-leader-scheduler-1", "", 404, "[PD:scheduler:ErrSchedulerNotFound]"},
		{"POST", "/schedulers/shuffle-leader-scheduler", `{"delay":1}`, 404, "[PD:scheduler:ErrSchedulerNotFound]"},
		{"POST", "/schedulers/balance-leader-scheduler", `{}`, 400, "delay must be given"},
		{"POST", "/schedulers/balance-leader-scheduler", `{"delay":9223372036854775807}`, 400, "delay must be given"},
		{"GET", "/schedulers?status=asleep", "", 400, "paused or disabled"},
		{"GET", "/schedulers/diagnostic/lazy-scheduler", "", 404, "scheduler not found"},
		{"GET", "/scheduler-config/lazy-scheduler/list", "", 404, "scheduler not found"},
		{"POST", "/scheduler-config/balance-leader-scheduler/config", `{"batch":0}`, 400, "between 1 and 100"},
		{"POST", "/scheduler-config/balance-leader-scheduler/config", `{}`, 400, "nothing is given"},
		{"POST", "/scheduler-config/balance-leader-scheduler/config", `{"store_id":1}`, 400, "not for single stores"},
		{"POST", "/scheduler-config/evict-leader-scheduler/config", `{"store_id":1}`, 404, "scheduler not found"},
	} {
		r.declines(c.method, c.path, c.body, c.code, c.part)
	}
}
