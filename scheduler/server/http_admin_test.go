package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// logTo is a logger with a file of its own.
func logTo(t *testing.T) (logger *log.Logger, file string) {
	c := log.Default()
	c.File.Filename = filepath.Join(t.TempDir(), "scheduler.log")
	logger, err := log.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, logger.Close()) })
	return logger, c.File.Filename
}

// send is do with a body, and the answer as it came.
func send(t *testing.T, method, url, body string) (int, string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, strings.TrimSpace(string(text))
}

func TestLogLevelOverHTTP(t *testing.T) {
	logger, file := logTo(t)
	r := newRig(t, func(c *server.Config) { c.Logger, c.LogLevel = logger.Logger, logger.Level })
	url := r.s.ClientURL() + "/pd/api/v1/admin/log"
	code, body := send(t, "GET", url, "")
	require.Equal(t, 200, code)
	require.Equal(t, `"info"`, body)
	code, body = send(t, "POST", url, `"debug"`)
	require.Equal(t, 200, code)
	require.Equal(t, `"The log level is updated."`, body)
	require.Equal(t, "debug", logger.Level.Name())
	for body, want := range map[string]string{
		`"loud"`:                              `level \"loud\" is none of debug, info, warn, error, fatal`,
		`info`:                                `the body must be a JSON string such as \"info\", with its quotes`,
		`{}`:                                  `the body must be a JSON string`,
		`"` + strings.Repeat("x", 2048) + `"`: "request body too large",
	} {
		code, answer := send(t, "POST", url, body)
		require.Equal(t, 400, code, body)
		require.Contains(t, answer, want)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "[from=info] [to=debug]")
}

func TestProfiles(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		r := newRig(t, func(c *server.Config) { c.EnablePprof = enabled })
		for _, prefix := range []string{"", "/pd/api/v1"} {
			code, body := send(t, "GET", r.s.ClientURL()+prefix+"/debug/pprof/heap?debug=1", "")
			if enabled {
				require.Equal(t, 200, code)
				require.Contains(t, body, "heap profile: ")
			} else {
				require.Equal(t, 404, code)
				require.Equal(t, "profiling is off; it takes enable-pprof = true in the configuration", body)
			}
		}
	}
}

// TestAFollowerSpeaksForItself asks a member that passes other requests on to the leader.
func TestAFollowerSpeaksForItself(t *testing.T) {
	t.Parallel()
	levels := map[string]*log.Level{}
	g := newTrio(t, func(c *server.Config) {
		logger, _ := logTo(t)
		c.LogLevel, c.EnablePprof = logger.Level, true
		levels[c.ClientURLs[0]] = logger.Level
	})
	_, followers := g.roles()
	url := followers[0].ClientURL()
	code, _ := send(t, "POST", url+"/pd/api/v1/admin/log", `"warn"`)
	require.Equal(t, 200, code)
	for member, level := range levels {
		if member == url {
			require.Equal(t, "warn", level.Name())
		} else {
			require.Equal(t, "info", level.Name())
		}
	}
	code, body := send(t, "GET", url+"/pd/api/v1/debug/pprof/cmdline", "")
	require.Equal(t, 200, code)
	require.Contains(t, body, "test")
}
