package machine

import (
	"bytes"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// A split divides a region: the region keeps its id and the last part, new regions take the parts before it, each with a peer beside each
// of the region's peers.
//
// check    checkSplit: the keys lie strictly inside and ascend, no peer is in the middle of a joint change. Ids that the request does not bring
//          are asked of the scheduler; a question without an answer is given up after a while.
// propose  a Split command with keys and ids.
// apply    applier.applySplit divides the region, ApplyMachine.splitOff begins the new ones: region and apply states in one synced batch. A new
//          region whose peer here is dead already (S5) does not begin: its range is erased.
// after    afterSplit: one message to the StoreMachine moves all ranges; adoption (op_adopt.go) makes the new regions' peers. The leader tells the
//          scheduler. From the commit of a split to its application there is no lease (S14): a new region's leader may write elsewhere.

// splitRequest is a split that waits for its ids.
type splitRequest struct {
	op    Split
	epoch *metapb.RegionEpoch
	asked uint64 // tick
	done  func(error)
}

func (s *splitRequest) waits() bool { return s.epoch != nil }

// splitPatience is the number of election timeouts that the scheduler has to answer, halfPatience that which the search for the middle may take.
const (
	splitPatience = 5
	halfPatience  = 60
)

func (m *RaftMachine) split(p *peer, op Split, done func(error)) error {
	if p.split.waits() {
		return &region.ChangingError{RegionID: p.regionID, Change: command.Split.String(), Index: p.applied.Index}
	}
	if len(op.IDs) > 0 {
		return m.proposeSplit(p, op, done)
	}
	request := splitRequest{op: op, epoch: p.region.RegionEpoch, asked: p.ticks, done: done}
	if len(op.Keys) == 0 {
		p.split = request
		m.round.Tasks = append(m.round.Tasks, MeasureRegion{RegionID: p.regionID, PeerID: p.id, Region: p.region, Limits: m.cfg.Split, Half: true})
		return nil
	}
	if _, err := divide(p.region, placeholders(p.region, op.Keys)); err != nil {
		return err
	}
	p.split = request
	m.round.Ask = append(m.round.Ask, AskSplit{Region: p.region, Count: len(op.Keys)})
	return nil
}

// halve goes on with a split in the middle when that was found.
func (m *RaftMachine) halve(p *peer, mail Measured) {
	s := p.split
	if !s.waits() || len(s.op.Keys) > 0 {
		return // given up
	}
	p.split = splitRequest{}
	s.op.Keys = mail.Keys
	var err error
	switch {
	case !region.SameEpoch(s.epoch, p.region.RegionEpoch):
		err = p.epochNotMatch()
	case len(mail.Keys) == 0:
		err = errors.Errorf("region %d holds too little to be split in the middle", p.regionID)
	default:
		err = m.split(p, s.op, s.done)
	}
	if err != nil {
		m.reply(s.done, err)
	}
}

// placeholders are parts that only their keys are judged of.
func placeholders(r *metapb.Region, keys [][]byte) []command.SplitPart {
	var parts []command.SplitPart
	for _, k := range keys {
		parts = append(parts, command.SplitPart{EndKey: k, RegionID: r.Id, PeerIDs: make([]uint64, len(r.Peers))})
	}
	return parts
}

func (m *RaftMachine) handleSplitIDs(mail SplitIDs) {
	p := m.peers[mail.RegionID]
	if p == nil || !p.split.waits() || len(p.split.op.Keys) == 0 || p.split.epoch.Version != mail.Version {
		return // the question was given up
	}
	s := p.split
	p.split = splitRequest{}
	s.op.IDs = mail.IDs
	var err error
	switch {
	case !region.SameEpoch(s.epoch, p.region.RegionEpoch):
		err = p.epochNotMatch()
	case len(mail.IDs) == 0:
		err = &region.ServerIsBusyError{Reason: "the scheduler gave no ids for a split"}
	default:
		if err = m.admitAdmin(p, &AdminRequest{RegionID: p.regionID}); err == nil {
			err = m.proposeSplit(p, s.op, s.done)
		}
	}
	if err != nil {
		m.reply(s.done, err)
	}
	m.touch(p)
}

func (m *RaftMachine) proposeSplit(p *peer, op Split, done func(error)) error {
	if len(op.IDs) != len(op.Keys) {
		return errors.Errorf("region %d: %d ids for a split at %d keys", p.regionID, len(op.IDs), len(op.Keys))
	}
	var parts []command.SplitPart
	for i, k := range op.Keys {
		parts = append(parts, command.SplitPart{EndKey: k, RegionID: op.IDs[i].RegionID, PeerIDs: op.IDs[i].PeerIDs})
	}
	regions, err := divide(p.region, parts)
	if err != nil {
		return err
	}
	cmd := command.Command{Kind: command.Split, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeSplit(parts)}
	if err := p.node.Propose(command.Encode(cmd)); err != nil {
		return errors.Annotatef(err, "region %d: cannot split now", p.regionID)
	}
	m.awaitAdmin(p, command.Split, func(err error) {
		if err == nil && op.Parts != nil {
			op.Parts(regions)
		}
		done(err)
	})
	return nil
}

// settleSplit gives up what waits for ids when the scheduler does not answer, or somebody else leads.
func (m *RaftMachine) settleSplit(p *peer) {
	patience := uint64(splitPatience)
	if len(p.split.op.Keys) == 0 {
		patience = halfPatience
	}
	switch {
	case !p.split.waits():
	case !p.isLeader():
		m.abandonSplit(p, p.notLeader())
	case p.ticks-p.split.asked > patience*uint64(m.cfg.ElectionTicks):
		m.abandonSplit(p, &region.ServerIsBusyError{Reason: "the split was given up: its keys or its ids did not come in time"})
	}
}

func (m *RaftMachine) abandonSplit(p *peer, err error) {
	if p.split.waits() {
		m.reply(p.split.done, err)
		p.split = splitRequest{}
	}
}

// divide says what becomes of a region: its new parts in the order of keys, and itself at the end.
func divide(r *metapb.Region, parts []command.SplitPart) ([]*metapb.Region, error) {
	if len(parts) == 0 {
		return nil, errors.Errorf("region %d: a split without keys", r.Id)
	}
	for _, q := range r.Peers {
		if q.Role == metapb.PeerRole_IncomingVoter || q.Role == metapb.PeerRole_DemotingVoter {
			return nil, errors.Errorf("region %d is in the middle of a change of several peers and cannot be split", r.Id)
		}
	}
	version := r.RegionEpoch.Version + uint64(len(parts))
	var regions []*metapb.Region
	start := r.StartKey
	for _, part := range parts {
		if !region.Contains(r, part.EndKey) || bytes.Compare(part.EndKey, start) <= 0 {
			return nil, errors.Errorf("region %d [%X, %X) cannot be split at %X: split keys ascend and lie strictly inside", r.Id, r.StartKey, r.EndKey, part.EndKey)
		}
		if part.RegionID == 0 || len(part.PeerIDs) != len(r.Peers) {
			return nil, errors.Errorf("region %d has %d peers and cannot be split with ids %d %v", r.Id, len(r.Peers), part.RegionID, part.PeerIDs)
		}
		child := &metapb.Region{
			Id: part.RegionID, StartKey: start, EndKey: bytes.Clone(part.EndKey),
			RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: r.RegionEpoch.ConfVer},
		}
		for i, q := range r.Peers {
			peer := *q
			peer.Id = part.PeerIDs[i]
			child.Peers = append(child.Peers, &peer)
		}
		regions = append(regions, child)
		start = child.EndKey
	}
	rest := region.Clone(r)
	rest.StartKey, rest.RegionEpoch.Version = start, version
	return append(regions, rest), nil
}

// splitDone is what apply reports of a split.
type splitDone struct {
	// parts are what became of the region, itself at the end; begun are those that have a peer on this store now, but itself.
	parts, begun []*metapb.Region
}

// applySplit divides the region.
func (a *applier) applySplit(c *command.Command, batch engine.Batch) error {
	parts, err := command.DecodeSplit(c.Body)
	if err != nil {
		return err
	}
	regions, err := divide(a.region, parts)
	if err != nil {
		return err
	}
	a.siblings, a.region = regions[:len(regions)-1], regions[len(regions)-1]
	if region.FindPeer(a.region, a.peerID) == nil {
		putTombstone(batch, a.region, &metapb.Peer{Id: a.peerID, StoreId: a.storeID}, a.records, nil)
	} else {
		a.putRegion(batch)
	}
	a.results.Split = &splitDone{parts: regions}
	return nil
}

// splitOff begins the new regions, where a split finds them alive.
func (m *ApplyMachine) splitOff(s *splitDone, records []*raft_serverpb.MergedRecord, batch engine.Batch) {
	for _, r := range s.parts[:len(s.parts)-1] {
		self := region.FindPeerOn(r, m.storeID)
		if self == nil || m.tombstones[r.Id].peerID >= self.Id {
			eraseRange(batch, r.StartKey, endOf(r))
			continue
		}
		if old := m.appliers[r.Id]; old != nil {
			panic(errors.Errorf("region %d: a split makes peer %d while peer %d has data", r.Id, self.Id, old.peerID))
		}
		at := Pair{InitIndex, InitTerm}
		a := &applier{region: r, peerID: self.Id, storeID: m.storeID, applied: at, truncated: at, records: records}
		m.appliers[r.Id] = a
		a.putRegion(batch)
		a.putApplyState(batch)
		s.begun = append(s.begun, r)
	}
}

func eraseRange(batch engine.Batch, start, end []byte) {
	for _, cf := range engine.DataCFs {
		batch.DeleteRange(cf, start, end)
	}
}

// eraseOutside deletes what a region had and, as a snapshot shows it, has no more.
func eraseOutside(batch engine.Batch, old, now *metapb.Region) {
	if bytes.Compare(old.StartKey, now.StartKey) < 0 {
		end := now.StartKey
		if len(old.EndKey) > 0 && bytes.Compare(old.EndKey, end) < 0 {
			end = old.EndKey
		}
		eraseRange(batch, old.StartKey, end)
	}
	if len(now.EndKey) > 0 && (len(old.EndKey) == 0 || bytes.Compare(now.EndKey, old.EndKey) < 0) {
		start := now.EndKey
		if bytes.Compare(old.StartKey, start) > 0 {
			start = old.StartKey
		}
		eraseRange(batch, start, endOf(old))
	}
}

func (m *RaftMachine) afterSplit(p *peer, s *splitDone) {
	n := len(s.parts) - 1
	p.region, p.siblings = s.parts[n], s.parts[:n]
	m.dropBuilt(p) // it has the old range
	p.size = sizeWatch{}
	leads := p.isLeader() && !p.ending
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: CoversAll{
		Regions: append(s.begun[:len(s.begun):len(s.begun)], p.region), Campaign: leads,
	}})
	if leads {
		p.duties.reportNow = true
		m.round.Ask = append(m.round.Ask, ReportSplit{Regions: s.parts})
	}
}

// leaseEnd is the lease as readers may know it. Once a change that moves the range is committed, somebody else may act on it before it is applied
// here: no lease then, and readers learn it before the commit leaves this store (S14). Only this leader's own changes can be meant: a view
// is ready only when what earlier leaders left is applied.
func (p *peer) leaseEnd() Instant {
	if p.merge.frozen() || p.admin.Index > 0 && epochRules(p.admin.kind).bumpsVersion && p.node.Raft.RaftLog.Committed() >= p.admin.Index {
		return 0
	}
	return p.lease.end
}

func withSiblings(r *metapb.Region, siblings []*metapb.Region) []*metapb.Region {
	return append([]*metapb.Region{r}, siblings...)
}

// mayBeFirst says that a message may be the first that its receiver hears of the region, which then must know whether the range is free there.
func (p *peer) mayBeFirst(msg *eraftpb.Message) bool {
	switch msg.MsgType {
	case eraftpb.MessageType_MsgRequestVote, eraftpb.MessageType_MsgRequestPreVote:
		return true
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat:
		pr := p.node.Raft.Prs[msg.To]
		return pr == nil || pr.Match == 0
	}
	return false
}

// BirthState is the raft state of a region that a split makes, where before is what is remembered of an earlier peer: its promises hold.
func BirthState(before *raft_serverpb.RaftLocalState) *raft_serverpb.RaftLocalState {
	hs := eraftpb.HardState{Term: InitTerm}
	if old := before.GetHardState(); old.GetTerm() >= InitTerm {
		hs.Term, hs.Vote = old.Term, old.Vote
	}
	hs.Commit = InitIndex
	return &raft_serverpb.RaftLocalState{HardState: &hs, LastIndex: InitIndex}
}
