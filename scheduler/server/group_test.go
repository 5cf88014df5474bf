package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pingcap/kvproto/pkg/meta_storagepb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	pd "github.com/tikv/pd/client"
	"github.com/tikv/pd/client/opt"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// trio is a group of three, one of which leads.
type trio struct {
	t       *testing.T
	ctx     context.Context
	configs []server.Config
	all     []*server.Server
}

func newTrio(t *testing.T, change ...func(*server.Config)) *trio {
	g := &trio{t: t, configs: schedulertest.Group(t, 3)}
	ctx, cancel := context.WithTimeout(context.Background(), 6*soon)
	t.Cleanup(cancel)
	g.ctx = ctx
	for i := range g.configs {
		g.configs[i].Logger = zap.NewNop() // members complain about each other while they come and go
		for _, c := range change {
			c(&g.configs[i])
		}
	}
	g.all = schedulertest.RunGroup(t, g.configs)
	t.Cleanup(func() {
		for _, s := range g.all {
			s.Close()
		}
	})
	return g
}

// roles waits for a leader that both others know.
func (g *trio) roles() (leader *server.Server, followers []*server.Server) {
	leader = schedulertest.Leader(g.t, g.all...)
	for _, s := range g.all {
		if s != leader {
			followers = append(followers, s)
		}
		require.Eventually(g.t, func() bool {
			res, err := g.connect(s).GetMembers(g.ctx, &pdpb.GetMembersRequest{})
			return err == nil && slices.Contains(res.GetLeader().GetClientUrls(), leader.ClientURL())
		}, soon, poll)
	}
	return leader, followers
}

func dialURL(t *testing.T, url string) *grpc.ClientConn {
	conn, err := grpc.NewClient(strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (g *trio) connect(s *server.Server) pdpb.PDClient {
	return pdpb.NewPDClient(dialURL(g.t, s.ClientURL()))
}

func (g *trio) header() *pdpb.RequestHeader {
	return &pdpb.RequestHeader{ClusterId: g.all[0].ClusterID()}
}

// forwarded is the context of a request that a member shall pass on.
func (g *trio) forwarded(to string) context.Context {
	return metadata.AppendToOutgoingContext(g.ctx, "pd-forwarded-host", to)
}

// do sends an HTTP request and returns the answer, unquoted if it is a JSON string.
func do(t *testing.T, method, url string) (int, string) {
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var text string
	if json.Unmarshal(body, &text) == nil {
		return res.StatusCode, text
	}
	return res.StatusCode, string(body)
}

func nameOf(g *trio, s *server.Server) string { return g.configs[slices.Index(g.all, s)].Name }

// A follower answers who leads, refuses the rest, and passes on what names the leader.
func TestFollowers(t *testing.T) {
	t.Parallel()
	g := newTrio(t)
	leader, followers := g.roles()
	f := followers[0]
	pdc := g.connect(f)

	_, err := pdc.AllocID(g.ctx, &pdpb.AllocIDRequest{Header: g.header()})
	requireCode(t, codes.Unavailable, "not leader", err)
	tso := func(ctx context.Context) (*pdpb.TsoResponse, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pdc.Tso(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&pdpb.TsoRequest{Header: g.header(), Count: 1}))
		return stream.Recv()
	}
	_, err = tso(g.ctx)
	requireCode(t, codes.Unavailable, "not leader", err)
	beats, err := pdc.RegionHeartbeat(g.ctx)
	require.NoError(t, err)
	_, err = beats.Recv()
	requireCode(t, codes.Unavailable, "not leader", err)

	// Forwarded: calls, answers that are errors, streams; by URL and by bare host.
	for i, to := range []string{leader.ClientURL(), strings.TrimPrefix(leader.ClientURL(), "http://")} {
		res, err := pdc.AllocID(g.forwarded(to), &pdpb.AllocIDRequest{Header: g.header()})
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), res.GetId())
		ts, err := tso(g.forwarded(to))
		require.NoError(t, err)
		require.Equal(t, uint32(1), ts.GetCount())
		require.NotZero(t, ts.GetTimestamp().GetPhysical())
	}
	_, err = pdc.AllocID(g.forwarded(leader.ClientURL()), &pdpb.AllocIDRequest{Header: &pdpb.RequestHeader{ClusterId: 1}})
	require.ErrorContains(t, err, "mismatch cluster id")
	_, err = meta_storagepb.NewMetaStorageClient(dialURL(t, f.ClientURL())).
		Get(g.forwarded(leader.ClientURL()), &meta_storagepb.GetRequest{})
	require.NoError(t, err)

	store, region := firstStore(), firstRegion()
	_, err = pdc.Bootstrap(g.forwarded(leader.ClientURL()), &pdpb.BootstrapRequest{Header: g.header(), Store: store, Region: region})
	require.NoError(t, err)
	beats, err = pdc.RegionHeartbeat(g.forwarded(leader.ClientURL()))
	require.NoError(t, err)
	require.NoError(t, beats.Send(&pdpb.RegionHeartbeatRequest{Header: g.header(), Region: region, Leader: region.Peers[0], Term: 5}))
	require.Eventually(t, func() bool {
		res, err := g.connect(leader).GetRegionByID(g.ctx, &pdpb.GetRegionByIDRequest{Header: g.header(), RegionId: 2})
		return err == nil && res.GetLeader() != nil
	}, soon, poll)
	require.NoError(t, beats.CloseSend())
	_, err = beats.Recv()
	require.ErrorIs(t, err, io.EOF)

	// To a member that does not lead, to this very member, and to a stranger.
	for _, to := range []string{followers[1].ClientURL(), f.ClientURL()} {
		_, err = pdc.AllocID(g.forwarded(to), &pdpb.AllocIDRequest{Header: g.header()})
		requireCode(t, codes.Unavailable, "not leader", err)
	}
	_, err = pdc.AllocID(g.forwarded("http://127.0.0.1:1"), &pdpb.AllocIDRequest{Header: g.header()})
	require.ErrorContains(t, err, "not leader: http://127.0.0.1:1, to which to forward, is no member of this group")
}

// HTTP requests to a follower are answered by the leader; what each member knows itself is not passed on.
func TestFollowersPassHTTPOn(t *testing.T) {
	t.Parallel()
	g := newTrio(t)
	leader, followers := g.roles()
	_, err := g.connect(leader).Bootstrap(g.ctx, &pdpb.BootstrapRequest{Header: g.header(), Store: firstStore(), Region: firstRegion()})
	require.NoError(t, err)
	for _, s := range append(followers, leader) {
		code, body := do(t, http.MethodGet, s.ClientURL()+"/pd/api/v1/store/1")
		require.Equal(t, http.StatusOK, code, body)
		require.Contains(t, body, "127.0.0.1:20160")
		code, body = do(t, http.MethodGet, s.ClientURL()+"/pd/api/v1/store/9")
		require.Equal(t, http.StatusNotFound, code, body)
		code, body = do(t, http.MethodGet, s.ClientURL()+"/pd/api/v1/members")
		require.Equal(t, http.StatusOK, code, body)
		require.Equal(t, 1, strings.Count(body, nameOf(g, leader)+`",`)-2, "listed once, beside leader and etcd leader")
	}
	for _, s := range append(followers, leader) {
		code, body := do(t, http.MethodGet, s.ClientURL()+"/dashboard/api/overview")
		require.Equal(t, http.StatusOK, code, body)
		require.Contains(t, body, `"leader":"`+nameOf(g, leader)+`"`)
		code, body = do(t, http.MethodGet, s.ClientURL()+"/dashboard")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, body, "<!doctype html>")
	}
	req, err := http.NewRequest(http.MethodGet, followers[0].ClientURL()+"/pd/api/v1/stores", nil)
	require.NoError(t, err)
	req.Header.Set("PD-Redirector", "pd9")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "a request is passed on once at most")
	require.NoError(t, res.Body.Close())
}

// wire is a network in which one address can be cut off.
type wire struct {
	to    string
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if addr == w.to && w.down {
		return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if addr == w.to && err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// The unmodified client, cut off from the leader, gets its timestamps and its answers through a follower.
func TestPDClientCutOffFromTheLeader(t *testing.T) {
	t.Parallel()
	g := newTrio(t)
	leader, followers := g.roles()
	_, err := g.connect(leader).Bootstrap(g.ctx, &pdpb.BootstrapRequest{Header: g.header(), Store: firstStore(), Region: firstRegion()})
	require.NoError(t, err)
	w := &wire{to: strings.TrimPrefix(leader.ClientURL(), "http://")}
	c, err := pd.NewClientWithContext(g.ctx, []string{followers[0].ClientURL(), followers[1].ClientURL()}, pd.SecurityOption{},
		opt.WithForwardingOption(true), opt.WithGRPCDialOptions(grpc.WithContextDialer(w.dial)))
	require.NoError(t, err)
	defer c.Close()
	w.cut()
	var last int64
	for range 3 {
		require.Eventually(t, func() bool { // the client tries the leader for some seconds first
			physical, logical, err := c.GetTS(g.ctx)
			if err != nil {
				return false
			}
			require.Greater(t, physical<<18|logical, last)
			last = physical<<18 | logical
			return true
		}, 2*soon, poll)
	}
	require.Eventually(t, func() bool {
		store, err := c.GetStore(g.ctx, 1)
		return err == nil && store.GetId() == 1
	}, 2*soon, poll)
	require.True(t, leader.Leads(), "it was the same leader all the time")
}

// The lead goes where it is told, fast, through any member; timestamps and ids go on increasing.
func TestLeadIsHandedOver(t *testing.T) { // P1, P2
	t.Parallel()
	g := newTrio(t)
	var lastTS, lastID uint64
	ask := func(leader *server.Server) {
		r := &rig{t: t, ctx: g.ctx, s: leader, pd: g.connect(leader)}
		ts, err := r.tso(1)
		require.NoError(t, err)
		require.Greater(t, ts, lastTS)
		id := r.allocID()
		require.Greater(t, id, lastID)
		lastTS, lastID = ts, id
	}
	leader, followers := g.roles()
	ask(leader)
	code, body := do(t, http.MethodPost, followers[0].ClientURL()+"/pd/api/v1/leader/transfer/"+nameOf(g, followers[1]))
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "The transfer command is submitted", body)
	require.Eventually(t, followers[1].Leads, soon, poll)
	leader, followers = g.roles()
	ask(leader)

	code, body = do(t, http.MethodPost, leader.ClientURL()+"/pd/api/v1/leader/resign")
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "The resign command is submitted", body)
	require.Eventually(t, func() bool { return followers[0].Leads() || followers[1].Leads() }, soon, poll)
	leader, followers = g.roles()
	ask(leader)

	code, body = do(t, http.MethodPost, leader.ClientURL()+"/pd/api/v1/leader/transfer/"+nameOf(g, leader))
	require.Equal(t, http.StatusOK, code, body)
	code, body = do(t, http.MethodPost, leader.ClientURL()+"/pd/api/v1/leader/transfer/nobody")
	require.Equal(t, http.StatusNotFound, code)
	require.Equal(t, "not found, pd: nobody", body)
	require.True(t, leader.Leads())

	// A member that is down is not led by; once removed it is no longer listed, and does not come back by itself.
	gone := slices.Index(g.all, followers[0])
	g.all[gone].Close()
	name := g.configs[gone].Name
	g.all = slices.Delete(g.all, gone, gone+1)
	code, body = do(t, http.MethodPost, leader.ClientURL()+"/pd/api/v1/leader/transfer/"+name)
	require.Equal(t, http.StatusInternalServerError, code)
	require.Equal(t, "member "+name+" is not up to lead", body)
	code, body = do(t, http.MethodDelete, leader.ClientURL()+"/pd/api/v1/members/name/"+g.leaderName(leader))
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, body, "hand the lead over first")
	code, body = do(t, http.MethodDelete, followers[1].ClientURL()+"/pd/api/v1/members/name/"+name)
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "removed, pd: "+name, body)
	res, err := g.connect(leader).GetMembers(g.ctx, &pdpb.GetMembersRequest{})
	require.NoError(t, err)
	require.Len(t, res.GetMembers(), 2)
}

func (g *trio) leaderName(s *server.Server) string {
	res, err := g.connect(s).GetMembers(g.ctx, &pdpb.GetMembersRequest{})
	require.NoError(g.t, err)
	return res.GetLeader().GetName()
}

// A lone scheduler becomes three, one after the other; each newcomer needs the flag once only, and the group outlives its
// first member.
func TestJoin(t *testing.T) {
	t.Parallel()
	first := schedulertest.Config(t)
	first.Logger = zap.NewNop()
	a := schedulertest.Run(t, first)
	ctx, cancel := context.WithTimeout(context.Background(), 3*soon)
	defer cancel()
	g := &trio{t: t, ctx: ctx, all: []*server.Server{a}}
	_, err := g.connect(a).Bootstrap(ctx, &pdpb.BootstrapRequest{Header: g.header(), Store: firstStore(), Region: firstRegion()})
	require.NoError(t, err)

	join := func(name string) server.Config {
		cfg := schedulertest.Config(t)
		cfg.Name, cfg.Join, cfg.Logger = name, first.ClientURLs[0], zap.NewNop()
		return cfg
	}
	run := func(cfg server.Config) *server.Server {
		s, err := server.New(cfg)
		require.NoError(t, err)
		require.NoError(t, s.Start(ctx))
		require.Equal(t, a.ClusterID(), s.ClusterID())
		return s
	}
	second, third := join("second"), join("third")
	b := run(second)
	c := run(third)
	require.FileExists(t, filepath.Join(third.DataDir, "join"))

	refuse := func(cfg server.Config, want string) {
		t.Helper()
		s, err := server.New(cfg)
		if err == nil {
			err = s.Start(ctx)
		}
		require.ErrorContains(t, err, want)
	}
	refuse(join("second"), "it has a member named second already")
	twin := join("fourth")
	twin.AdvertisePeerURLs = third.PeerURLs
	refuse(twin, "its member third has the peer URL "+third.PeerURLs[0]+" already")
	self := join("fourth")
	self.Join = self.ClientURLs[0]
	refuse(self, "cannot join itself")
	both := join("fourth")
	both.InitialCluster = "fourth=" + both.PeerURLs[0]
	refuse(both, "either joins a running group or begins one")

	c.Close()
	third.Join = ""
	c = run(third)
	require.Eventually(t, func() bool {
		res, err := g.connect(c).GetMembers(ctx, &pdpb.GetMembersRequest{})
		return err == nil && len(res.GetMembers()) == 3 && res.GetLeader() != nil
	}, soon, poll)
	a.Close()
	leader := schedulertest.Leader(t, b, c)
	res, err := g.connect(leader).GetStore(ctx, &pdpb.GetStoreRequest{Header: g.header(), StoreId: 1})
	require.NoError(t, err)
	require.Equal(t, metapb.StoreState_Up, res.GetStore().GetState())
	b.Close()
	c.Close()
}

// A member that died between its being added and its first start needs nothing but the same command again.
func TestJoinIsFinishedAfterACrash(t *testing.T) {
	t.Parallel()
	first := schedulertest.Config(t)
	first.Logger = zap.NewNop()
	a := schedulertest.Run(t, first)
	cfg := schedulertest.Config(t)
	cfg.Name, cfg.Join, cfg.Logger = "second", first.ClientURLs[0], zap.NewNop()
	r := &rig{t: t, s: a}
	_, err := r.etcd().MemberAdd(context.Background(), cfg.PeerURLs)
	require.NoError(t, err)

	// Another one must not join before: the group of two could never agree to anything.
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	other := schedulertest.Config(t)
	other.Name, other.Join = "other", first.ClientURLs[0]
	s, err := server.New(other)
	require.NoError(t, err)
	require.ErrorContains(t, s.Start(ctx), "was added but has never run")
	require.NoFileExists(t, filepath.Join(other.DataDir, "join"))

	s, err = server.New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Start(ctx))
	require.Equal(t, a.ClusterID(), s.ClusterID())
	s.Close()
	a.Close()
	require.NoError(t, os.RemoveAll(cfg.DataDir))
}

// Nobody there to join is an error that says so.
func TestJoinWithNobodyThere(t *testing.T) {
	t.Parallel()
	cfg := schedulertest.Config(t)
	cfg.Join = schedulertest.FreeURL(t)
	s, err := server.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*poll)
	defer cancel()
	require.ErrorContains(t, s.Start(ctx), "cannot join the group at "+cfg.Join)
}
