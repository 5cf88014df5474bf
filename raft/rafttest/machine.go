package rafttest

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// Machine is a replicated state machine reduced to what tests compare: how far it is, a hash over everything that it has
// applied, and the members.
type Machine struct {
	Index, Term uint64
	Hash        uint64
	Conf        confchange.Config
}

// apply takes in an entry and returns the state after it.
func (m Machine) apply(e eraftpb.Entry) Machine {
	h := fnv.New64a()
	var head [32]byte
	binary.BigEndian.PutUint64(head[0:], m.Hash)
	binary.BigEndian.PutUint64(head[8:], e.Index)
	binary.BigEndian.PutUint64(head[16:], e.Term)
	binary.BigEndian.PutUint64(head[24:], uint64(e.EntryType))
	h.Write(head[:])
	h.Write(e.Data)
	m.Index, m.Term, m.Hash = e.Index, e.Term, h.Sum64()
	return m
}

// change takes in a membership change, which may be an illegal one.
func (m Machine) change(cc eraftpb.ConfChangeV2) Machine {
	if after, err := confchange.Apply(m.Conf, cc); err == nil {
		m.Conf = after
	}
	return m
}

// snapshot returns the state as a follower receives it.
func (m Machine) snapshot() eraftpb.Snapshot {
	return eraftpb.Snapshot{
		Data: binary.BigEndian.AppendUint64(nil, m.Hash),
		Metadata: &eraftpb.SnapshotMetadata{
			Index: m.Index, Term: m.Term, ConfState: m.Conf.State(),
		},
	}
}

func machineOf(snap *eraftpb.Snapshot) Machine {
	conf, err := confchange.Restore(snap.Metadata.ConfState)
	if err != nil {
		panic("rafttest: " + err.Error())
	}
	return Machine{Index: snap.Metadata.Index, Term: snap.Metadata.Term, Hash: binary.BigEndian.Uint64(snap.Data), Conf: conf}
}
