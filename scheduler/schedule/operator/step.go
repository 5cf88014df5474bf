package operator

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Step is one change of a region.
type Step interface {
	fmt.Stringer
	// Done tells from a region's latest report whether the step is behind it.
	Done(r *cluster.Region) bool
	// Order is what to tell the region's leader; nil if there is nothing to tell it.
	Order(r *cluster.Region) Order
	// after is the region's members once the step is done.
	after(m members) members
	// influence adds what the step will change once it is done.
	influence(r *cluster.Region, on Influences)
	// slow says that data moves.
	slow() bool
}

const (
	fastStep = time.Minute
	slowStep = 10 * time.Minute
	// perMebibyte is what a step that moves data may take longer for each MiB.
	perMebibyte = time.Second
)

// patience is how long a step may take.
func patience(s Step, r *cluster.Region) time.Duration {
	if s.slow() {
		return slowStep + time.Duration(r.Weight())*perMebibyte
	}
	return fastStep
}

// AddLearner adds a peer that does not vote yet. It is done when the peer is caught up.
type AddLearner struct{ Peer *metapb.Peer }

func (s AddLearner) String() string {
	return fmt.Sprintf("add learner peer %d on store %d", s.Peer.Id, s.Peer.StoreId)
}

// Done implements Step.
func (s AddLearner) Done(r *cluster.Region) bool {
	return r.Peer(s.Peer.Id) != nil && !r.IsPending(s.Peer.Id)
}

// Order implements Step.
func (s AddLearner) Order(r *cluster.Region) Order {
	if r.OnStore(s.Peer.StoreId) != nil {
		return nil // it is there, and catching up
	}
	peer := &metapb.Peer{Id: s.Peer.Id, StoreId: s.Peer.StoreId, Role: metapb.PeerRole_Learner}
	return ChangePeer{eraftpb.ConfChangeType_AddLearnerNode, peer}
}

func (s AddLearner) after(m members) members { return m.with(s.Peer, metapb.PeerRole_Learner) }
func (s AddLearner) slow() bool              { return true }
func (s AddLearner) influence(r *cluster.Region, on Influences) {
	arrives(r, s.Peer, on)
}

func arrives(r *cluster.Region, p *metapb.Peer, on Influences) {
	if r.OnStore(p.StoreId) != nil {
		return // counted already
	}
	i := on.of(p.StoreId)
	i.Regions++
	i.RegionWeight += r.Weight()
	i.Arriving++
}

// AddPeer adds a voter without it having been a learner.
type AddPeer struct{ Peer *metapb.Peer }

func (s AddPeer) String() string {
	return fmt.Sprintf("add peer %d on store %d", s.Peer.Id, s.Peer.StoreId)
}

// Done implements Step.
func (s AddPeer) Done(r *cluster.Region) bool {
	p := r.Peer(s.Peer.Id)
	return p.GetRole() == metapb.PeerRole_Voter && p != nil && !r.IsPending(p.Id)
}

// Order implements Step.
func (s AddPeer) Order(r *cluster.Region) Order {
	if r.OnStore(s.Peer.StoreId) != nil {
		return nil
	}
	return ChangePeer{eraftpb.ConfChangeType_AddNode, &metapb.Peer{Id: s.Peer.Id, StoreId: s.Peer.StoreId}}
}

func (s AddPeer) after(m members) members { return m.with(s.Peer, metapb.PeerRole_Voter) }
func (s AddPeer) slow() bool              { return true }
func (s AddPeer) influence(r *cluster.Region, on Influences) {
	arrives(r, s.Peer, on)
}

// Promote makes a learner vote.
type Promote struct{ Peer *metapb.Peer }

func (s Promote) String() string {
	return fmt.Sprintf("promote learner peer %d on store %d to voter", s.Peer.Id, s.Peer.StoreId)
}

// Done implements Step.
func (s Promote) Done(r *cluster.Region) bool {
	p := r.Peer(s.Peer.Id)
	return p != nil && p.Role == metapb.PeerRole_Voter
}

// Order implements Step.
func (s Promote) Order(*cluster.Region) Order {
	return ChangePeer{eraftpb.ConfChangeType_AddNode, &metapb.Peer{Id: s.Peer.Id, StoreId: s.Peer.StoreId}}
}

func (s Promote) after(m members) members               { return m.with(s.Peer, metapb.PeerRole_Voter) }
func (s Promote) slow() bool                            { return false }
func (s Promote) influence(*cluster.Region, Influences) {}

// Demote makes a voter a learner.
type Demote struct{ Peer *metapb.Peer }

func (s Demote) String() string {
	return fmt.Sprintf("demote voter peer %d on store %d to learner", s.Peer.Id, s.Peer.StoreId)
}

// Done implements Step.
func (s Demote) Done(r *cluster.Region) bool {
	p := r.Peer(s.Peer.Id)
	return p != nil && p.Role == metapb.PeerRole_Learner
}

// Order implements Step.
func (s Demote) Order(*cluster.Region) Order {
	peer := &metapb.Peer{Id: s.Peer.Id, StoreId: s.Peer.StoreId, Role: metapb.PeerRole_Learner}
	return ChangePeer{eraftpb.ConfChangeType_AddLearnerNode, peer}
}

func (s Demote) after(m members) members               { return m.with(s.Peer, metapb.PeerRole_Learner) }
func (s Demote) slow() bool                            { return false }
func (s Demote) influence(*cluster.Region, Influences) {}

// EnterJoint promotes and demotes several peers at once.
type EnterJoint struct{ Promote, Demote []*metapb.Peer }

func (s EnterJoint) String() string { return "use joint consensus, " + s.list() }

func (s EnterJoint) list() string {
	var parts []string
	for _, p := range s.Promote {
		parts = append(parts, Promote{p}.String())
	}
	for _, p := range s.Demote {
		parts = append(parts, Demote{p}.String())
	}
	return strings.Join(parts, ", ")
}

// Done implements Step.
func (s EnterJoint) Done(r *cluster.Region) bool {
	for _, p := range s.Promote {
		if q := r.Peer(p.Id); q == nil || q.Role != metapb.PeerRole_IncomingVoter && q.Role != metapb.PeerRole_Voter {
			return false
		}
	}
	for _, p := range s.Demote {
		if q := r.Peer(p.Id); q == nil || q.Role != metapb.PeerRole_DemotingVoter && q.Role != metapb.PeerRole_Learner {
			return false
		}
	}
	return true
}

// Order implements Step.
func (s EnterJoint) Order(r *cluster.Region) Order {
	var o ChangePeers
	for _, p := range s.Promote {
		o.Changes = append(o.Changes, Promote{p}.Order(r).(ChangePeer))
	}
	for _, p := range s.Demote {
		o.Changes = append(o.Changes, Demote{p}.Order(r).(ChangePeer))
	}
	return o
}

func (s EnterJoint) after(m members) members {
	for _, p := range s.Promote {
		m = m.with(p, metapb.PeerRole_IncomingVoter)
	}
	for _, p := range s.Demote {
		m = m.with(p, metapb.PeerRole_DemotingVoter)
	}
	return m
}
func (s EnterJoint) slow() bool                            { return false }
func (s EnterJoint) influence(*cluster.Region, Influences) {}

// LeaveJoint ends a joint configuration. Leaders do that by themselves; this waits for it, and reminds them.
type LeaveJoint struct{}

func (s LeaveJoint) String() string { return "leave joint state" }

// Done implements Step.
func (s LeaveJoint) Done(r *cluster.Region) bool { return !r.InJoint() }

// Order implements Step.
func (s LeaveJoint) Order(*cluster.Region) Order { return ChangePeers{} }

func (s LeaveJoint) after(m members) members               { return m.left() }
func (s LeaveJoint) slow() bool                            { return false }
func (s LeaveJoint) influence(*cluster.Region, Influences) {}

// TransferLeader makes the peer on a store lead.
type TransferLeader struct{ From, To uint64 }

func (s TransferLeader) String() string {
	return fmt.Sprintf("transfer leader from store %d to store %d", s.From, s.To)
}

// Done implements Step.
func (s TransferLeader) Done(r *cluster.Region) bool { return r.LeaderStore() == s.To }

// Order implements Step.
func (s TransferLeader) Order(r *cluster.Region) Order {
	if p := r.OnStore(s.To); p != nil {
		return LeadBy{p}
	}
	return nil
}

func (s TransferLeader) after(m members) members { return m }
func (s TransferLeader) slow() bool              { return false }
func (s TransferLeader) influence(r *cluster.Region, on Influences) {
	if r.LeaderStore() == s.To {
		return
	}
	from, to := on.of(r.LeaderStore()), on.of(s.To)
	from.Leaders--
	from.LeaderWeight -= r.Weight()
	to.Leaders++
	to.LeaderWeight += r.Weight()
}

// RemovePeer removes a peer.
type RemovePeer struct{ Peer *metapb.Peer }

func (s RemovePeer) String() string {
	return fmt.Sprintf("remove peer %d on store %d", s.Peer.Id, s.Peer.StoreId)
}

// Done implements Step.
func (s RemovePeer) Done(r *cluster.Region) bool { return r.Peer(s.Peer.Id) == nil }

// Order implements Step.
func (s RemovePeer) Order(r *cluster.Region) Order {
	return ChangePeer{eraftpb.ConfChangeType_RemoveNode, r.Peer(s.Peer.Id)}
}

func (s RemovePeer) after(m members) members { return m.without(s.Peer) }
func (s RemovePeer) slow() bool              { return false }
func (s RemovePeer) influence(r *cluster.Region, on Influences) {
	i := on.of(s.Peer.StoreId)
	i.Regions--
	i.RegionWeight -= r.Weight()
}

// Split splits a region, at keys or in the middle. It is done when the region's range has changed.
type Split struct {
	Start, End []byte
	Keys       [][]byte
}

func (s Split) String() string {
	if len(s.Keys) == 0 {
		return "split region in the middle"
	}
	return fmt.Sprintf("split region at %d keys, the first %X", len(s.Keys), s.Keys[0])
}

// Done implements Step.
func (s Split) Done(r *cluster.Region) bool {
	return !bytes.Equal(s.Start, r.Meta.StartKey) || !bytes.Equal(s.End, r.Meta.EndKey)
}

// Order implements Step.
func (s Split) Order(*cluster.Region) Order { return SplitRegion{Keys: s.Keys} }

func (s Split) after(m members) members               { return m }
func (s Split) slow() bool                            { return false }
func (s Split) influence(*cluster.Region, Influences) {}

// Merge merges From into To. Passive is the same as To sees it: its range grows, and with it its version. (The range alone may be what it was by the next report:
// stores split what they have just merged, if it is too large. Found by the simulator.)
type Merge struct {
	From, To *metapb.Region
	Passive  bool
}

func (s Merge) String() string {
	return fmt.Sprintf("merge region %d into region %d", s.From.Id, s.To.Id)
}

// Done implements Step. The region that is merged never reports that it is: it vanishes, and the controller sees to it.
func (s Merge) Done(r *cluster.Region) bool {
	return s.Passive && r.Meta.RegionEpoch.GetVersion() > s.To.RegionEpoch.GetVersion()
}

// Order implements Step.
func (s Merge) Order(*cluster.Region) Order {
	if s.Passive {
		return nil
	}
	return MergeRegion{Target: s.To}
}

func (s Merge) after(m members) members               { return m }
func (s Merge) slow() bool                            { return true }
func (s Merge) influence(*cluster.Region, Influences) {}
