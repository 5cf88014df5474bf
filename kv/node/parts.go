package node

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/transport"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/rpc"
)

// resolver finds stores by asking the scheduler.
type resolver struct{ cp ControlPlane }

// Address implements transport.Resolver.
func (r resolver) Address(ctx context.Context, storeID uint64) (string, error) {
	s, err := r.cp.GetStore(ctx, storeID)
	if err != nil {
		return "", err
	}
	if s.PeerAddress != "" {
		return s.PeerAddress, nil
	}
	return s.Address, nil
}

func security(cfg *config.Config) rpc.Security {
	return rpc.Security{CA: cfg.Security.CAPath, Cert: cfg.Security.CertPath, Key: cfg.Security.KeyPath}
}

func dialer(sec rpc.Security) func(string) (*grpc.ClientConn, error) {
	return func(addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, sec) }
}

// stats adds to a store heartbeat what the node knows of its disk.
func (n *Node) stats(s *pdpb.StoreStats) {
	var fs unix.Statfs_t
	if err := unix.Statfs(n.cfg.Storage.DataDir, &fs); err == nil {
		s.Capacity, s.Available = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	}
	if limit := uint64(n.cfg.Raftstore.Capacity); limit > 0 {
		s.Capacity = min(s.Capacity, limit)
	}
	for _, db := range n.pebbles {
		m := db.Metrics()
		s.UsedSize += m.TableBytes + m.MemTableBytes
	}
	s.Available = min(s.Available, s.Capacity-min(s.Capacity, s.UsedSize))
}

// statusServer is the HTTP side of a store.
type statusServer struct {
	listener net.Listener
	http     http.Server
	done     chan struct{}
}

func (n *Node) listenStatus() (*statusServer, error) {
	l, err := rpc.Listen(n.cfg.Server.StatusAddr)
	if err != nil {
		return nil, err
	}
	return &statusServer{listener: l, http: http.Server{ReadHeaderTimeout: 10 * time.Second}}, nil
}

// handle decides what the status server shows.
func (s *statusServer) handle(n *Node, reg *prometheus.Registry) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /region/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseUint(r.PathValue("id"), 10, 64)
		_ = json.NewEncoder(w).Encode(n.regionStatus(id))
	})
	s.http.Handler = mux
}

func (s *statusServer) serve() {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.http.Serve(s.listener) // ends with close
	}()
}

func (s *statusServer) close() {
	_ = s.http.Close()
	_ = s.listener.Close()
	if s.done != nil {
		<-s.done
	}
}

// regionStatus is what /region/{id} shows.
type regionStatus struct {
	ID          uint64            `json:"id"`
	Region      any               `json:"region"`
	PeerID      uint64            `json:"peer_id"`
	Leader      any               `json:"leader"`
	Term        uint64            `json:"term"`
	IsLeader    bool              `json:"is_leader"`
	Initialized bool              `json:"initialized"`
	LeaseMS     int64             `json:"lease_remaining_ms"`
	Log         machine.LogStatus `json:"log"`
}

// regionStatus answers the status server; nil when there is no such region here.
func (n *Node) regionStatus(id uint64) any {
	v := n.store.View(id)
	if v == nil || v.Gone {
		return nil
	}
	return &regionStatus{
		ID: id, Region: v.Region, PeerID: v.PeerID, Leader: v.Leader, Term: v.Term, IsLeader: v.IsLeader, Initialized: v.Initialized,
		LeaseMS: max(0, int64(v.LeaseEnd-raftstore.Boottime())/int64(time.Millisecond)), Log: v.Log,
	}
}

func serverLimits(cfg *config.Config) server.Limits {
	s := &cfg.Server
	return server.Limits{
		MaxKeySize: int(cfg.Storage.MaxKeySize), MaxEntrySize: int(cfg.Raftstore.RaftEntryMaxSize), MaxScanRows: s.MaxScanRows,
		MaxResponseSize: int(s.MaxResponseSize), MaxStreamRequests: s.MaxStreamRequests, MaxStreamBytes: int(s.MaxStreamSize),
	}
}

func transportLimits(cfg *config.Config) transport.Limits {
	q := &cfg.Raftstore.Queues
	return transport.Limits{
		QueueMessages: q.TransportMessages, QueueBytes: int(q.TransportSize),
		SnapshotSends: cfg.Server.ConcurrentSendSnaps, SnapshotReceives: cfg.Server.ConcurrentRecvSnaps,
	}
}
