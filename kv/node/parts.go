package node

import (
	"context"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/transport"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/kv/storage/traffic"
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
	for _, used := range n.usage {
		s.UsedSize += used()
	}
	s.Available = min(s.Available, s.Capacity-min(s.Capacity, s.UsedSize))
	f := n.traffic.TakeStore()
	s.BytesRead, s.KeysRead, s.BytesWritten, s.KeysWritten, s.Interval = f.Read.Bytes, f.Read.Keys, f.Written.Bytes, f.Written.Keys, interval(f)
}

// flow adds to the report of a region what was read and written.
func (n *Node) flow(hb *pdpb.RegionHeartbeatRequest) {
	if f, ok := n.traffic.TakeRegion(hb.Region.Id); ok {
		hb.BytesRead, hb.KeysRead, hb.BytesWritten, hb.KeysWritten, hb.Interval = f.Read.Bytes, f.Read.Keys, f.Written.Bytes, f.Written.Keys, interval(f)
	}
}

// interval is in whole seconds, and not empty: that would stand for an interval that is not told.
func interval(f traffic.Flow) *pdpb.TimeInterval {
	until := uint64(f.Until.Unix())
	return &pdpb.TimeInterval{StartTimestamp: until - max(1, uint64(f.Until.Sub(f.Since).Round(time.Second).Seconds())), EndTimestamp: until}
}

func serverLimits(cfg *config.Config) server.Limits {
	s := &cfg.Server
	return server.Limits{
		MaxKeySize: int(cfg.Storage.MaxKeySize), MaxEntrySize: int(cfg.Raftstore.RaftEntryMaxSize), MaxScanRows: s.MaxScanRows,
		MaxResponseSize: int(s.MaxResponseSize), MaxStreamRequests: s.MaxStreamRequests, MaxStreamBytes: int(s.MaxStreamSize),
	}
}

func (n *Node) limits() raftstore.Limits {
	l := raftstore.NewLimits(&n.cfg.Raftstore.Queues)
	l.SnapshotBytesPerSec = int64(n.cfg.Server.SnapIOMaxBytesPerSec)
	return l
}

func transportLimits(cfg *config.Config) transport.Limits {
	q := &cfg.Raftstore.Queues
	return transport.Limits{
		QueueMessages: q.TransportMessages, QueueBytes: int(q.TransportSize),
		SnapshotBytesPerSec: int64(cfg.Server.SnapIOMaxBytesPerSec),
		SnapshotSends:       cfg.Server.ConcurrentSendSnaps, SnapshotReceives: cfg.Server.ConcurrentRecvSnaps,
	}
}
