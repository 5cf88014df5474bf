package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/check"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// watchRound sees what a machine decided before it is carried out: the trace's views, and the invariants' food.
func (s *store) watchRound(r *machine.Round) {
	s.c.checker.Decided(s.id, r)
	for i := range r.Write {
		for _, e := range r.Write[i].Entries {
			if e.EntryType != eraftpb.EntryType_EntryNormal {
				s.changed[r.Write[i].RegionID] = e.Index
			}
		}
	}
	for _, v := range r.Views {
		b, err := v.Region.Marshal()
		s.c.must(err)
		b = binary.AppendUvarint(b, v.PeerID)
		b = binary.AppendUvarint(b, v.Leader.GetId())
		b = binary.AppendUvarint(b, v.Term)
		b = binary.AppendVarint(b, int64(v.LeaseEnd))
		for _, n := range []uint64{v.Log.Truncated, v.Log.Applied, v.Log.Committed, v.Log.Stabled, v.Log.Last} {
			b = binary.AppendUvarint(b, n)
		}
		b = append(b, bits(v.IsLeader, v.Ready, v.Initialized, v.Gone))
		s.c.w.Trace.Add(world.View, s.p, b)
		if s.c.w.Trace.Telling() {
			s.tellView(v)
		}
	}
}

// watchApply sees what became one engine batch.
func (s *store) watchApply(tasks []machine.ApplyTask, round *machine.ApplyRound) {
	s.c.w.Trace.Add(world.Apply, s.p, binary.AppendUvarint(nil, uint64(len(tasks))))
	s.c.checker.Applied(s.id, round, s.sumOf)
	if s.disk.reshaped && !s.disk.state.Failed() {
		s.disk.reshaped = false
		s.reshaped()
	}
}

// reshaped looks at all regions that the state engine has: a batch has changed one at least, or made some.
func (s *store) reshaped() {
	regions := s.regionsOnDisk()
	s.c.checker.Holds(s.id, regions)
	for _, r := range regions {
		if sum, ok := s.sum(r); ok {
			s.c.checker.State(s.id, r.Id, s.appliedIndex(r.Id), sum)
		}
	}
}

// sumOf is the fingerprint of what the store holds of a region; not ok where the engine has failed, or the region is gone.
func (s *store) sumOf(regionID uint64) (uint64, bool) { return s.sum(s.regionOnDisk(regionID)) }

func (s *store) sum(r *metapb.Region) (uint64, bool) {
	if r == nil || s.disk.state.Failed() || s.disk.isTorn(r.StartKey, r.EndKey) {
		return 0, false
	}
	return s.disk.ledger.sum(r.StartKey, r.EndKey), true
}

// regionOnDisk is the region as the state engine has it, nil when it has none, or its peer here is removed.
func (s *store) regionOnDisk(id uint64) *metapb.Region {
	b := s.read(s.disk.state, keys.RegionState(id))
	if last := s.disk.decoded[id]; bytes.Equal(last.raw, b) {
		return last.region
	}
	state := new(raft_serverpb.RegionLocalState)
	if b == nil || state.Unmarshal(b) != nil || state.State == raft_serverpb.PeerState_Tombstone {
		state.Region = nil
	}
	s.disk.decoded[id] = decodedState{b, state.Region}
	return state.Region
}

func (s *store) read(e engine.Engine, key []byte) []byte {
	snap := e.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Local, key)
	s.c.must(err)
	return b
}

// watchStart tells the checker what a life begins with.
func (s *store) watchStart() {
	var found []check.Found
	s.eachIDOnDisk(func(id uint64) {
		state := new(raft_serverpb.RegionLocalState)
		s.c.must(state.Unmarshal(s.read(s.disk.state, keys.RegionState(id))))
		switch {
		case state.State != raft_serverpb.PeerState_Tombstone:
			found = append(found, s.foundOf(state.Region, region.FindPeerOn(state.Region, s.id)))
		case s.read(s.disk.state, keys.ApplyState(id)) != nil: // it is removed, and not destroyed yet
			found = append(found, s.foundOf(state.Region, state.RemovedRecords[0]))
		}
	})
	s.c.checker.Started(s.id, (*durableLog)(s.disk), func() machine.Instant { return machine.Instant(s.p.Monotonic()) }, found)
	s.reshaped()
}

// regionsOnDisk are those that the state engine has, by id.
func (s *store) regionsOnDisk() (regions []*metapb.Region) {
	s.eachIDOnDisk(func(id uint64) {
		if r := s.regionOnDisk(id); r != nil {
			regions = append(regions, r)
		}
	})
	return regions
}

// eachIDOnDisk visits the ids of all regions that the state engine knows anything of.
func (s *store) eachIDOnDisk(visit func(id uint64)) {
	lower, upper := keys.AllRegionMetaRange()
	snap := s.disk.state.NewSnapshot()
	defer func() { _ = snap.Close() }()
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: lower, Upper: upper})
	s.c.must(err)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		id, kind, err := keys.DecodeRegionMeta(it.Key())
		s.c.must(err)
		if kind == keys.MetaRegionState {
			visit(id)
		}
	}
	s.c.must(it.Close())
}

// foundOf reads one region.
func (s *store) foundOf(r *metapb.Region, self *metapb.Peer) check.Found {
	f := check.Found{Region: r, PeerID: self.GetId()}
	apply := new(raft_serverpb.RaftApplyState)
	s.c.must(apply.Unmarshal(s.read(s.disk.state, keys.ApplyState(r.Id))))
	f.Applied = machine.Pair{Index: apply.AppliedIndex, Term: apply.CommitTerm}
	f.Truncated = machine.Pair{Index: apply.TruncatedState.GetIndex(), Term: apply.TruncatedState.GetTerm()}
	var err error
	f.State, err = s.opened.Log.State(r.Id)
	s.c.must(err)
	if f.State.GetLastIndex() > f.Truncated.Index {
		f.Entries, err = s.opened.Log.Entries(r.Id, f.Truncated.Index+1, f.State.LastIndex+1, 0)
		s.c.must(err)
	}
	return f
}

// durableLog is what the checker may know of a disk.
type durableLog disk

// Term implements check.Disk.
func (d *durableLog) Term(regionID, index uint64) uint64 {
	e := (*disk)(d).logEntry(regionID, index)
	return e.GetTerm()
}

// logEntry is a durable entry of a region's log, nil when there is none.
func (d *disk) logEntry(regionID, index uint64) *eraftpb.Entry {
	b := d.log.Durable(engine.Local, keys.RaftLog(regionID, index))
	e := new(eraftpb.Entry)
	if b == nil || e.Unmarshal(b) != nil {
		return nil
	}
	return e
}

// State implements check.Disk.
func (d *durableLog) State(regionID uint64) *raft_serverpb.RaftLocalState {
	b := d.log.Durable(engine.Local, keys.RaftState(regionID))
	state := new(raft_serverpb.RaftLocalState)
	if b == nil || state.Unmarshal(b) != nil {
		return nil
	}
	return state
}

func (s *store) tellView(v *machine.RegionView) {
	role := "follower"
	if v.IsLeader {
		role = "leader"
	}
	if v.Gone {
		role = "gone"
	}
	s.c.w.Trace.TellMore(world.View, s.p, nil, world.Entry{
		Region: v.Region.Id, Term: v.Term, Role: role,
		Text: fmt.Sprintf("region %d peer %d %s term %d applied %d committed %d last %d epoch %d.%d on%s",
			v.Region.Id, v.PeerID, role, v.Term, v.Log.Applied, v.Log.Committed, v.Log.Last, v.Region.RegionEpoch.GetVersion(), v.Region.RegionEpoch.GetConfVer(), members(v.Region)),
	})
}

// members lists the stores of a region's peers; a learner has an l behind it, and of the voters in the middle of a joint change + marks who comes and - who goes.
func members(r *metapb.Region) string {
	var b strings.Builder
	for _, p := range r.Peers {
		fmt.Fprintf(&b, " %d", p.StoreId)
		switch p.Role {
		case metapb.PeerRole_Learner:
			b.WriteByte('l')
		case metapb.PeerRole_IncomingVoter:
			b.WriteByte('+')
		case metapb.PeerRole_DemotingVoter:
			b.WriteByte('-')
		}
	}
	return b.String()
}

func bits(flags ...bool) (b byte) {
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}
