package machine

import (
	"fmt"

	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
)

// A change of a region's peers: voters and learners are added, removed, promoted and demoted. One change at once; several by way of a joint
// configuration, which the leader leaves by itself as soon as it is in force.
//
// check    the epoch is the region's; changeMembers says whether the change makes sense; it does not take away the leader of a group of two (R4), and leaves a
//          majority of members that the leader has heard of lately (checkMajorityLives).
// propose  a raft configuration change that carries the command; raft refuses a second one while one is pending (R3).
// apply    applier.applyConfChange: epoch and sense are judged again; a change that lost its ground does nothing. An entry without data leaves the joint
//          configuration, if there is one: no proposal belongs to it.
// after    afterConfChange: raft counts by the new members; a removed peer stays until it may leave; the scheduler is told at once.

func (m *RaftMachine) proposeChange(p *peer, changes []command.PeerChange, done func(error)) error {
	next, err := changeMembers(p.region, changes)
	if err == nil {
		err = checkLeaderStays(p.region, next, p.id)
	}
	if err == nil {
		err = p.checkMajorityLives(next, m.cfg.ElectionTicks)
	}
	if err != nil {
		return err
	}
	cmd := command.Command{
		Kind: command.ChangePeer, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodePeerChanges(changes),
	}
	cc := eraftpb.ConfChangeV2{Context: command.Encode(cmd)}
	for _, c := range changes {
		cc.Changes = append(cc.Changes, &eraftpb.ConfChangeSingle{ChangeType: c.Type, NodeId: c.Peer.Id})
	}
	switch err := p.node.ProposeConfChangeV2(cc); errors.Cause(err) {
	case nil:
		m.awaitAdmin(p, command.ChangePeer, done)
		return nil
	case raft.ErrConfChangePending:
		return &region.ChangingError{RegionID: p.regionID, Change: command.ChangePeer.String(), Index: p.node.Raft.PendingConfIndex}
	default:
		return errors.Annotatef(err, "region %d: cannot change peers now", p.regionID)
	}
}

// aliveFor is the number of election timeouts within which a peer must have been heard of to count on it.
const aliveFor = 2

// checkMajorityLives refuses a change after which the region could stand still for good: a scheduler may not know yet that a learner's store is gone which it
// wants to vote (P8). Who is only about to come is given credit. Found by the simulator.
func (p *peer) checkMajorityLives(next *metapb.Region, electionTicks int) error {
	for _, without := range [2]metapb.PeerRole{metapb.PeerRole_IncomingVoter, metapb.PeerRole_DemotingVoter} { // before and after a joint change
		voters, alive := 0, 0
		for _, q := range next.Peers {
			if q.Role == metapb.PeerRole_Learner || q.Role == without {
				continue
			}
			voters++
			if q.Id == p.id || region.FindPeer(p.region, q.Id) == nil || p.members.lately(q.Id, p.ticks, uint64(aliveFor*electionTicks)) {
				alive++
			}
		}
		if 2*alive <= voters {
			return errors.Errorf("region %d: only %d of %d voters would be known to live after this change of peers; try again when more are heard of", p.regionID, alive, voters)
		}
	}
	return nil
}

// confChanged is what apply reports of a change of peers that took effect. Of one that did not, raft need not hear more than that it is applied.
type confChanged struct {
	change  eraftpb.ConfChangeV2
	region  *metapb.Region
	removed bool
}

// afterConfChange must come before raft hears that the change is applied.
func (m *RaftMachine) afterConfChange(p *peer, c *confChanged) {
	conf := p.node.ApplyConfChangeV2(c.change)
	ahead := p.snap.claimed || p.snap.installing // raft may count by a snapshot that is newer than this
	if want := ConfStateOf(c.region); !ahead && !sameMembers(conf, want) {
		panic(fmt.Sprintf("machine: %s: raft counts by %v, the region by %v", p, conf, want))
	}
	p.noteDeparted(p.region, c.region)
	for _, q := range c.region.Peers {
		if region.FindPeer(p.region, q.Id) == nil {
			p.members.hear(q.Id, p.ticks) // nobody is late who has just been asked to come
		}
	}
	p.region = c.region
	m.dropBuilt(p) // a snapshot without the new peer is of no use to it
	p.duties.reportNow = true
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{Region: c.region}})
	p.removed = c.removed
}

// sameMembers compares two configurations, whatever the order in which they name their members.
func sameMembers(a, b *eraftpb.ConfState) bool {
	x, errA := confchange.Restore(a)
	y, errB := confchange.Restore(b)
	return errA == nil && errB == nil && proto.Equal(x.State(), y.State())
}

// leave ends a peer whose removal is applied. It stays until those who remain know of the commit, or they would wait for somebody who is
// gone (R4); raft says when.
func (m *RaftMachine) leave(p *peer) {
	if p.removed && p.node.Dismissed() {
		m.destroy(p)
	}
}

// applyConfChange changes the region's peers, if epoch and sense still hold (R3: a check at propose is a best effort only).
func (a *applier) applyConfChange(c *command.Command, batch engine.Batch, change *eraftpb.ConfChangeV2) error {
	changes, err := command.DecodePeerChanges(c.Body)
	if err != nil {
		return err
	}
	next, err := changeMembers(a.region, changes)
	if err != nil {
		return err
	}
	a.setMembers(next, batch, change)
	return nil
}

// applyLeaveJoint ends a joint configuration. It reports whether there was one.
func (a *applier) applyLeaveJoint(batch engine.Batch) bool {
	next := leaveJoint(a.region)
	if next != nil {
		a.setMembers(next, batch, new(eraftpb.ConfChangeV2))
	}
	return next != nil
}

func (a *applier) setMembers(next *metapb.Region, batch engine.Batch, change *eraftpb.ConfChangeV2) {
	a.region = next
	removed := region.FindPeer(next, a.peerID) == nil
	if removed {
		putTombstone(batch, next, &metapb.Peer{Id: a.peerID, StoreId: a.storeID}, a.records, nil)
	} else {
		a.putRegion(batch)
	}
	a.results.Change = &confChanged{change: *change, region: next, removed: removed}
}
