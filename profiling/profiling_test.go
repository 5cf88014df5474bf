package profiling

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ask(t *testing.T, h http.Handler, path string) (int, io.Reader) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body
}

// TestProfilesAreReal takes a heap and a CPU profile and looks for what every profile in pprof's format has.
func TestProfilesAreReal(t *testing.T) {
	h := Handler(true, "some.key")
	for path, sample := range map[string]string{"heap": "inuse_space", "profile?seconds=1": "cpu", "goroutine": "goroutine"} {
		code, body := ask(t, h, Path+path)
		require.Equal(t, http.StatusOK, code, path)
		z, err := gzip.NewReader(body)
		require.NoError(t, err, path)
		text, err := io.ReadAll(z)
		require.NoError(t, err, path)
		require.Contains(t, string(text), sample, path)
	}
	code, body := ask(t, h, Path+"goroutine?debug=2")
	require.Equal(t, http.StatusOK, code)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Contains(t, string(text), "TestProfilesAreReal")
	code, _ = ask(t, h, Path+"nonsense")
	require.Equal(t, http.StatusNotFound, code)
}

func TestOffSaysHowToTurnItOn(t *testing.T) {
	h := Handler(false, "server.enable-pprof")
	for _, path := range []string{"", "heap", "profile?seconds=1", "symbol"} {
		code, body := ask(t, h, Path+path)
		require.Equal(t, http.StatusNotFound, code, path)
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		require.Equal(t, "profiling is off; it takes server.enable-pprof = true in the configuration", strings.TrimSpace(string(text)))
	}
}
