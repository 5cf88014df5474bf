package operator

import (
	stderrors "errors"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// ErrNoIDs says that no ids are in stock: what needs one has to wait a moment.
var ErrNoIDs = stderrors.New("no ids are in stock")

// Options say how a change is to be made.
type Options struct {
	// Joint lets several voters change at once; Learners lets new peers learn before they vote.
	Joint, Learners bool
	// NewID gives ids to new peers; false if there is none now.
	NewID func() (uint64, bool)
	// Best chooses who may lead of several stores; 0 if none may.
	Best func(stores []uint64) uint64
	// Lead is the store that shall lead in the end; 0 leaves that open.
	Lead uint64
}

// Target is what one store shall hold of a region: a voter or a learner.
type Target struct {
	Store uint64
	Role  metapb.PeerRole
}

// Build makes the steps that turn a region's peers into the targets. New peers come before old ones go, a peer that leads hands over before it goes, and at no step
// is there less of a quorum than before (PITFALLS P8, R4).
func Build(r *cluster.Region, targets []Target, opts Options) ([]Step, error) {
	b := &builder{r: r, opts: opts, leader: r.LeaderStore()}
	if err := b.compare(targets); err != nil {
		return nil, err
	}
	if r.InJoint() {
		b.steps = append(b.steps, LeaveJoint{})
	}
	var err error
	if opts.Joint && len(b.promote)+len(b.demote)+b.leaving() > 1 && b.stays() {
		err = b.joint()
	} else {
		err = b.single()
	}
	if err == nil && opts.Lead != 0 && b.leader != opts.Lead {
		b.handOver(opts.Lead)
	}
	return b.steps, err
}

type builder struct {
	r      *cluster.Region
	opts   Options
	leader uint64
	steps  []Step
	// add are new peers, with the roles that they shall have; promote and demote are the voters-to-be and learners-to-be among those that stay (promote: and
	// among the new ones); remove are those that go, as they are; voters are the stores whose peers vote in the end.
	add, promote, demote, remove []*metapb.Peer
	voters                       []uint64
	// kept are the stores of peers that vote now and in the end, and are well.
	kept []uint64
}

func (b *builder) compare(targets []Target) error {
	want := make(map[uint64]metapb.PeerRole, len(targets))
	for _, t := range targets {
		if _, twice := want[t.Store]; twice {
			return errors.Errorf("region %d: store %d shall hold two of its peers", b.r.ID(), t.Store)
		}
		want[t.Store] = t.Role
		if t.Role == metapb.PeerRole_Voter {
			b.voters = append(b.voters, t.Store)
		}
	}
	if len(b.voters) == 0 {
		return errors.Errorf("region %d: nobody shall vote", b.r.ID())
	}
	for _, p := range settled(b.r) {
		role, stays := want[p.StoreId]
		votes := p.Role == metapb.PeerRole_Voter
		switch {
		case !stays:
			b.remove = append(b.remove, p)
		case role == metapb.PeerRole_Voter && !votes:
			b.promote = append(b.promote, p)
		case role == metapb.PeerRole_Learner && votes:
			b.demote = append(b.demote, p)
		case role == metapb.PeerRole_Voter && !b.r.IsPending(p.Id) && b.r.DownSeconds(p.Id) == 0:
			b.kept = append(b.kept, p.StoreId)
		}
	}
	for _, t := range targets {
		if b.r.OnStore(t.Store) != nil {
			continue
		}
		id, ok := b.opts.NewID()
		if !ok {
			return ErrNoIDs
		}
		b.add = append(b.add, &metapb.Peer{Id: id, StoreId: t.Store, Role: t.Role})
	}
	return nil
}

// settled are a region's peers as they are after a joint configuration, if it is in one: that is left first.
func settled(r *cluster.Region) []*metapb.Peer {
	peers := make([]*metapb.Peer, 0, len(r.Meta.Peers))
	for _, m := range membersOf(r).left() {
		peers = append(peers, &metapb.Peer{Id: m.id, StoreId: m.store, Role: m.role})
	}
	return peers
}

// leaving is how many peers that vote will go, or come to vote.
func (b *builder) leaving() int {
	n := 0
	for _, p := range b.remove {
		if p.Role != metapb.PeerRole_Learner {
			n++
		}
	}
	for _, p := range b.add {
		if p.Role == metapb.PeerRole_Voter {
			n++
		}
	}
	return n
}

// stays says that the leader, or somebody it can hand over to, votes before and after.
func (b *builder) stays() bool {
	for _, s := range b.kept {
		if s == b.leader {
			return true
		}
	}
	return len(b.kept) > 0 && b.opts.Best(b.kept) != 0
}

// joint adds all new peers as learners, changes all votes at once, and then removes.
func (b *builder) joint() error {
	enter := EnterJoint{Promote: b.promote, Demote: b.demote}
	for _, p := range b.add {
		b.steps = append(b.steps, AddLearner{p})
		if p.Role == metapb.PeerRole_Voter {
			enter.Promote = append(enter.Promote, p)
		}
	}
	for _, p := range b.remove {
		if p.Role != metapb.PeerRole_Learner {
			enter.Demote = append(enter.Demote, p)
		}
	}
	for _, p := range enter.Demote {
		if p.StoreId == b.leader {
			to := b.opts.Lead
			if to == 0 || !contains(b.kept, to) {
				to = b.opts.Best(b.kept)
			}
			b.handOver(to)
		}
	}
	if n := len(enter.Promote) + len(enter.Demote); n > 1 {
		b.steps = append(b.steps, enter, LeaveJoint{})
	} else {
		for _, p := range enter.Promote {
			b.steps = append(b.steps, Promote{p})
		}
		for _, p := range enter.Demote {
			b.steps = append(b.steps, Demote{p})
		}
	}
	for _, p := range b.remove {
		b.steps = append(b.steps, RemovePeer{p})
	}
	return nil
}

// single changes one peer after the other: each that comes before one that goes.
func (b *builder) single() error {
	for i := range max(len(b.add), len(b.remove)) {
		if i < len(b.add) {
			b.addOne(b.add[i])
		}
		for _, p := range b.promote {
			b.steps = append(b.steps, Promote{p})
			b.kept = append(b.kept, p.StoreId)
		}
		b.promote = nil
		if i < len(b.remove) {
			if err := b.makeWay(b.remove[i]); err != nil {
				return err
			}
			b.steps = append(b.steps, RemovePeer{b.remove[i]})
		}
	}
	for _, p := range b.promote {
		b.steps = append(b.steps, Promote{p})
		b.kept = append(b.kept, p.StoreId)
	}
	for _, p := range b.demote {
		if err := b.makeWay(p); err != nil {
			return err
		}
		b.steps = append(b.steps, Demote{p})
	}
	return nil
}

func (b *builder) addOne(p *metapb.Peer) {
	switch {
	case p.Role == metapb.PeerRole_Learner:
		b.steps = append(b.steps, AddLearner{p})
		return
	case b.opts.Learners:
		b.steps = append(b.steps, AddLearner{p}, Promote{p})
	default:
		b.steps = append(b.steps, AddPeer{p})
	}
	b.kept = append(b.kept, p.StoreId)
}

// makeWay has the leadership handed over if it is a leader's peer that goes.
func (b *builder) makeWay(p *metapb.Peer) error {
	if p.StoreId != b.leader {
		return nil
	}
	to := uint64(0)
	if len(b.kept) > 0 {
		to = b.opts.Best(b.kept)
	}
	if to == 0 {
		return errors.Errorf("region %d: its leader on store %d cannot go, because nobody else may lead", b.r.ID(), p.StoreId)
	}
	b.handOver(to)
	return nil
}

func (b *builder) handOver(to uint64) {
	if to != b.leader {
		b.steps = append(b.steps, TransferLeader{From: b.leader, To: to})
		b.leader = to
	}
}

func contains(list []uint64, id uint64) bool {
	for _, x := range list {
		if x == id {
			return true
		}
	}
	return false
}
