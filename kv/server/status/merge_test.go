package status_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/server/status"
)

func TestMergeRegion(t *testing.T) {
	var asked [2]uint64
	h := status.Handler(status.Options{Merge: func(source, target uint64) error {
		asked = [2]uint64{source, target}
		if source == 9 {
			return errors.New("they are no neighbours")
		}
		return nil
	}})
	for path, want := range map[string]int{
		"/region/7/merge?target=8": http.StatusOK,
		"/region/9/merge?target=8": http.StatusConflict,
		"/region/x/merge?target=8": http.StatusBadRequest,
		"/region/7/merge":          http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		require.Equal(t, want, w.Code, "%s: %s", path, w.Body)
		if want == http.StatusOK {
			require.Equal(t, [2]uint64{7, 8}, asked)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/region/7/merge?target=8", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}
