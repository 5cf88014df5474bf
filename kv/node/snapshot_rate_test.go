package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
	id   uint64
	disk *raftstore.Disk
	wire *transport.Transport
	sent chan bool
	got  chan *raft_serverpb.RaftMessage
}

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
	b.Cleanup(func() { require.NoError(b, snaps.Close()) })
	e.disk = &raftstore.Disk{Log: logstore.New(open(logDir)), State: open(stateDir), Snapshots: snaps}
	snaps.StageIn(e.disk.State.(engine.Stager))
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

// BenchmarkSnapshotRate moves one region's data from one store's directory to that of another, which has nothing of it, as a snapshot, and prints
// how fast, beside how fast the disk takes as many bytes in sequence, before and after each time. Beside the rates, which other load
// on the machine spoils, it prints the seconds of CPU for each GiB, of all that happens meanwhile. SHOAL_RATE_MIB says how much to move; 1024 if it
// does not.
//
//	make snapshot-rate
func BenchmarkSnapshotRate(b *testing.B) {
	mib := 1024
	if s := os.Getenv("SHOAL_RATE_MIB"); s != "" {
		var err error
		mib, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	cores := AddProcessor() // as a store's process does
	b.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	dir := b.TempDir()
	rig := newRateRig(b, dir, mib)
	data, written := alignedNoise(64<<20), filepath.Join(dir, "sequence")
	direct, cached := rateMeter{name: "disk", mib: mib}, rateMeter{name: "cached-disk", mib: mib}
	move, install, whole := rateMeter{name: "move", mib: mib}, rateMeter{name: "install", mib: mib}, rateMeter{name: "whole", mib: mib}
	for i := 0; b.Loop(); i++ {
		to := rig.receiver(b, filepath.Join(dir, fmt.Sprintf("to-%d", i)))
		sequence := func() {
			direct.measure(func() { writeInSequence(b, written, unix.O_DIRECT, data, mib) })
			require.NoError(b, os.Remove(written))
			cached.measure(func() { writeInSequence(b, written, 0, data, mib) })
			require.NoError(b, os.Remove(written))
		}
		sequence()
		whole.measure(func() {
			var at machine.Pair
			move.measure(func() { at = rig.move(b, to) })
			install.measure(func() { to.install(b, at) })
		})
		sequence()
	}
	for _, m := range []*rateMeter{&direct, &cached, &move, &install, &whole} {
		m.report(b)
	}
	b.ReportMetric(median(whole.rates)/max(median(direct.rates), median(cached.rates)), "of-disk")
}

// rateRig is a store that has the data, and a server for those that receive it.
type rateRig struct {
	from *rateEnd
	at   atomic.Pointer[rateEnd] // who receives
	tikvpb.UnimplementedTikvServer
}

func (r *rateRig) Snapshot(s tikvpb.Tikv_SnapshotServer) error { return r.at.Load().wire.Snapshot(s) }

func newRateRig(b *testing.B, dir string, mib int) *rateRig {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	options, err := rpc.ServerOptions(rpc.Security{})
	require.NoError(b, err)
	r, server := new(rateRig), grpc.NewServer(options...)
	tikvpb.RegisterTikvServer(server, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	b.Cleanup(func() { server.Stop(); <-served })
	r.from = openRateEnd(b, 1, filepath.Join(dir, "from"), oneAddress(l.Addr().String()))
	r.from.load(b, mib<<20)
	settled := uint64(0)
	require.Eventually(b, func() bool { // compactions of what was just written are no part of the question
		before := settled
		m := r.from.disk.State.(*pebbledb.DB).Metrics()
		settled = m.Compactions
		return settled == before && m.Compacting == 0
	}, 5*time.Minute, 2*time.Second)
	return r
}

// receiver makes a new, empty store that receives.
func (r *rateRig) receiver(b *testing.B, dir string) *rateEnd {
	r.at.Store(openRateEnd(b, 2, dir, ""))
	return r.at.Load()
}

// move sends the region as a snapshot, until its message has been delivered.
func (r *rateRig) move(b *testing.B, to *rateEnd) machine.Pair {
	snap, err := r.from.disk.BuildSnapshot(1, nil)
	require.NoError(b, err)
	region, at := rateRegion(), machine.Pair{Index: snap.Metadata.Index, Term: snap.Metadata.Term}
	r.from.wire.Send([]*raft_serverpb.RaftMessage{{
		RegionId: 1, FromPeer: region.Peers[0], ToPeer: region.Peers[1], RegionEpoch: region.RegionEpoch,
		Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, To: 3, Snapshot: snap},
	}})
	require.True(b, <-r.from.sent)
	<-to.got
	require.NoError(b, r.from.disk.Snapshots.Delete(snapfile.Key{RegionID: 1, Term: at.Term, Index: at.Index}, false))
	return at
}

// install puts what was received in place.
func (e *rateEnd) install(b *testing.B, at machine.Pair) {
	batch := e.disk.State.NewBatch()
	_, _, err := e.disk.Apply(machine.NewApplyMachine(2, machine.StoreState{}), []machine.ApplyTask{{
		RegionID: 1, PeerID: 3, Install: &machine.Installation{Region: rateRegion(), At: at},
	}}, batch)
	require.NoError(b, err)
	require.NoError(b, batch.Close())
}

// rateMeter gathers how fast something goes, in MiB/s, and what it costs, in seconds of CPU for each GiB.
type rateMeter struct {
	name        string
	mib         int
	rates, cpus []float64
}

func (m *rateMeter) measure(do func()) {
	begin, before := time.Now(), usedCPU()
	do()
	m.rates = append(m.rates, float64(m.mib)/time.Since(begin).Seconds())
	m.cpus = append(m.cpus, (usedCPU()-before).Seconds()*1024/float64(m.mib))
}

func (m *rateMeter) report(b *testing.B) {
	b.ReportMetric(median(m.rates), m.name+"-MiB/s")
	b.ReportMetric(median(m.cpus), m.name+"-CPUs/GiB")
}

func usedCPU() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// alignedNoise is n bytes that do not compress, where direct writes want them.
func alignedNoise(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// writeInSequence writes mib MiB of data into a new file, MiB by MiB, and syncs it.
func writeInSequence(b *testing.B, name string, flags int, data []byte, mib int) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|flags, 0o644)
	require.NoError(b, err)
	for i := range mib {
		at := i << 20 % len(data)
		_, err := f.Write(data[at : at+1<<20])
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
}
