package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// Who belongs to a region, and how they count, stands in the roles of its peers and nowhere else; raft's configuration is read off them, at a restart and
// in a snapshot. So every configuration that raft can be in must have roles that tell it:
//
//	Voter          votes; of a joint configuration, in both halves
//	Learner        gets the log and has no voice
//	IncomingVoter  votes in the new half only, and becomes a Voter
//	DemotingVoter  votes in the old half only, and becomes a Learner
//
// There is no role for a voter that leaves altogether, so a joint change does not remove voters: it makes learners of them, and they are removed
// one by one. And a joint change that touches no voter would be one that roles cannot tell from its end.

// ConfStateOf is raft's configuration as the roles of the region's peers tell it. A joint one is always left by the group itself.
func ConfStateOf(r *metapb.Region) *eraftpb.ConfState {
	cs := new(eraftpb.ConfState)
	joint := region.IsJoint(r)
	for _, p := range r.Peers {
		switch p.Role {
		case metapb.PeerRole_Voter:
			cs.Voters = append(cs.Voters, p.Id)
			if joint {
				cs.VotersOutgoing = append(cs.VotersOutgoing, p.Id)
			}
		case metapb.PeerRole_Learner:
			cs.Learners = append(cs.Learners, p.Id)
		case metapb.PeerRole_IncomingVoter:
			cs.Voters = append(cs.Voters, p.Id)
		case metapb.PeerRole_DemotingVoter:
			cs.VotersOutgoing = append(cs.VotersOutgoing, p.Id)
			cs.LearnersNext = append(cs.LearnersNext, p.Id)
		}
	}
	cs.AutoLeave = joint
	return cs
}

// changeMembers returns the region after a change of its peers: of one at once, of several by way of a joint configuration. An error says why the change
// makes no sense. It is asked when the change is proposed and again when it is applied (R3).
func changeMembers(r *metapb.Region, changes []command.PeerChange) (*metapb.Region, error) {
	switch {
	case len(changes) == 0:
		return nil, errors.Errorf("region %d: a change of no peer", r.Id)
	case region.IsJoint(r):
		return nil, errors.Errorf("region %d is in the middle of a joint change of its peers; it will be left by itself", r.Id)
	}
	next := region.Clone(r)
	for i, c := range changes {
		for _, other := range changes[:i] {
			if other.Peer.GetId() == c.Peer.GetId() {
				return nil, errors.Errorf("region %d: peer %d is changed twice", r.Id, c.Peer.GetId())
			}
		}
		if err := changeMember(next, c, len(changes) > 1); err != nil {
			return nil, errors.Annotatef(err, "region %d", r.Id)
		}
	}
	switch {
	case len(changes) > 1 && !region.IsJoint(next):
		return nil, errors.Errorf("region %d: several changes at once are for voters; of learners make one after the other", r.Id)
	case len(ConfStateOf(next).Voters) == 0:
		return nil, errors.Errorf("region %d: its last voter cannot be taken away", r.Id)
	}
	next.RegionEpoch.ConfVer += uint64(len(changes))
	return next, nil
}

// changeMember makes one change of r, which is the caller's.
func changeMember(r *metapb.Region, c command.PeerChange, joint bool) error {
	if c.Peer.GetId() == 0 || c.Peer.GetStoreId() == 0 || c.Peer.GetIsWitness() {
		return errors.Errorf("%v is no peer that could be a member", c.Peer)
	}
	old := region.FindPeer(r, c.Peer.Id)
	if old != nil && old.StoreId != c.Peer.StoreId {
		return errors.Errorf("peer %d is on store %d, not on store %d", old.Id, old.StoreId, c.Peer.StoreId)
	}
	if c.Type == eraftpb.ConfChangeType_RemoveNode {
		return removeMember(r, c.Peer.Id, joint)
	}
	role, of := metapb.PeerRole_Voter, metapb.PeerRole_Learner
	switch c.Type {
	case eraftpb.ConfChangeType_AddNode:
		if joint {
			role = metapb.PeerRole_IncomingVoter
		}
	case eraftpb.ConfChangeType_AddLearnerNode:
		role, of = metapb.PeerRole_Learner, metapb.PeerRole_Voter
		if joint && old != nil {
			role = metapb.PeerRole_DemotingVoter
		}
	default:
		return errors.Errorf("a change of type %d is not known", c.Type)
	}
	if old != nil {
		if old.Role != of {
			return errors.Errorf("peer %d is a %s already", old.Id, old.Role)
		}
		old.Role = role
		return nil
	}
	if q := region.FindPeerOn(r, c.Peer.StoreId); q != nil {
		return errors.Errorf("store %d has peer %d already", q.StoreId, q.Id)
	}
	r.Peers = append(r.Peers, &metapb.Peer{Id: c.Peer.Id, StoreId: c.Peer.StoreId, Role: role})
	return nil
}

func removeMember(r *metapb.Region, id uint64, joint bool) error {
	for i, q := range r.Peers {
		if q.Id != id {
			continue
		}
		if joint && q.Role != metapb.PeerRole_Learner {
			return errors.Errorf("peer %d is a voter, which several changes at once cannot remove; make it a learner", id)
		}
		r.Peers = append(r.Peers[:i], r.Peers[i+1:]...)
		return nil
	}
	return errors.Errorf("there is no peer %d", id)
}

// leaveJoint returns the region after its joint configuration, nil when it is in none.
func leaveJoint(r *metapb.Region) *metapb.Region {
	if !region.IsJoint(r) {
		return nil
	}
	next := region.Clone(r)
	for _, p := range next.Peers {
		switch p.Role {
		case metapb.PeerRole_IncomingVoter:
			p.Role = metapb.PeerRole_Voter
		case metapb.PeerRole_DemotingVoter:
			p.Role = metapb.PeerRole_Learner
		default:
			continue
		}
		next.RegionEpoch.ConfVer++
	}
	return next
}

// checkLeaderStays refuses to take the leader's vote away at one stroke where only one other voter is left: that one cannot be elected before it knows of
// the commit, and the leader may be gone by then (R4).
func checkLeaderStays(r, next *metapb.Region, leader uint64) error {
	voters := 0
	for _, p := range r.Peers {
		if p.Role == metapb.PeerRole_Voter {
			voters++
		}
	}
	q := region.FindPeer(next, leader)
	if voters <= 2 && (q == nil || q.Role == metapb.PeerRole_Learner) {
		return errors.Errorf("region %d: peer %d leads a group of %d voters and cannot lose its vote; transfer the leadership first", r.Id, leader, voters)
	}
	return nil
}
