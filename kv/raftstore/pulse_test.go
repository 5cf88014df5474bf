package raftstore

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// TestAWorkerThatHangsIsNamed lets the log writer hang in the middle of a batch, on a clock that the test moves.
func TestAWorkerThatHangsIsNamed(t *testing.T) {
	var now atomic.Int64
	now.Store(int64(time.Hour))
	hanging, release := make(chan struct{}), make(chan struct{})
	s := &Store{
		Router: newRouter(1, 1, Limits{}), logQueue: newMailbox[machine.WriteTask](0),
		opts: Options{
			Clock: func() machine.Instant { return machine.Instant(now.Load()) }, Logger: zap.NewNop(), Metrics: NewMetrics(prometheus.NewRegistry()),
			Disk: &Disk{Log: logstore.New(memdb.New())},
			Transport: TransportFunc(func([]*raft_serverpb.RaftMessage) {
				hanging <- struct{}{}
				<-release
			}),
		},
	}
	writer := s.pulsed("log writer", &logWriter{s: s})
	s.writerStop.goRun(func(done <-chan struct{}) { serve(done, s.logQueue.wake, writer, true) })
	defer s.writerStop.stop()
	letGo := sync.OnceFunc(func() { close(release) })
	defer letGo()
	now.Add(int64(time.Hour))
	require.NoError(t, s.Stuck(time.Second), "a worker without work is well")

	s.enqueueWrites([]machine.WriteTask{{
		Update: logstore.Update{RegionID: 1, State: &raft_serverpb.RaftLocalState{}}, After: []*raft_serverpb.RaftMessage{{}},
	}})
	<-hanging
	now.Add(int64(5 * time.Second))
	require.NoError(t, s.Stuck(10*time.Second))
	now.Add(int64(6 * time.Second))
	require.ErrorContains(t, s.Stuck(10*time.Second), "the log writer has been at one piece of work for 11s")
	letGo()
	require.Eventually(t, func() bool { return s.Stuck(10*time.Second) == nil }, 30*time.Second, time.Millisecond)
}
