package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clusterID = 42

// directory is the Resolver of all nodes of a test.
type directory struct {
	mu        sync.Mutex
	addresses map[uint64]string
	asked     int
}

func (d *directory) set(store uint64, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addresses == nil {
		d.addresses = make(map[uint64]string)
	}
	d.addresses[store] = address
}

func (d *directory) Address(_ context.Context, store uint64) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if a := d.addresses[store]; a != "" {
		return a, nil
	}
	return "", errors.Errorf("store %d is not known", store)
}

// recorder is a Handler that keeps everything.
type recorder struct {
	mu          sync.Mutex
	delivered   []*raft_serverpb.RaftMessage
	unreachable map[uint64]int
	snapshots   []string
	onDeliver   func(msgs []*raft_serverpb.RaftMessage)
}

func (r *recorder) Deliver(msgs []*raft_serverpb.RaftMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivered = append(r.delivered, msgs...)
	if r.onDeliver != nil {
		r.onDeliver(msgs)
	}
}

func (r *recorder) Unreachable(store uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unreachable == nil {
		r.unreachable = make(map[uint64]int)
	}
	r.unreachable[store]++
}

func (r *recorder) SnapshotSent(region, peer uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snapshots = append(r.snapshots, fmt.Sprintf("region %d peer %d %t", region, peer, ok))
}

func (r *recorder) messages() []*raft_serverpb.RaftMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*raft_serverpb.RaftMessage(nil), r.delivered...)
}

func (r *recorder) lost(store uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unreachable[store]
}

func (r *recorder) sentSnapshots() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.snapshots...)
}

// node is one store's end: a transport and the server that it receives by.
type node struct {
	tikvpb.UnimplementedTikvServer
	*Transport
	recorder
	id     uint64
	snaps  *snapfile.Manager
	files  *snapfile.MemFS
	server *grpc.Server
	served chan error
	addr   string
}

func (n *node) Raft(s tikvpb.Tikv_RaftServer) error           { return n.Transport.Raft(s) }
func (n *node) BatchRaft(s tikvpb.Tikv_BatchRaftServer) error { return n.Transport.BatchRaft(s) }
func (n *node) Snapshot(s tikvpb.Tikv_SnapshotServer) error   { return n.Transport.Snapshot(s) }

// start runs a node at addr, and enters it into the directory.
func start(t testing.TB, d *directory, id uint64, addr string, change ...func(o *Options)) *node {
	n := &node{id: id, files: snapfile.NewMemFS()}
	var err error
	n.snaps, err = snapfile.New(n.files)
	require.NoError(t, err)
	opts := Options{
		StoreID: id, ClusterID: clusterID, Resolver: d, Snapshots: n.snaps, Handler: n,
		Dial:    func(addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) },
		Metrics: prometheus.NewRegistry(),
	}
	for _, c := range change {
		c(&opts)
	}
	n.Transport, err = New(opts)
	require.NoError(t, err)
	n.addr, n.server, n.served = serve(t, n, addr)
	d.set(id, n.addr)
	t.Cleanup(n.halt)
	return n
}

// serve runs a server until it is stopped.
func serve(t testing.TB, service tikvpb.TikvServer, addr string) (string, *grpc.Server, chan error) {
	var listener net.Listener
	require.Eventually(t, func() (ok bool) { // a port that was just given up may take a moment
		var err error
		listener, err = rpc.Listen(addr)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	opts, err := rpc.ServerOptions(rpc.Security{})
	require.NoError(t, err)
	server := grpc.NewServer(append(opts, grpc.WaitForHandlers(true))...)
	tikvpb.RegisterTikvServer(server, service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener.Addr().String(), server, served
}

// halt stops the node as a store does: the streams end, so that the server can be stopped gracefully.
func (n *node) halt() {
	if n.server == nil {
		return
	}
	n.Close()
	n.server.GracefulStop()
	<-n.served
	n.server = nil
}

// listen is an address that nobody listens at.
func unusedAddress(t testing.TB) string {
	l, err := rpc.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

func message(from, to, region, index uint64, size int) *raft_serverpb.RaftMessage {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(index)
	}
	return &raft_serverpb.RaftMessage{
		RegionId:    region,
		FromPeer:    &metapb.Peer{Id: from * 10, StoreId: from},
		ToPeer:      &metapb.Peer{Id: to * 10, StoreId: to},
		RegionEpoch: &metapb.RegionEpoch{ConfVer: 1, Version: 1},
		Message: &eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgAppend, From: from * 10, To: to * 10, Term: 6, Index: index,
			Entries: []*eraftpb.Entry{{Term: 6, Index: index + 1, Data: data}},
		},
	}
}

func list(msgs ...*raft_serverpb.RaftMessage) []*raft_serverpb.RaftMessage { return msgs }

func eventually(t testing.TB, ok func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, ok, 15*time.Second, 2*time.Millisecond, append([]any{what}, args...)...)
}

// sendUntil repeats a message until it arrives.
func sendUntil(t testing.TB, from, to *node, index uint64) {
	t.Helper()
	eventually(t, func() bool {
		from.Send(list(message(from.id, to.id, 1, index, 10)))
		for _, m := range to.messages() {
			if m.Message.Index == index {
				return true
			}
		}
		return false
	}, "message %d from store %d to store %d", index, from.id, to.id)
}

func (n *node) dropped(reason string) int { return count(n.metrics.dropped.WithLabelValues(reason)) }

func (n *node) refused(reason string) int { return count(n.metrics.refused.WithLabelValues(reason)) }

// count reads a counter.
func count(c prometheus.Counter) int {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	return int(families[0].GetMetric()[0].GetCounter().GetValue())
}
