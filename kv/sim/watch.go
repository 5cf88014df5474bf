package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// watchRound sees what a machine decided before it is carried out: the trace's views, and the invariants' food.
func (s *store) watchRound(r *machine.Round) {
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
	_ = round
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
		Text: fmt.Sprintf("region %d peer %d %s term %d applied %d committed %d last %d",
			v.Region.Id, v.PeerID, role, v.Term, v.Log.Applied, v.Log.Committed, v.Log.Last),
	})
}

func bits(flags ...bool) (b byte) {
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}
