package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/kv/raftstore/transport"
	"github.com/shoal-kv/shoal/rpc"
)

// rateEnd is one store as far as a snapshot passes through it.
type rateEnd struct {
	tikvpb.UnimplementedTikvServer
	id   uint64
	disk *raftstore.Disk
	wire *transport.Transport
	sent chan bool
	got  chan *raft_serverpb.RaftMessage
}

func (e *rateEnd) Snapshot(s tikvpb.Tikv_SnapshotServer) error { return e.wire.Snapshot(s) }
func (e *rateEnd) Deliver(msgs []*raft_serverpb.RaftMessage) {
	for _, m := range msgs {
		e.got <- m
	}
}
func (e *rateEnd) Unreachable(uint64)                {}
func (e *rateEnd) SnapshotSent(_, _ uint64, ok bool) { e.sent <- ok }

type oneAddress string

func (a oneAddress) Address(context.Context, uint64) (string, error) { return string(a), nil }

func openRateEnd(b *testing.B, id uint64, dir string, peer oneAddress) *rateEnd {
	e := &rateEnd{id: id, sent: make(chan bool, 1), got: make(chan *raft_serverpb.RaftMessage, 1)}
	open := func(name string) engine.Engine {
		db, err := pebbledb.Open(pebbledb.Options{Dir: filepath.Join(dir, name)})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, db.Close()) })
		return db
	}
	files, err := snapfile.OSDir(filepath.Join(dir, "snap"))
	require.NoError(b, err)
	snaps, err := snapfile.New(files)
	require.NoError(b, err)
	e.disk = &raftstore.Disk{Log: logstore.New(open(logDir)), State: open(stateDir), Snapshots: snaps}
	e.wire, err = transport.New(transport.Options{
		StoreID: id, ClusterID: 1, Resolver: peer, Snapshots: snaps, Handler: e,
		Dial: func(addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) },
	})
	require.NoError(b, err)
	b.Cleanup(e.wire.Close)
	return e
}

// rateRegion is what moves.
func rateRegion() *metapb.Region {
	return &metapb.Region{
		Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 2},
		Peers: []*metapb.Peer{{Id: 2, StoreId: 1}, {Id: 3, StoreId: 2}},
	}
}

// load fills the region with size bytes of keys and values that compress to about a half, in the order of nobody.
func (e *rateEnd) load(b *testing.B, size int) {
	require.NoError(b, raftstore.WriteFirstRegion(e.disk, rateRegion(), false))
	const valueLen = 512
	rng := rand.New(rand.NewPCG(1, 2))
	order := rng.Perm(size / (valueLen + 20))
	value := make([]byte, valueLen)
	batch := e.disk.State.NewBatch()
	defer func() { _ = batch.Close() }()
	for i, n := range order {
		for j := 0; j < valueLen/2; j += 8 {
			bits := rng.Uint64()
			for k := range 8 {
				value[j+k] = byte(bits >> (8 * k))
			}
		}
		batch.Put(engine.Default, fmt.Appendf(nil, "user%016d", n), value)
		if i%1000 == 999 || i == len(order)-1 {
			require.NoError(b, batch.Commit(false))
			batch.Reset()
		}
	}
	require.NoError(b, e.disk.State.Sync())
}

// BenchmarkSnapshotRate moves one region's data from one store's directory to another's, as a snapshot, and prints how fast, beside
// how fast the disk takes as many bytes in sequence. SHOAL_RATE_MIB says how much; 1024 if it does not.
//
//	make snapshot-rate
func BenchmarkSnapshotRate(b *testing.B) {
	mib := 1024
	if s := os.Getenv("SHOAL_RATE_MIB"); s != "" {
		var err error
		mib, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	dir := b.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	to := openRateEnd(b, 2, filepath.Join(dir, "to"), "")
	options, err := rpc.ServerOptions(rpc.Security{})
	require.NoError(b, err)
	server := grpc.NewServer(options...)
	tikvpb.RegisterTikvServer(server, to)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	b.Cleanup(func() { server.Stop(); <-served })
	from := openRateEnd(b, 1, filepath.Join(dir, "from"), oneAddress(l.Addr().String()))
	from.load(b, mib<<20)

	var disk, build, stream, install, whole []float64
	rate := func(d time.Duration) float64 { return float64(mib) / d.Seconds() }
	for b.Loop() {
		disk = append(disk, rate(writeInSequence(b, filepath.Join(dir, "sequence"), mib)))
		begin := time.Now()
		snap, err := from.disk.BuildSnapshot(1, func(int) error { return nil })
		require.NoError(b, err)
		built := time.Now()
		r := rateRegion()
		from.wire.Send([]*raft_serverpb.RaftMessage{{
			RegionId: 1, FromPeer: r.Peers[0], ToPeer: r.Peers[1], RegionEpoch: r.RegionEpoch,
			Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, To: 3, Snapshot: snap},
		}})
		require.True(b, <-from.sent)
		<-to.got
		received := time.Now()
		at := machine.Pair{Index: snap.Metadata.Index, Term: snap.Metadata.Term}
		batch := to.disk.State.NewBatch()
		_, _, err = to.disk.Apply(machine.NewApplyMachine(2, machine.StoreState{}), []machine.ApplyTask{{
			RegionID: 1, PeerID: 3, Install: &machine.Installation{Region: r, At: at},
		}}, batch)
		require.NoError(b, err)
		end := time.Now()
		require.NoError(b, batch.Close())
		build, stream = append(build, rate(built.Sub(begin))), append(stream, rate(received.Sub(built)))
		install, whole = append(install, rate(end.Sub(received))), append(whole, rate(end.Sub(begin)))
		key := snapfile.Key{RegionID: 1, Term: at.Term, Index: at.Index}
		require.NoError(b, from.disk.Snapshots.Delete(key, false))
		require.NoError(b, to.disk.Snapshots.Delete(key, true))
		disk = append(disk, rate(writeInSequence(b, filepath.Join(dir, "sequence"), mib)))
	}
	b.ReportMetric(median(disk), "disk-MiB/s")
	b.ReportMetric(median(build), "build-MiB/s")
	b.ReportMetric(median(stream), "stream-MiB/s")
	b.ReportMetric(median(install), "install-MiB/s")
	b.ReportMetric(median(whole), "whole-MiB/s")
	b.ReportMetric(median(whole)/median(disk), "of-disk")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// writeInSequence writes mib MiB that do not compress into a new file, syncs it, and takes the time.
func writeInSequence(b *testing.B, name string, mib int) time.Duration {
	chunk := make([]byte, 1<<20)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(chunk) // never fails
	begin := time.Now()
	f, err := os.Create(name)
	require.NoError(b, err)
	for range mib {
		_, err := f.Write(chunk)
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	took := time.Since(begin)
	require.NoError(b, os.Remove(name))
	return took
}
