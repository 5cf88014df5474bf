package pdapi

import (
	"context"
	stderrors "errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, code int, answers map[string]string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.RequestURI()]
		if !ok {
			t.Errorf("nobody expected %s", r.URL.RequestURI())
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	c, err := New(strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	return c
}

func TestAnswersAreRead(t *testing.T) {
	region := `{"id":2,"start_key":"","end_key":"6B","epoch":{"conf_ver":1,"version":7},` +
		`"peers":[{"role_name":"Voter","id":3,"store_id":1}],"leader":{"role_name":"Voter","id":3,"store_id":1},"approximate_size":1,"approximate_keys":100}`
	store := `{"store":{"id":1,"address":"a:1","status_address":"a:2","state_name":"Up","labels":[{"key":"zone","value":"z"}]},` +
		`"status":{"capacity":"1GiB","leader_count":4,"region_count":5}}`
	c := serve(t, http.StatusOK, map[string]string{
		"/pd/api/v1/stores":                   `{"count":1,"stores":[` + store + `]}`,
		"/pd/api/v1/store/1":                  store,
		"/pd/api/v1/regions":                  `{"count":1,"regions":[` + region + `]}`,
		"/pd/api/v1/region/id/2":              region,
		"/pd/api/v1/region/key/00?format=hex": region,
	})
	ctx := context.Background()
	stores, err := c.Stores(ctx)
	require.NoError(t, err)
	require.Len(t, stores, 1)
	one, err := c.Store(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, stores[0], one)
	require.Equal(t, "a:1", one.Store.Address)
	require.Equal(t, "Up", one.Store.StateName)
	require.Equal(t, []Label{{"zone", "z"}}, one.Store.Labels)
	require.Equal(t, 4, one.Status.LeaderCount)

	regions, err := c.Regions(ctx)
	require.NoError(t, err)
	require.Len(t, regions, 1)
	for _, get := range []func() (Region, error){
		func() (Region, error) { return c.Region(ctx, 2) },
		func() (Region, error) { return c.RegionOf(ctx, []byte{0}) },
	} {
		r, err := get()
		require.NoError(t, err)
		require.Equal(t, regions[0], r)
	}
	require.Equal(t, HexKey("k"), regions[0].EndKey)
	require.EqualValues(t, 7, regions[0].Epoch.Version)
	require.Equal(t, &Peer{ID: 3, StoreID: 1, RoleName: "Voter"}, regions[0].Leader)
}

func TestRefusalsCarryTheReason(t *testing.T) {
	c := serve(t, http.StatusNotFound, map[string]string{"/pd/api/v1/store/9": `"store 9 not found"`})
	_, err := c.Store(context.Background(), 9)
	var refused *Error
	require.True(t, stderrors.As(err, &refused))
	require.Equal(t, &Error{404, "store 9 not found"}, refused)
}

func TestTheNextEndpointIsAsked(t *testing.T) {
	follower := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `"not leader"`)
	}))
	defer follower.Close()
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"stores":[]}`) }))
	defer leader.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	c, err := New(gone.URL + "," + follower.URL + "," + leader.URL)
	require.NoError(t, err)
	_, err = c.Stores(context.Background())
	require.NoError(t, err)

	c, err = New(follower.URL)
	require.NoError(t, err)
	_, err = c.Stores(context.Background())
	require.EqualError(t, err, "the scheduler answers 503: not leader")

	c, err = New(gone.URL)
	require.NoError(t, err)
	_, err = c.Stores(context.Background())
	require.ErrorContains(t, err, "is it running")
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "here", "http://here", "a:1,"} {
		_, err := New(bad)
		require.ErrorContains(t, err, "must be host:port", bad)
	}
}

func TestTheGroup(t *testing.T) {
	one, two := `{"name":"a","member_id":1,"peer_urls":["p"],"client_urls":["c"]}`, `{"name":"b","member_id":18446744073709551615}`
	answers := map[string]string{
		"GET /pd/api/v1/members":                `{"header":{"cluster_id":7},"members":[` + one + `,` + two + `],"leader":` + two + `}`,
		"GET /pd/api/v1/leader":                 two,
		"GET /pd/api/v1/health":                 `[{"member_id":1,"health":true},{"member_id":2,"health":false}]`,
		"POST /pd/api/v1/leader/resign":         `"resigned"`,
		"POST /pd/api/v1/leader/transfer/a%2Fb": `"moved"`,
		"DELETE /pd/api/v1/members/name/a":      `"removed a"`,
		"DELETE /pd/api/v1/members/id/1":        `"removed 1"`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.Method+" "+r.URL.RequestURI()]
		if !ok {
			t.Errorf("nobody expected %s %s", r.Method, r.URL.RequestURI())
		}
		_, _ = io.WriteString(w, body)
	}))
	defer s.Close()
	c, err := New(s.URL)
	require.NoError(t, err)
	ctx := context.Background()
	group, err := c.Members(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 7, group.Header.ClusterID)
	require.Equal(t, Member{Name: "a", ID: 1, PeerURLs: []string{"p"}, ClientURLs: []string{"c"}}, group.Members[0])
	leader, err := c.Leader(ctx)
	require.NoError(t, err)
	require.Equal(t, *group.Leader, leader)
	health, err := c.Health(ctx)
	require.NoError(t, err)
	require.Equal(t, []Health{{1, true}, {2, false}}, health)
	for want, ask := range map[string]func() (string, error){
		"resigned":  func() (string, error) { return c.Resign(ctx) },
		"moved":     func() (string, error) { return c.TransferLeader(ctx, "a/b") },
		"removed a": func() (string, error) { return c.RemoveMember(ctx, "a") },
		"removed 1": func() (string, error) { return c.RemoveMemberID(ctx, 1) },
	} {
		said, err := ask()
		require.NoError(t, err)
		require.Equal(t, want, said)
	}
}
