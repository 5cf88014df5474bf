package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// grants holds what was handed out against what must hold of it: timestamps and ids are never handed out twice, and what was asked for after an
// answer had come is above it, whoever leads. All that is needed for that are the largest so far.
type grants struct {
	// granted are the largest that a scheduler has taken out of its machine, received the largest that anybody has been told.
	granted, received floor
}

type floor struct{ stamp, id uint64 }

func (f *grants) grantStamps(t *schedulerTerm, ts stamps) {
	if ts.first <= f.granted.stamp {
		t.s.g.c.violate("%s grants timestamps %s to %s, although %s was granted before", t.s.p.Name, stamp(ts.first), stamp(ts.last), stamp(f.granted.stamp))
	}
	f.granted.stamp = max(f.granted.stamp, ts.last)
}

func (f *grants) grantIDs(t *schedulerTerm, ids idRange) {
	if ids.first <= f.granted.id {
		t.s.g.c.violate("%s grants ids %d to %d, although %d was granted before", t.s.p.Name, ids.first, ids.last, f.granted.id)
	}
	f.granted.id = max(f.granted.id, ids.last)
}

// answered holds when a grant leaves its scheduler: its lease holds by its own clock, so nobody else may lead.
func (f *grants) answered(t *schedulerTerm) {
	g := t.s.g
	if now := g.etcd.leader; now.revision != t.revision {
		who := "nobody"
		if now.revision != 0 {
			who = now.holder.p.Name
		}
		g.c.violate("%s answers with a grant, %s before the end of its lease by its clock, although its leader key of revision %d is gone: %s leads (revision %d)",
			t.s.p.Name, t.end.Sub(t.s.now()), t.revision, who, now.revision)
	}
}

// receive holds when a grant comes to whoever asked for it.
func (f *grants) receive(x *schedulerCall, res any) {
	c := x.a.g.c
	switch r := res.(type) {
	case stamps:
		if r.first <= x.floor.stamp {
			c.violate("%s got the timestamps %s to %s, although %s had been received when it asked", x.a.p.Name, stamp(r.first), stamp(r.last), stamp(x.floor.stamp))
		}
		f.received.stamp = max(f.received.stamp, r.last)
	case idRange:
		if r.first <= x.floor.id {
			c.violate("%s got the ids %d to %d, although %d had been received when it asked", x.a.p.Name, r.first, r.last, x.floor.id)
		}
		f.received.id = max(f.received.id, r.last)
	}
}

func stamp(ts uint64) string { return fmt.Sprintf("%d.%d", ts>>18, ts&(1<<18-1)) }

type epoch struct{ version, confVer, term uint64 }

// checkTaken looks at a region that was just taken into the picture: neither its epoch nor its leader's term has gone back in this term, and nothing overlaps it.
func (t *schedulerTerm) checkTaken(r *cluster.Region) {
	e := r.Meta.RegionEpoch
	was := t.seen[r.ID()]
	if e.Version < was.version || e.ConfVer < was.confVer {
		t.s.g.c.violate("%s took region %d at epoch %d/%d into its picture, where it had been at %d/%d",
			t.s.p.Name, r.ID(), e.Version, e.ConfVer, was.version, was.confVer)
	}
	if r.Term < was.term {
		t.s.g.c.violate("%s took what a leader of term %d says of region %d into its picture, where there had been one of term %d",
			t.s.p.Name, r.Term, r.ID(), was.term)
	}
	t.seen[r.ID()] = epoch{e.Version, e.ConfVer, r.Term}
	if there := t.m.Picture.Scan(r.Meta.StartKey, r.Meta.EndKey, 2); len(there) != 1 || there[0].ID() != r.ID() {
		t.s.g.c.violate("%s has more than region %d in the picture between %q and %q", t.s.p.Name, r.ID(), r.Meta.StartKey, r.Meta.EndKey)
	}
}

// settled says what is missing until the leader's picture is whole and equal to what the stores' leaders say; nothing when it is, or when the group was
// turned off.
func (g *schedulers) settled() string {
	if g.off {
		return ""
	}
	t := g.leading()
	if t == nil {
		return "no scheduler leads"
	}
	regions := t.m.Picture.Scan(nil, nil, 0)
	var end []byte
	for i, r := range regions {
		if !bytes.Equal(r.Meta.StartKey, end) || i > 0 && len(end) == 0 {
			return fmt.Sprintf("%s has a hole or an overlap in its picture before region %d, at %q", t.s.p.Name, r.ID(), r.Meta.StartKey)
		}
		end = r.Meta.EndKey
	}
	if len(regions) == 0 || len(end) > 0 {
		return fmt.Sprintf("%s's picture ends at %q", t.s.p.Name, end)
	}
	if what := g.differs(t); what != "" {
		return what
	}
	return g.uneven()
}

// mostUneven is by how many leaders two stores may differ when one of them could take one of the other's: what balancing leaves alone, and one more.
const mostUneven = 2

// uneven names a region that should be led from elsewhere; empty when leaders are spread as well as the replicas allow. (It says so of what it sees in the stores,
// not in the schedulers' picture.)
func (g *schedulers) uneven() string {
	leaders := g.leaders()
	count := make(map[uint64]int)
	for _, v := range leaders { // order-free: counts
		count[region.FindPeer(v.Region, v.PeerID).GetStoreId()]++
	}
	for _, id := range slices.Sorted(maps.Keys(leaders)) {
		v := leaders[id]
		from := region.FindPeer(v.Region, v.PeerID).GetStoreId()
		for _, p := range v.Region.Peers {
			if count[from]-count[p.StoreId] > mostUneven {
				return fmt.Sprintf("store %d leads %d regions, and store %d, which could lead region %d, leads %d", from, count[from], p.StoreId, id, count[p.StoreId])
			}
		}
	}
	return ""
}

// differs compares the picture with what the stores' leaders say of themselves.
func (g *schedulers) differs(t *schedulerTerm) string {
	leaders := g.leaders()
	if len(leaders) != t.m.Picture.RegionCount() {
		return fmt.Sprintf("%s knows %d regions, and the stores lead %d", t.s.p.Name, t.m.Picture.RegionCount(), len(leaders))
	}
	for _, id := range slices.Sorted(maps.Keys(leaders)) {
		v, r := leaders[id], t.m.Picture.Region(id)
		switch {
		case r == nil:
			return fmt.Sprintf("%s does not know region %d", t.s.p.Name, id)
		case !region.SameEpoch(r.Meta.RegionEpoch, v.Region.RegionEpoch) || !samePeers(r.Meta.Peers, v.Region.Peers) ||
			!bytes.Equal(r.Meta.StartKey, v.Region.StartKey) || !bytes.Equal(r.Meta.EndKey, v.Region.EndKey):
			return fmt.Sprintf("%s knows region %d as {%v}, and its leader says {%v}", t.s.p.Name, id, r.Meta, v.Region)
		case r.Leader.GetId() != v.PeerID || r.Term != v.Term:
			return fmt.Sprintf("%s knows peer %d as region %d's leader in term %d, which is %d in term %d", t.s.p.Name, r.Leader.GetId(), id, r.Term, v.PeerID, v.Term)
		}
	}
	return ""
}

// leaders are the newest leaders of all regions, as the stores publish them.
func (g *schedulers) leaders() map[uint64]*machine.RegionView {
	newest := make(map[uint64]*machine.RegionView)
	for _, s := range g.c.stores {
		if !s.p.Up() {
			continue
		}
		s.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: one leader a term
			if v.IsLeader && (newest[id] == nil || v.Term > newest[id].Term) {
				newest[id] = v
			}
			return true
		})
	}
	return newest
}

func samePeers(a, b []*metapb.Peer) bool {
	return slices.EqualFunc(a, b, func(x, y *metapb.Peer) bool { return x.Id == y.Id && x.StoreId == y.StoreId && x.Role == y.Role })
}

// why is what the leader's scheduling says of a region that is not as it should be.
func (g *schedulers) why(region uint64) string {
	t := g.leading()
	if t == nil {
		return ""
	}
	if op, ok := t.m.Schedule.Operators().Of(region); ok {
		return fmt.Sprintf(" (%s is at step %d: %s)", op.Desc, op.Current, op.Steps[op.Current])
	}
	if reason, ok := t.m.Schedule.Reason(region); ok {
		return fmt.Sprintf(" (%s: %s)", reason.Who, reason.Text)
	}
	return ""
}

// checkOrder looks at what a leader is about to be told: no order may take a region's voters below both what they are and what there should be (P6, P8). Who shall
// be replaced goes after the new one has come.
func (t *schedulerTerm) checkOrder(command *operator.Command) {
	r := t.m.Picture.Region(command.Region)
	if r == nil {
		return
	}
	var changes []operator.ChangePeer
	switch o := command.Order.(type) {
	case operator.ChangePeer:
		changes = []operator.ChangePeer{o}
	case operator.ChangePeers:
		changes = o.Changes
	}
	before := 0
	for _, p := range r.Meta.Peers {
		if p.Role == metapb.PeerRole_Voter || p.Role == metapb.PeerRole_IncomingVoter {
			before++
		}
	}
	after := before
	for _, change := range changes {
		voted := r.Peer(change.Peer.GetId()).GetRole() == metapb.PeerRole_Voter && r.Peer(change.Peer.GetId()) != nil
		switch votes := change.Type == eraftpb.ConfChangeType_AddNode; {
		case votes && !voted:
			after++
		case !votes && voted:
			after--
		}
	}
	if after < min(before, t.s.g.c.cfg.Replicas) {
		t.s.g.c.violate("%s tells region %d to go from %d voters to %d, of %d that there should be: %s", t.s.p.Name, command.Region, before, after, t.s.g.c.cfg.Replicas, command.For)
	}
}

// made counts the operators of a term.
func (t *schedulerTerm) made() (n uint64) {
	ops := t.m.Schedule.Operators()
	for s := operator.Started; s <= operator.Replaced; s++ {
		n += ops.Ended(s)
	}
	return n + uint64(ops.Count())
}

// busyWith lists the latest operators.
func (g *schedulers) busyWith() string {
	t := g.leading()
	if t == nil {
		return "no scheduler leads"
	}
	var list []string
	for _, op := range append(t.m.Schedule.Operators().Running(), t.m.Schedule.Operators().History(10)...) {
		list = append(list, fmt.Sprintf("region %d %s {%s} %s %s", op.Region, op.Desc, op.Brief, op.Status, op.Why))
	}
	return strings.Join(list, "; ")
}
