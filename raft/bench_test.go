package raft_test

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
)

// benchNode is a node whose disk and state machine are at once done.
type benchNode struct {
	*raft.RawNode
	disk *raft.MemoryStorage
}

func newBenchGroup(b *testing.B) []*benchNode {
	b.Helper()
	var nodes []*benchNode
	for id := uint64(1); id <= 3; id++ {
		disk := raft.NewMemoryStorage()
		err := disk.ApplySnapshot(eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
			Index: 1, Term: 1, ConfState: &eraftpb.ConfState{Voters: []uint64{1, 2, 3}},
		}})
		if err != nil {
			b.Fatal(err)
		}
		rn, err := raft.NewRawNode(&raft.Config{
			ID: id, ElectionTick: 10, HeartbeatTick: 2, Storage: disk, Applied: 1, AsyncStorage: true, PreVote: true,
			CheckQuorum: true, LazyCommit: true, MaxInflightMsgs: 256, MaxSizePerMsg: 1 << 20, MaxCachedBytes: 1 << 20,
		})
		if err != nil {
			b.Fatal(err)
		}
		nodes = append(nodes, &benchNode{rn, disk})
	}
	if err := nodes[0].Campaign(); err != nil {
		b.Fatal(err)
	}
	settleBench(b, nodes)
	if nodes[0].Raft.State != raft.StateLeader {
		b.Fatal("no leader")
	}
	return nodes
}

// settleBench carries out everything until nothing is left. The log is not written: the cost measured is raft's own.
func settleBench(b *testing.B, nodes []*benchNode) {
	for busy := true; busy; {
		busy = false
		for _, n := range nodes {
			if !n.HasReady() {
				continue
			}
			busy = true
			rd := n.Ready()
			n.Persisted(rd.Number)
			if k := len(rd.CommittedEntries); k > 0 {
				n.Applied(rd.CommittedEntries[k-1].Index)
			}
			for _, msgs := range [][]eraftpb.Message{rd.Messages, rd.PersistedMessages} {
				for i := range msgs {
					if err := nodes[msgs[i].To-1].Step(msgs[i]); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	}
}

// BenchmarkPropose3 is an entry's way through all three members of a group: proposed, replicated, committed, applied.
func BenchmarkPropose3(b *testing.B) {
	nodes := newBenchGroup(b)
	data := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if err := nodes[0].Propose(data); err != nil {
			b.Fatal(err)
		}
		settleBench(b, nodes)
	}
}

// BenchmarkTickIdle is a tick of a follower, of which a store has thousands that do nothing.
func BenchmarkTickIdle(b *testing.B) {
	nodes := newBenchGroup(b)
	heartbeat := eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, From: 1, To: 2, Term: 2, Context: make([]byte, 8)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		nodes[1].Tick()
		if nodes[1].HasReady() {
			nodes[1].Ready()
		}
		if i%8 == 0 { // or it would campaign
			if err := nodes[1].Step(heartbeat); err != nil {
				b.Fatal(err)
			}
		}
	}
}
