package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A change of the region itself, whichever it is, goes one way.
//
// check    admitAdmin: the peer leads, the epoch is the region's, no other change is on its way; then the operation's own check.
// propose  an entry with one command; awaitAdmin notes who waits for it.
// apply    an engine batch of its own, which is synced when the region's shape changes: other peers and stores act on the new shape
//          at once, and a crash must not take it back (S24).
// after    the operation's own file; lookAfter forgets the change when its entry is applied or can be no more.

// epochRule says what of a region's epoch a command depends on, and what it counts up when it is applied.
type epochRule struct {
	// checksVersion and checksConfVer are judged when the command is proposed and again when it is applied (S10).
	checksVersion, checksConfVer bool
	// bumpsVersion: the range changes, or who may serve it. bumpsConfVer: the members change.
	bumpsVersion, bumpsConfVer bool
}

// epochRules is the one place that says which command depends on what.
func epochRules(k command.Kind) epochRule {
	switch k {
	case command.Write, command.Expire:
		return epochRule{checksVersion: true}
	case command.ChangePeer:
		return epochRule{checksVersion: true, checksConfVer: true, bumpsConfVer: true}
	case command.Split:
		return epochRule{checksVersion: true, checksConfVer: true, bumpsVersion: true}
	case command.PrepareMerge:
		return epochRule{checksVersion: true, checksConfVer: true, bumpsVersion: true, bumpsConfVer: true}
	case command.CommitMerge, command.RollbackMerge:
		return epochRule{checksVersion: true, checksConfVer: true, bumpsVersion: true}
	}
	return epochRule{} // CompactLog, ComputeHash, VerifyHash: true of any shape
}

// changesShape says that the command's batch must be durable before anybody hears of it.
func (r epochRule) changesShape() bool { return r.bumpsVersion || r.bumpsConfVer }

// holds says whether a command that was made for e still fits the region.
func (r epochRule) holds(e command.Epoch, now *metapb.RegionEpoch) bool {
	return (!r.checksVersion || e.Version == now.GetVersion()) && (!r.checksConfVer || e.ConfVer == now.GetConfVer())
}

// adminInFlight is the change that was proposed and not applied yet. There is one at most: what is checked at propose holds at
// apply then, unless leadership moves (S11).
type adminInFlight struct {
	kind command.Kind
	Pair
}

func (m *RaftMachine) handleAdmin(a *AdminRequest) {
	p := m.peers[a.RegionID]
	done := a.Done
	if done == nil {
		done = func(error) {}
	}
	err := m.admitAdmin(p, a)
	if err == nil {
		err = m.dispatchAdmin(p, a.Op, done)
	}
	if err != nil {
		m.reply(done, err)
	}
	if p != nil {
		m.touch(p)
	}
}

// dispatchAdmin begins an operation. Unless it answers an error, done is called when the operation ends.
func (m *RaftMachine) dispatchAdmin(p *peer, op AdminOp, done func(error)) error {
	switch op := op.(type) {
	case ChangePeers:
		return m.proposeChange(p, op.Changes, done)
	case TransferLeader:
		return m.transferLeader(p, op.To, done)
	case Merge:
		return m.beginMerge(p, op, done)
	case Split:
		return m.split(p, op, done)
	case CheckConsistency:
		return m.checkConsistency(p, done)
	}
	panic(errors.Errorf("machine: a region is asked for a %T", op))
}

func (m *RaftMachine) admitAdmin(p *peer, a *AdminRequest) error {
	if p == nil {
		return &region.NotFoundError{RegionID: a.RegionID}
	}
	if err := p.checkLeader(0); err != nil {
		return err
	}
	if _, again := a.Op.(TransferLeader); p.node.Raft.LeadTransferee() != raft.None && !again {
		return p.notLeader()
	}
	if a.Epoch != nil && !region.SameEpoch(a.Epoch, p.region.RegionEpoch) {
		return p.epochNotMatch()
	}
	if p.admin.Index > 0 {
		return &region.ChangingError{RegionID: p.regionID, Change: p.admin.kind.String(), Index: p.admin.Index}
	}
	if _, moves := a.Op.(TransferLeader); p.merge.frozen() && !moves {
		return &region.MergingError{RegionID: p.regionID}
	}
	return nil
}

// awaitAdmin notes that the log's last entry is a change of the region, and who waits for it.
func (m *RaftMachine) awaitAdmin(p *peer, kind command.Kind, done func(error)) {
	p.admin = adminInFlight{kind: kind, Pair: m.await(p, done)}
}

// await notes who waits for the log's last entry.
func (m *RaftMachine) await(p *peer, done func(error)) Pair {
	at := Pair{p.node.Raft.RaftLog.LastIndex(), p.term()}
	m.pend(p, at, []*Proposal{{RegionID: p.regionID, Done: done}})
	return at
}

// settleAdmin forgets the change that was on its way once it is applied, or another leader decides what becomes of it.
func (p *peer) settleAdmin() {
	if p.admin.Index > 0 && (p.applied.Index >= p.admin.Index || p.term() != p.admin.Term || !p.isLeader()) {
		p.admin = adminInFlight{}
	}
}
