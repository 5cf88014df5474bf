package rawclient

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	textlog "github.com/pingcap/log"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/shoaltest"
)

// TestTheClientOutlivesItsOpening: what was opened within a command's patience serves the next command too.
func TestTheClientOutlivesItsOpening(t *testing.T) {
	pd := shoaltest.Start(t, shoaltest.Stores(1)).PD()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	client, err := Open(ctx, pd, false)
	require.NoError(t, err)
	cancel()
	require.NoError(t, client.Put(t.Context(), []byte("k"), []byte("v")))
	require.NoError(t, client.Close())

	_, err = Open(ctx, pd, false)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNoCluster(t *testing.T) {
	answer := `{"count":0,"stores":[]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	_, err := Open(t.Context(), s.URL, false)
	require.ErrorContains(t, err, "has no stores; start one with `shoal store --pd "+s.URL+"`")
	s.Close()
	_, err = Open(t.Context(), s.URL, false)
	var unreachable *pdapi.UnreachableError
	require.ErrorAs(t, err, &unreachable)
	require.ErrorContains(t, err, "is it running")
	_, err = Open(t.Context(), "here", false)
	require.ErrorContains(t, err, "must be host:port")
}

// TestTheClientDoesNotEndTheProcess when it meets another cluster than before, which it calls fatal.
func TestTheClientDoesNotEndTheProcess(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		require.NoError(t, setClientLog(verbose))
		textlog.L().Fatal("critical error")
	}
}
