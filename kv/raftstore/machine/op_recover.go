package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/proto/region"
)

// A region whose majority is lost for good can only be had back by force: one of its survivors becomes its only voter, with the log that it has.
// What the others had acknowledged beyond that log is lost, and what it has beyond the commit becomes true. Nobody but a person may ask for this, who knows that
// the lost stores never come back.
//
// check    the peer is the one that was meant, of the shape that was seen, and no leader is heard.
// propose  nothing: there is nobody to agree. The order goes to the ApplyMachine, behind what is committed.
// apply    the shape is judged again; the region gets one peer, and an epoch so far ahead that every other survivor is told to go, durably.
// after    raft counts by the one voter, which elects itself. The scheduler hears of a region that lacks peers, and repairs it as usual.

// ForceRequest orders a survivor to be its region's only member. Done is called exactly once; nil: it is so, perhaps since an earlier order.
type ForceRequest struct {
	RegionID, PeerID uint64
	// Seen is the conf_ver that the order was made for, Next the one that the region gets.
	Seen, Next uint64
	Done       func(error)
}

// Force asks for the impossible: see op_recover.go.
type Force struct{ *ForceRequest }

func (Force) isMail() {}

// quietBeforeForce is the number of election timeouts without a leader before which a region is not lost.
const quietBeforeForce = 2

func (m *RaftMachine) handleForce(f *ForceRequest) {
	p := m.peers[f.RegionID]
	if p == nil || p.ending || p.removed {
		m.reply(f.Done, &region.NotFoundError{RegionID: f.RegionID})
		return
	}
	m.touch(p)
	done, err := forced(p.region, f)
	switch {
	case err != nil || done:
		m.reply(f.Done, err)
	case p.id != f.PeerID:
		m.reply(f.Done, &region.MismatchPeerIDError{Requested: f.PeerID, Actual: p.id})
	case p.isLeader() || p.leader() != nil && p.ticks-p.contact.heard < uint64(quietBeforeForce*m.cfg.ElectionTicks):
		m.reply(f.Done, errors.Errorf("region %d has a leader, or had one a moment ago: it is not lost", f.RegionID))
	case p.snap.installing || p.snap.claimed:
		m.reply(f.Done, errors.Errorf("region %d: peer %d is installing a snapshot, try again", f.RegionID, p.id))
	default:
		m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: p.id, Force: f})
	}
}

// forced says whether an order was carried out already, or why it must not be.
func forced(r *metapb.Region, f *ForceRequest) (bool, error) {
	confVer := r.RegionEpoch.GetConfVer()
	switch {
	case confVer == 0:
		return false, &region.NotInitializedError{RegionID: f.RegionID}
	case confVer >= f.Next:
		return true, nil
	case confVer != f.Seen:
		return false, errors.Errorf("region %d has changed since the plan was made: conf_ver %d, not %d; make another plan", f.RegionID, confVer, f.Seen)
	}
	return false, nil
}

// applyForce is the ApplyMachine's part.
func (m *ApplyMachine) applyForce(round *ApplyRound, t *ApplyTask, batch engine.Batch) {
	f, a := t.Force, m.appliers[t.RegionID]
	if a == nil || a.peerID != t.PeerID {
		round.Reply = append(round.Reply, Reply{Done: f.Done, Err: &region.NotFoundError{RegionID: f.RegionID}})
		return
	}
	if done, err := forced(a.region, f); done || err != nil {
		round.Reply = append(round.Reply, Reply{Done: f.Done, Err: err})
		return
	}
	next := region.Clone(a.region)
	next.RegionEpoch.ConfVer = f.Next
	next.Peers = []*metapb.Peer{{Id: a.peerID, StoreId: a.storeID}}
	a.region = next
	a.putRegion(batch)
	a.results.Forced = next
	m.markDirty(a)
	round.Sync = true
	round.Reply = append(round.Reply, Reply{Done: f.Done})
}

func (m *RaftMachine) afterForce(p *peer, r *metapb.Region) {
	if err := p.node.ForceConf(ConfStateOf(r)); err != nil {
		panic(err) // one voter is a configuration
	}
	p.noteDeparted(p.region, r)
	p.region = r
	m.dropBuilt(p)
	p.duties.reportNow = true
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{Region: r}})
	if err := p.node.Campaign(); err != nil {
		panic(err) // it never refuses
	}
}
