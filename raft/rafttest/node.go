package rafttest

import (
	"fmt"
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
)

// Node is a raft node with what its owner would have around it.
type Node struct {
	*raft.RawNode
	Disk    *Disk
	Machine Machine
	// Writes are the Readies that are not durable yet, Tasks the entries that are to be applied, oldest first.
	Writes []raft.Ready
	Tasks  []eraftpb.Entry
	// Reads are the answers to reads so far.
	Reads []raft.ReadState
	// OnApply, if set, sees every entry as it is applied.
	OnApply func(eraftpb.Entry)

	id      uint64
	cfg     raft.Config
	running bool
}

// NewNode returns a running node. Unless conf is empty it begins with a state at index 1 of term 1 that has these members;
// otherwise it is empty and waits to be added to a group.
func NewNode(cfg raft.Config, conf confchange.Config) (*Node, error) {
	n := &Node{id: cfg.ID, cfg: cfg, Disk: newDisk()}
	n.Disk.live = func() Machine { return n.Machine }
	if len(conf.Members()) > 0 {
		n.Disk.checkpoint = Machine{Index: 1, Term: 1, Conf: conf}
		if err := n.Disk.ApplySnapshot(n.Disk.checkpoint.snapshot()); err != nil {
			return nil, err
		}
		n.Disk.SetHardState(eraftpb.HardState{Term: 1, Commit: 1})
	}
	return n, n.Restart()
}

// Running tells whether the node has not crashed.
func (n *Node) Running() bool { return n.running }

// ID is the node's id.
func (n *Node) ID() uint64 { return n.id }

// Crash stops the node and takes from it all that is not durable.
func (n *Node) Crash() {
	n.running = false
	n.RawNode, n.Writes, n.Tasks, n.Reads = nil, nil, nil, nil
}

// Restart starts the node with what its disk holds.
func (n *Node) Restart() error {
	n.Machine = n.Disk.checkpoint
	cfg := n.cfg
	cfg.Storage, cfg.Applied, cfg.AsyncStorage = n.Disk, n.Machine.Index, true
	rn, err := raft.NewRawNode(&cfg)
	if err != nil {
		return err
	}
	n.RawNode, n.running = rn, true
	return nil
}

// Process takes a Ready, if there is one, and returns it; its Messages are to be sent now, its PersistedMessages come from
// Persist.
func (n *Node) Process() (raft.Ready, bool) {
	if !n.running || !n.HasReady() {
		return raft.Ready{}, false
	}
	rd := n.Ready()
	n.Writes = append(n.Writes, rd)
	n.Tasks = append(n.Tasks, rd.CommittedEntries...)
	n.Reads = append(n.Reads, rd.ReadStates...)
	return rd, true
}

// Persist makes the oldest Ready durable and returns it; its PersistedMessages may be sent from then on. A snapshot is
// installed with it.
func (n *Node) Persist() (raft.Ready, bool) {
	if !n.running || len(n.Writes) == 0 {
		return raft.Ready{}, false
	}
	rd := n.Writes[0]
	n.Writes = n.Writes[1:]
	if err := n.Disk.write(&rd); err != nil {
		panic(fmt.Sprintf("rafttest: node %d cannot write Ready %d: %v", n.id, rd.Number, err))
	}
	n.Persisted(rd.Number)
	if !raft.IsEmptySnap(&rd.Snapshot) {
		n.Machine = machineOf(&rd.Snapshot)
		n.Tasks = slices.DeleteFunc(n.Tasks, func(e eraftpb.Entry) bool { return e.Index <= n.Machine.Index })
		n.Applied(n.Machine.Index)
	}
	return rd, true
}

// Apply applies the oldest entry that is to be applied and returns it.
func (n *Node) Apply() (eraftpb.Entry, bool) {
	if !n.running || len(n.Tasks) == 0 {
		return eraftpb.Entry{}, false
	}
	e := n.Tasks[0]
	n.Tasks = n.Tasks[1:]
	if e.Index != n.Machine.Index+1 {
		panic(fmt.Sprintf("rafttest: node %d is to apply entry %d behind %d", n.id, e.Index, n.Machine.Index))
	}
	n.Machine = n.Machine.apply(e)
	if cc, ok := changeOf(&e); ok {
		n.ApplyConfChangeV2(cc)
		n.Machine = n.Machine.change(cc)
	}
	if n.OnApply != nil {
		n.OnApply(e)
	}
	n.Applied(e.Index)
	return e, true
}

// changeOf returns the membership change that an entry holds, if it holds one.
func changeOf(e *eraftpb.Entry) (eraftpb.ConfChangeV2, bool) {
	var v1 eraftpb.ConfChange
	var v2 eraftpb.ConfChangeV2
	var err error
	switch e.EntryType {
	case eraftpb.EntryType_EntryNormal:
		return v2, false
	case eraftpb.EntryType_EntryConfChange:
		err = v1.Unmarshal(e.Data)
		v2 = confchange.FromV1(v1)
	default:
		err = v2.Unmarshal(e.Data)
	}
	if err != nil {
		panic(fmt.Sprintf("rafttest: entry %d holds no membership change: %v", e.Index, err))
	}
	return v2, true
}

// Checkpoint makes the state machine durable as it is now.
func (n *Node) Checkpoint() {
	n.Disk.checkpoint = n.Machine
}

// Compact checkpoints and forgets the log up to index, as far as it is applied.
func (n *Node) Compact(index uint64) error {
	n.Checkpoint()
	err := n.Disk.Compact(min(index, n.Machine.Index))
	n.Applied(n.Machine.Index)
	return err
}
