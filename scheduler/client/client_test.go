package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoal-kv/shoal/scheduler/client"
	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

const soon, poll = 20 * time.Second, 5 * time.Millisecond

// Members of one group in one process leave each other's idle HTTP connections open; a lone member leaves nothing.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	)
}

func dial(_ context.Context, addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func connect(t *testing.T, endpoints ...string) *client.Client {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	c, err := client.New(ctx, endpoints, dial, zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func withDeadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}

func store(id uint64) *metapb.Store {
	return &metapb.Store{Id: id, Address: fmt.Sprintf("127.0.0.1:%d", 20000+id), Version: "8.5.0"}
}

func region(id uint64, version uint64) *metapb.Region {
	return &metapb.Region{
		Id: id, RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: 1},
		Peers: []*metapb.Peer{{Id: id * 100, StoreId: 1}},
	}
}

func report(m *metapb.Region) *pdpb.RegionHeartbeatRequest {
	return &pdpb.RegionHeartbeatRequest{Region: m, Leader: m.Peers[0], Term: 5}
}

func TestCalls(t *testing.T) {
	s := schedulertest.Start(t, schedulertest.Config(t))
	c := connect(t, s.ClientURL())
	ctx := withDeadline(t)
	require.Equal(t, s.ClusterID(), c.ClusterID())

	id, err := c.AllocID(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(1), id)
	yes, err := c.IsBootstrapped(ctx)
	require.NoError(t, err)
	require.False(t, yes)
	_, err = c.GetStore(ctx, 1)
	require.ErrorIs(t, err, client.ErrNotBootstrapped)
	require.ErrorIs(t, c.PutStore(ctx, store(1)), client.ErrNotBootstrapped)

	require.ErrorContains(t, c.Bootstrap(ctx, store(1), &metapb.Region{Id: 2}), "peer count")
	require.NoError(t, c.Bootstrap(ctx, store(1), region(2, 1)))
	require.ErrorIs(t, c.Bootstrap(ctx, store(1), region(2, 1)), client.ErrAlreadyBootstrapped)
	yes, err = c.IsBootstrapped(ctx)
	require.NoError(t, err)
	require.True(t, yes)

	require.NoError(t, c.PutStore(ctx, store(3)))
	twin := store(4)
	twin.Address = store(3).Address
	var refused *client.Error
	require.ErrorAs(t, c.PutStore(ctx, twin), &refused)
	require.Contains(t, refused.Message, "duplicated store address")
	got, err := c.GetStore(ctx, 3)
	require.NoError(t, err)
	require.Equal(t, store(3), got)
	_, err = c.GetStore(ctx, 99)
	require.ErrorIs(t, err, client.ErrStoreNotFound)
	require.NoError(t, c.StoreHeartbeat(ctx, &pdpb.StoreStats{StoreId: 3}))
	require.ErrorContains(t, c.StoreHeartbeat(ctx, &pdpb.StoreStats{StoreId: 99}), "store 99 not found")
	stores, err := c.GetAllStores(ctx)
	require.NoError(t, err)
	require.Len(t, stores, 2)

	m, leader, err := c.GetRegionByID(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, region(2, 1), m)
	require.Nil(t, leader)
	m, _, err = c.GetRegionByID(ctx, 9)
	require.NoError(t, err)
	require.Nil(t, m)
	regions, err := c.ScanRegions(ctx, nil, nil, 0)
	require.NoError(t, err)
	require.Equal(t, []client.Region{{Meta: region(2, 1)}}, regions)
}

func TestTombstones(t *testing.T) {
	cfg := schedulertest.Config(t)
	s := schedulertest.Run(t, cfg)
	c := connect(t, s.ClientURL())
	require.NoError(t, c.Bootstrap(withDeadline(t), store(1), region(2, 1)))
	buried := store(6)
	buried.State = metapb.StoreState_Tombstone
	value, err := buried.Marshal()
	require.NoError(t, err)
	etcd := etcdOf(t, s)
	_, err = etcd.Put(withDeadline(t), fmt.Sprintf("/pd/%d/raft/s/%020d", s.ClusterID(), 6), string(value))
	require.NoError(t, err)
	require.NoError(t, etcd.Close())
	s.Close()
	schedulertest.Start(t, cfg)
	_, err = c.GetStore(withDeadline(t), 6)
	require.ErrorIs(t, err, client.ErrStoreTombstone)
	require.ErrorIs(t, c.PutStore(withDeadline(t), store(6)), client.ErrStoreTombstone)
	require.ErrorIs(t, c.StoreHeartbeat(withDeadline(t), &pdpb.StoreStats{StoreId: 6}), client.ErrStoreTombstone)
}

func etcdOf(t *testing.T, s *server.Server) *clientv3.Client {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{s.ClientURL()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	return etcd
}

func TestNewReportsWhatIsWrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := client.New(ctx, []string{schedulertest.FreeURL(t)}, dial, zap.NewNop())
	require.ErrorContains(t, err, "no scheduler leads at http://127.0.0.1:")
	_, err = client.New(ctx, nil, dial, zap.NewNop())
	require.ErrorContains(t, err, "no scheduler endpoint is given")
}

// A store may start before its scheduler, name dead members, and live through the scheduler's restart.
func TestClientFindsTheSchedulerAgain(t *testing.T) {
	cfg := schedulertest.Config(t)
	url := cfg.ClientURLs[0]
	running := make(chan *server.Server, 1)
	go func() { running <- schedulertest.Run(t, cfg) }()
	c := connect(t, schedulertest.FreeURL(t), url)
	s := <-running
	first, err := c.AllocID(withDeadline(t))
	require.NoError(t, err)
	s.Close()
	short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = c.AllocID(short)
	require.Error(t, err)

	go func() { running <- schedulertest.Run(t, cfg) }()
	second, err := c.AllocID(withDeadline(t))
	require.NoError(t, err)
	require.Greater(t, second, first)
	(<-running).Close()
}

// Another cluster's scheduler on the old port is not talked to.
func TestClientRefusesAnotherCluster(t *testing.T) { // S19
	cfg := schedulertest.Config(t)
	s := schedulertest.Run(t, cfg)
	c := connect(t, s.ClientURL())
	s.Close()
	cfg.DataDir = t.TempDir()
	other := schedulertest.Start(t, cfg)
	require.NotEqual(t, c.ClusterID(), other.ClusterID())
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := c.AllocID(short)
	require.ErrorContains(t, err, fmt.Sprintf("belongs to cluster %d", other.ClusterID()))
	direct := connect(t, other.ClientURL())
	id, err := direct.AllocID(withDeadline(t))
	require.NoError(t, err)
	require.Equal(t, uint64(1), id, "the stranger got no request")
}

func TestHeartbeatsAndCommands(t *testing.T) {
	s := schedulertest.Start(t, schedulertest.Config(t))
	c := connect(t, s.ClientURL())
	ctx := withDeadline(t)
	require.NoError(t, c.Bootstrap(ctx, store(1), region(2, 1)))
	require.NoError(t, c.PutStore(ctx, store(3)))
	require.NoError(t, c.StoreHeartbeat(ctx, &pdpb.StoreStats{StoreId: 3}))

	for v := uint64(1); v <= 50; v++ { // before there is a stream: only the newest is sent
		c.RegionHeartbeat(report(region(2, v)))
	}
	commands := make(chan *pdpb.RegionHeartbeatResponse, 100)
	var opened atomic.Int64
	c.Start(func(r *pdpb.RegionHeartbeatResponse) { commands <- r }, func() { opened.Add(1) })
	first := <-commands
	require.Equal(t, uint64(2), first.GetRegionId())
	require.Equal(t, uint64(50), first.GetRegionEpoch().GetVersion())
	require.Equal(t, uint64(3), first.GetChangePeer().GetPeer().GetStoreId())
	require.Equal(t, int64(1), opened.Load())

	c.RegionHeartbeat(report(region(2, 1))) // refused as stale: no command
	c.RegionHeartbeat(report(region(2, 51)))
	for {
		next := <-commands
		require.Equal(t, first.GetChangePeer(), next.GetChangePeer())
		if next.GetRegionEpoch().GetVersion() == 51 {
			break
		}
	}
	m, leader, err := c.GetRegionByID(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, uint64(51), m.GetRegionEpoch().GetVersion())
	require.Equal(t, uint64(200), leader.GetId())
}

// After a restart, and after a term that ended within the running scheduler, the stream is opened again and the store is
// asked to report everything.
func TestHeartbeatsResumeUnderTheNextLeader(t *testing.T) {
	cfg := schedulertest.Config(t)
	s := schedulertest.Run(t, cfg)
	c := connect(t, s.ClientURL())
	require.NoError(t, c.Bootstrap(withDeadline(t), store(1), region(2, 1)))
	var opened atomic.Int64
	c.Start(func(*pdpb.RegionHeartbeatResponse) {}, func() {
		opened.Add(1)
		c.RegionHeartbeat(report(region(2, 1)))
	})
	known := func() bool {
		_, leader, err := c.GetRegionByID(withDeadline(t), 2)
		return err == nil && leader != nil
	}
	require.Eventually(t, known, soon, poll)
	etcd := etcdOf(t, s)
	_, err := etcd.Delete(withDeadline(t), fmt.Sprintf("/pd/%d/leader", s.ClusterID()))
	require.NoError(t, err)
	require.NoError(t, etcd.Close())
	require.Eventually(t, func() bool { return opened.Load() >= 2 && known() }, soon, poll)
	before := opened.Load()
	s.Close()
	schedulertest.Start(t, cfg)
	require.Eventually(t, func() bool { return opened.Load() > before && known() }, soon, poll)
}

func TestHeartbeatNeverBlocks(t *testing.T) {
	s := schedulertest.Start(t, schedulertest.Config(t))
	c := connect(t, s.ClientURL())
	var wg sync.WaitGroup
	for i := range uint64(4) {
		wg.Go(func() {
			for id := range uint64(40_000) {
				c.RegionHeartbeat(report(region(i*40_000+id+1, 1)))
			}
		})
	}
	wg.Wait() // nobody reads; what is above the bound is dropped
}

func TestClosedClientRefuses(t *testing.T) {
	s := schedulertest.Start(t, schedulertest.Config(t))
	c := connect(t, s.ClientURL())
	c.Start(func(*pdpb.RegionHeartbeatResponse) {}, func() {})
	c.Close()
	_, err := c.AllocID(withDeadline(t))
	require.ErrorContains(t, err, "closed")
}

// A store that knows one of three schedulers, and not the leader, finds the leader, and the next one after that is gone.
func TestThreeSchedulers(t *testing.T) { // P2
	group := map[string]server.Config{}
	initial := ""
	for _, name := range []string{"a", "b", "c"} {
		cfg := schedulertest.Config(t)
		cfg.Name = name
		group[name] = cfg
		initial += fmt.Sprintf(",%s=%s", name, cfg.PeerURLs[0])
	}
	started := make(chan *server.Server, len(group))
	for _, cfg := range group {
		cfg.InitialCluster = initial[1:]
		go func() {
			s, err := server.New(cfg)
			if err == nil {
				err = s.Start(withDeadline(t))
			}
			if err != nil {
				t.Error(err)
			}
			started <- s
		}()
	}
	var leader *server.Server
	var followers []*server.Server
	all := []*server.Server{<-started, <-started, <-started}
	require.Eventually(t, func() bool {
		leader, followers = nil, nil
		for _, s := range all {
			if s.Leads() {
				leader = s
			} else {
				followers = append(followers, s)
			}
		}
		return leader != nil && len(followers) == 2
	}, soon, poll)
	c := connect(t, followers[0].ClientURL())
	require.NoError(t, c.Bootstrap(withDeadline(t), store(1), region(2, 1)))
	before, err := c.AllocID(withDeadline(t))
	require.NoError(t, err)
	var opened atomic.Int64
	c.Start(func(*pdpb.RegionHeartbeatResponse) {}, func() {
		opened.Add(1)
		c.RegionHeartbeat(report(region(2, 1)))
	})
	require.Eventually(t, func() bool { return opened.Load() == 1 }, soon, poll)
	leader.Close()
	after, err := c.AllocID(withDeadline(t))
	require.NoError(t, err)
	require.Greater(t, after, before)
	require.Eventually(t, func() bool {
		_, leader, err := c.GetRegionByID(withDeadline(t), 2)
		return err == nil && leader != nil
	}, soon, poll)
	c.Close()
	for _, s := range followers {
		s.Close()
	}
}
