package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/server"
)

// TestTso: batches on one stream come back in order, each strictly above the one before by at least its count.
func TestTso(t *testing.T) {
	r := newRig(t)
	stream, err := r.pd.Tso(r.ctx)
	require.NoError(t, err)
	var last uint64
	for i := range 200 {
		count := uint32(1 + i%10)
		require.NoError(t, stream.Send(&pdpb.TsoRequest{Header: r.header(), Count: count}))
		res, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, count, res.GetCount())
		require.Equal(t, r.s.ClusterID(), res.GetHeader().GetClusterId())
		require.Less(t, res.GetTimestamp().GetLogical(), int64(1<<18))
		ts := compose(res.GetTimestamp())
		require.GreaterOrEqual(t, ts, last+uint64(count))
		last = ts
	}
	require.WithinDuration(t, time.Now(), time.UnixMilli(int64(last>>18)), 10*time.Second)
	require.NoError(t, stream.CloseSend())
}

func TestTsoWithoutCount(t *testing.T) {
	r := newRig(t)
	_, err := r.tso(0)
	requireCode(t, codes.Unknown,
		"[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count should be positive", err)
	_, err = r.tso(1 << 18)
	require.ErrorContains(t, err, "above the limit of 262143")
	_, err = r.tso(1<<18 - 1)
	require.NoError(t, err)
}

// P1: no two streams ever get the same timestamp, and what is asked after an answer is above it.
func TestTsoConcurrentStreams(t *testing.T) {
	r := newRig(t)
	const streams, batches, count = 8, 100, 3
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var last uint64 // the largest answered so far
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			stream, err := r.pd.Tso(r.ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = stream.CloseSend() }()
			for range batches {
				mu.Lock()
				floor := last
				mu.Unlock()
				if err := stream.Send(&pdpb.TsoRequest{Header: r.header(), Count: count}); err != nil {
					t.Error(err)
					return
				}
				res, err := stream.Recv()
				if err != nil {
					t.Error(err)
					return
				}
				ts := compose(res.GetTimestamp())
				mu.Lock()
				if ts-count+1 <= floor {
					t.Errorf("%d is not above %d", ts, floor)
				}
				for i := range uint64(count) {
					if seen[ts-i] {
						t.Errorf("%d was handed out twice", ts-i)
					}
					seen[ts-i] = true
				}
				last = max(last, ts)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, streams*batches*count)
}

// P1, P2: over restarts and failovers, with the clock stepped by up to an hour either way, timestamps strictly increase
// and ids are unique and increasing.
func TestTimestampsAndIDsIncreaseOverRestartsAndClockSteps(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	var lastTS, lastID uint64
	ask := func() {
		for range 3 {
			ts, err := r.tso(5)
			require.NoError(t, err)
			require.Greater(t, ts-4, lastTS)
			lastTS = ts
			id := r.allocID()
			require.Greater(t, id, lastID)
			lastID = id
		}
	}
	ask()
	steps := []time.Duration{time.Hour, -time.Hour, -time.Hour, 0, time.Hour, -time.Minute}
	for i, step := range steps {
		r.wall.stepTo(step)
		ask()
		if i%2 == 0 {
			r.restart()
		} else { // another term of the running process
			r.usurp()()
		}
		ask()
		r.wall.step(time.Duration(rnd.Int64N(int64(2*time.Hour))) - time.Hour)
		ask()
	}
}

// P1: the server answers nothing from a term whose lease is over.
func TestNothingIsServedAfterTheLeaseEnds(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	stream, err := r.pd.Tso(r.ctx)
	require.NoError(t, err)
	ask := func() error {
		if err := stream.Send(&pdpb.TsoRequest{Header: r.header(), Count: 1}); err != nil {
			return err
		}
		_, err := stream.Recv()
		return err
	}
	require.NoError(t, ask())
	giveBack := r.usurp()
	requireCode(t, codes.Unavailable, "not leader", ask())
	_, err = r.pd.AllocID(r.ctx, &pdpb.AllocIDRequest{Header: r.header()})
	requireCode(t, codes.Unavailable, "not leader", err)
	_, err = r.pd.GetStore(r.ctx, &pdpb.GetStoreRequest{Header: r.header(), StoreId: 1})
	requireCode(t, codes.Unavailable, "not leader", err)
	heartbeats := r.heartbeats()
	_, err = heartbeats.Recv()
	requireCode(t, codes.Unavailable, "not leader", err)

	// Who leads is known to every member.
	require.Eventually(t, func() bool {
		res, err := r.pd.GetMembers(r.ctx, &pdpb.GetMembersRequest{})
		require.NoError(t, err)
		require.Equal(t, "scheduler", res.GetEtcdLeader().GetName())
		return res.GetLeader().GetName() == "other"
	}, soon, poll)
	code, body := r.get("/pd/api/v1/stores")
	require.Equal(t, 503, code)
	require.Contains(t, body, "the leader other does not answer")

	giveBack()
	require.NotNil(t, r.region(2).GetRegion(), "what was durable is there again")
}

// P1, P2, P10: what a leader decides after it was replaced, without knowing it, does not happen.
func TestWritesFailAfterLossOfLeadership(t *testing.T) {
	r := newRig(t, func(cfg *server.Config) { cfg.LeaderLease = time.Hour }) // it does not notice by itself
	r.bootstrap()
	key := fmt.Sprintf("/pd/%d/leader", r.s.ClusterID())
	etcd := r.etcd()
	_, err := etcd.Delete(r.ctx, key)
	require.NoError(t, err)
	_, err = etcd.Put(r.ctx, key, `{"id":7,"name":"other"}`)
	require.NoError(t, err)
	_, err = r.pd.PutStore(r.ctx, &pdpb.PutStoreRequest{
		Header: r.header(), Store: &metapb.Store{Id: 4, Address: "127.0.0.1:20161", Version: "8.5.0"},
	})
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "not leader")
	require.Eventually(t, func() bool { return !r.s.Leads() }, soon, poll)
	_, err = r.tso(1)
	requireCode(t, codes.Unavailable, "not leader", err)
	_, err = etcd.Delete(r.ctx, key)
	require.NoError(t, err)
	require.Eventually(t, r.s.Leads, soon, poll)
	res, err := r.pd.GetStore(r.ctx, &pdpb.GetStoreRequest{Header: r.header(), StoreId: 4})
	require.NoError(t, err)
	require.Equal(t, "invalid store ID 4, not found", res.GetHeader().GetError().GetMessage())
}

// P1: leadership is looked at again after a timestamp was generated. The clock lets the lease end between the two looks.
func TestTimestampIsDroppedWhenTheLeaseEndsMeanwhile(t *testing.T) {
	var armed, looks atomic.Int64
	r := newRig(t, func(cfg *server.Config) {
		cfg.LeaderLease = time.Hour // nothing but requests looks at the clock
		cfg.Clocks.Monotonic = func() time.Time {
			if armed.Load() > 0 && looks.Add(1) > armed.Load() {
				return time.Now().Add(2 * time.Hour)
			}
			return time.Now()
		}
	})
	_, err := r.tso(1)
	require.NoError(t, err)
	r.allocID()
	armed.Store(1)
	_, err = r.tso(1)
	requireCode(t, codes.Unavailable, "not leader", err)
	require.Equal(t, int64(2), looks.Load())
	looks.Store(0)
	_, err = r.pd.AllocID(r.ctx, &pdpb.AllocIDRequest{Header: r.header()})
	requireCode(t, codes.Unavailable, "not leader", err)
	require.Equal(t, int64(2), looks.Load())
	armed.Store(0)
	_, err = r.tso(1)
	require.NoError(t, err)
}

func TestMinTS(t *testing.T) {
	r := newRig(t)
	before, err := r.tso(1)
	require.NoError(t, err)
	res, err := r.pd.GetMinTS(r.ctx, &pdpb.GetMinTSRequest{Header: r.header()})
	require.NoError(t, err)
	require.Greater(t, compose(res.GetTimestamp()), before)
}

// TestID: ids begin at 1 and two callers never share one.
func TestID(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 400 {
				res, err := r.pd.AllocID(context.Background(), &pdpb.AllocIDRequest{Header: r.header()})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[res.GetId()] {
					t.Errorf("id %d was handed out twice", res.GetId())
				}
				seen[res.GetId()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id := uint64(1); id <= 1600; id++ {
		require.True(t, seen[id], id)
	}
}
