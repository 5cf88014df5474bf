package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// The course's stages at RawNode, in the course's mode.

func newTestRawNode(t *testing.T, peers []uint64, s *MemoryStorage) *RawNode {
	t.Helper()
	rn, err := NewRawNode(newTestConfig(1, peers, 10, 1, s))
	require.NoError(t, err)
	return rn
}

// carryOut does what a Ready asks for, membership changes included.
func carryOut(t *testing.T, rn *RawNode, s *MemoryStorage) Ready {
	t.Helper()
	rd := rn.Ready()
	require.NoError(t, s.Append(rd.Entries))
	for _, e := range rd.CommittedEntries {
		if e.EntryType == eraftpb.EntryType_EntryConfChange {
			var cc eraftpb.ConfChange
			require.NoError(t, cc.Unmarshal(e.Data))
			rn.ApplyConfChange(cc)
		}
	}
	rn.Advance(rd)
	return rd
}

func addNodeChange(t *testing.T, id uint64) (eraftpb.ConfChange, []byte) {
	t.Helper()
	cc := eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_AddNode, NodeId: id}
	data, err := cc.Marshal()
	require.NoError(t, err)
	return cc, data
}

func TestRawNodeStart2AC(t *testing.T) {
	s := NewMemoryStorage()
	rn := newTestRawNode(t, []uint64{1}, s)
	require.NoError(t, rn.Campaign())
	rd := carryOut(t, rn, s)
	require.Equal(t, SoftState{Lead: 1, RaftState: StateLeader}, *rd.SoftState)
	require.Equal(t, eraftpb.HardState{Term: 1, Vote: 1, Commit: 1}, rd.HardState)

	require.NoError(t, rn.Propose([]byte("foo")))
	rd = carryOut(t, rn, s)
	want := []eraftpb.Entry{{Term: 1, Index: 2, Data: []byte("foo")}}
	require.Equal(t, want, rd.Entries)
	require.Equal(t, want, rd.CommittedEntries)
	require.Nil(t, rd.SoftState)
	require.False(t, rn.HasReady())
}

func TestRawNodeRestart2AC(t *testing.T) {
	entries := []eraftpb.Entry{{Term: 1, Index: 1}, {Term: 1, Index: 2, Data: []byte("foo")}}
	s := NewMemoryStorage()
	s.SetHardState(eraftpb.HardState{Term: 1, Commit: 1})
	require.NoError(t, s.Append(entries))

	rn := newTestRawNode(t, nil, s)
	rd := rn.Ready()
	require.Equal(t, Ready{Entries: []eraftpb.Entry{}, CommittedEntries: entries[:1]}, rd)
	rn.Advance(rd)
	require.False(t, rn.HasReady())
}

func TestRawNodeRestartFromSnapshot2C(t *testing.T) {
	entries := []eraftpb.Entry{{Term: 1, Index: 3, Data: []byte("foo")}}
	s := NewMemoryStorage()
	s.SetHardState(eraftpb.HardState{Term: 1, Commit: 3})
	require.NoError(t, s.ApplySnapshot(*snapshotAt(2, 1, 1, 2)))
	require.NoError(t, s.Append(entries))

	rn := newTestRawNode(t, nil, s)
	rd := rn.Ready()
	require.Equal(t, Ready{Entries: []eraftpb.Entry{}, CommittedEntries: entries}, rd)
	rn.Advance(rd)
	require.False(t, rn.HasReady())
	require.Equal(t, []uint64{1, 2}, nodes(rn.Raft))
}

func TestRawNodeProposeAndConfChange3A(t *testing.T) {
	s := NewMemoryStorage()
	rn := newTestRawNode(t, []uint64{1}, s)
	carryOut(t, rn, s)
	rd := rn.Ready()
	require.True(t, IsEmptyHardState(rd.HardState))
	require.Empty(t, rd.Entries)

	require.NoError(t, rn.Campaign())
	require.EqualValues(t, 1, rn.Ready().Lead)
	require.NoError(t, rn.Propose([]byte("somedata")))
	cc, data := addNodeChange(t, 1)
	require.NoError(t, rn.ProposeConfChange(cc))

	ents := rn.Raft.RaftLog.allEntries()
	require.Len(t, ents, 3)
	require.Equal(t, "somedata", string(ents[1].Data))
	require.Equal(t, eraftpb.EntryType_EntryConfChange, ents[2].EntryType)
	require.Equal(t, data, ents[2].Data)

	// R3: this one is not applied yet.
	require.Equal(t, ErrConfChangePending, rn.ProposeConfChange(cc))
	require.Len(t, rn.Raft.RaftLog.allEntries(), 3)
}

// Adding a member twice does no harm to later changes.
func TestRawNodeProposeAddDuplicateNode3A(t *testing.T) {
	s := NewMemoryStorage()
	rn := newTestRawNode(t, []uint64{1}, s)
	carryOut(t, rn, s)
	require.NoError(t, rn.Campaign())
	carryOut(t, rn, s)

	var want [][]byte
	for _, id := range []uint64{1, 1, 2} {
		cc, data := addNodeChange(t, id)
		want = append(want, data)
		require.NoError(t, rn.ProposeConfChange(cc))
		carryOut(t, rn, s)
	}
	require.Equal(t, []uint64{1, 2}, nodes(rn.Raft))

	last, err := s.LastIndex()
	require.NoError(t, err)
	ents, err := s.Entries(last-2, last+1)
	require.NoError(t, err)
	for i, e := range ents {
		require.Equal(t, want[i], e.Data)
	}
}
