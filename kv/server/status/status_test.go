package status

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/log"
)

func ask(t *testing.T, h http.Handler, method, path string, body ...string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(strings.Join(body, ""))))
	return w.Code, w.Body.String()
}

func TestStatusServer(t *testing.T) {
	registry := prometheus.NewRegistry()
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "tikv_some_total", Help: "x"})
	registry.MustRegister(count)
	ready := false
	h := Handler(Options{
		Config:  func() any { return map[string]any{"storage": map[string]any{"api-version": 1}} },
		Metrics: registry,
		Region: func(id uint64) (any, bool) {
			if id == 8 {
				return math.NaN(), true // no JSON
			}
			return map[string]uint64{"id": id}, id == 7
		},
		Ready: func() bool { return ready },
	})
	for _, test := range []struct {
		path string
		code int
		body string
	}{
		{"/status", 200, ""},
		{"/ready", 503, ""},
		{"/config", 200, `{"storage":{"api-version":1}}`},
		{"/region/7", 200, `{"id":7}`},
		{"/region/9", 404, "region(9) not found"},
		{"/region/x", 400, `"x" is not a region id`},
		{"/region/8", 500, "cannot encode the answer: json: unsupported value: NaN"},
		{"/nothing", 404, "404 page not found"},
		{"/debug/pprof/", 404, "profiling is off; it takes server.enable-pprof = true in the configuration"},
		{"/log-level", 404, "404 page not found"},
	} {
		code, body := ask(t, h, "GET", test.path)
		require.Equal(t, test.code, code, test.path)
		require.Equal(t, test.body, strings.TrimSpace(body), test.path)
	}
	ready = true
	code, _ := ask(t, h, "GET", "/ready")
	require.Equal(t, 200, code)
	code, _ = ask(t, h, "POST", "/status")
	require.Equal(t, http.StatusMethodNotAllowed, code)

	count.Add(3)
	_, body := ask(t, h, "GET", "/metrics")
	require.Contains(t, body, "tikv_some_total 3")
	require.NotContains(t, body, "go_goroutines", "the global registry is not shown")

	_, body = ask(t, h, "GET", "/config")
	var config struct {
		Storage struct {
			APIVersion int `json:"api-version"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &config))
	require.Equal(t, 1, config.Storage.APIVersion)
}

func TestLogLevel(t *testing.T) {
	c := log.Default()
	c.File.Filename = filepath.Join(t.TempDir(), "store.log")
	logger, err := log.New(c)
	require.NoError(t, err)
	defer func() { require.NoError(t, logger.Close()) }()
	h := Handler(Options{LogLevel: logger.Level})
	code, body := ask(t, h, "GET", "/log-level")
	require.Equal(t, 200, code)
	require.JSONEq(t, `{"log-level":"info"}`, body)

	code, body = ask(t, h, "PUT", "/log-level", `{"log-level":"debug"}`)
	require.Equal(t, 200, code, body)
	require.Empty(t, body)
	require.Equal(t, "debug", logger.Level.Name())
	for body, want := range map[string]string{
		`{"log-level":"loud"}`: `level "loud" is none of debug, info, warn, error, fatal`,
		`{"log-level":""}`:     `level "" is none of`,
		`{}`:                   `level "" is none of`,
		`{"level":"info"}`:     `the body must be {"log-level":"info"}: json: unknown field "level"`,
		`"info"`:               `the body must be {"log-level":"info"}: `,
		``:                     `the body must be {"log-level":"info"}: `,
		`{"log-level":"` + strings.Repeat("x", 2048) + `"}`: "request body too large",
	} {
		code, answer := ask(t, h, "PUT", "/log-level", body)
		require.Equal(t, 400, code, body)
		require.Contains(t, answer, want, body)
	}
	require.Equal(t, "debug", logger.Level.Name())
	code, _ = ask(t, h, "POST", "/log-level", `{"log-level":"info"}`)
	require.Equal(t, http.StatusMethodNotAllowed, code)
	text, err := os.ReadFile(c.File.Filename)
	require.NoError(t, err)
	require.Contains(t, string(text), "[from=info] [to=debug]")
}

func TestProfilingWhenAllowed(t *testing.T) {
	h := Handler(Options{Profiling: true})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		code, body := ask(t, h, "GET", path)
		require.Equal(t, 200, code, path)
		require.NotEmpty(t, body, path)
	}
	// What has no source does not exist.
	for _, path := range []string{"/config", "/metrics", "/region/1"} {
		code, _ := ask(t, h, "GET", path)
		require.Equal(t, 404, code, path)
	}
	code, _ := ask(t, h, "GET", "/ready")
	require.Equal(t, 200, code)
}

func TestNewServer(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(Options{})
	s.Start()
	defer s.Close()
	resp, err := s.Client().Get(s.URL + "/status")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
}
