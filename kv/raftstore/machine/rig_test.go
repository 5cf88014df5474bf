package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// rig is a whole store's machines, wired without a shell. Everything is durable at once, or what the raft machine has written once it is told of owed, while lazy
// is set; apply waits while slow is set.
type rig struct {
	t     *testing.T
	raft  *RaftMachine
	store *StoreMachine
	apply *ApplyMachine
	db    *memdb.DB
	now   Instant
	slow  bool
	lazy  bool
	owed  []Mail

	queue []ApplyTask
	sent  []*raft_serverpb.RaftMessage
	asked []SchedulerCall
	made  []Create
	logs  map[uint64]*raft_serverpb.RaftLocalState
	views map[uint64]*RegionView
	// rounds are what the RaftMachine decided, oldest first.
	rounds []Round
}

// threeRegion is a region on stores 1 to 3, whose peers are 11 to 13.
func threeRegion() *metapb.Region {
	return &metapb.Region{
		Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1},
		Peers: []*metapb.Peer{{Id: 11, StoreId: 1}, {Id: 12, StoreId: 2}, {Id: 13, StoreId: 3}},
	}
}

// newRig is store 1 with the given region.
func newRig(t *testing.T, r *metapb.Region) *rig {
	at := Pair{InitIndex, InitTerm}
	found := StoreState{Tombstones: map[uint64]Tombstone{}}
	found.Regions = []Restored{{Region: r, PeerID: region.FindPeerOn(r, 1).Id, Apply: ApplyState(at, at), Raft: BirthState(nil)}}
	g := &rig{t: t, db: memdb.New(), logs: make(map[uint64]*raft_serverpb.RaftLocalState), views: make(map[uint64]*RegionView), now: 1}
	var err error
	g.raft, err = NewRaftMachine(testConfig(1), found.Regions)
	require.NoError(t, err)
	g.store, err = NewStoreMachine(1, found)
	require.NoError(t, err)
	g.apply = NewApplyMachine(1, found)
	return g
}

// run handles mail for the RaftMachine and all that follows from it.
func (g *rig) run(mail ...Mail) {
	g.t.Helper()
	var forStore []Mail
	for len(mail) > 0 || len(forStore) > 0 || !g.slow && len(g.queue) > 0 {
		var posted []Addressed
		if len(mail) > 0 {
			round := g.raft.Handle(mail, g.now)
			mail = nil
			g.rounds = append(g.rounds, round)
			posted = append(posted, g.carryOut(&round)...)
		}
		if !g.slow && len(g.queue) > 0 {
			posted = append(posted, g.applyOne()...)
		}
		if len(forStore) > 0 {
			round := g.store.Handle(forStore, g.now)
			forStore = nil
			posted = append(posted, g.carryOut(&round)...)
		}
		for _, a := range posted {
			if c, ok := a.Mail.(Create); ok {
				g.made = append(g.made, c)
			}
			if a.Store {
				forStore = append(forStore, a.Mail)
			} else {
				mail = append(mail, a.Mail)
			}
		}
		g.disjoint()
	}
}

// carryOut returns the mail that a round leads to.
func (g *rig) carryOut(round *Round) (posted []Addressed) {
	for _, v := range round.Views {
		g.views[v.Region.Id] = v
	}
	g.sent = append(g.sent, round.Send...)
	for _, w := range round.Write {
		g.sent = append(g.sent, w.After...)
		if w.State != nil {
			state := *w.State
			g.logs[w.RegionID] = &state
		}
		if n := len(w.Entries); n > 0 {
			g.logs[w.RegionID].LastIndex = w.Entries[n-1].Index
		}
		to := Addressed{RegionID: w.RegionID, Mail: Persisted{w.RegionID, w.PeerID, w.Number}}
		if w.Destroyed {
			delete(g.logs, w.RegionID)
			to.Mail = LogDestroyed{w.RegionID, w.PeerID}
		}
		switch {
		case !w.Destroyed && w.Number == 0:
		case g.lazy:
			g.owed = append(g.owed, to.Mail)
		default:
			posted = append(posted, to)
		}
	}
	g.queue = append(g.queue, round.Apply...)
	g.asked = append(g.asked, round.Ask...)
	for _, r := range round.Reply {
		if r.Done != nil {
			r.Done(r.Err)
		} else {
			r.Grant(r.Read, r.Err)
		}
	}
	return append(posted, round.Mail...)
}

func (g *rig) applyOne() []Addressed {
	batch := g.db.NewBatch()
	round, rest := g.apply.Handle(g.queue, batch)
	require.NoError(g.t, batch.Commit(round.Sync))
	for _, r := range round.Reply {
		r.Done(r.Err)
	}
	g.queue = rest
	return round.Mail
}

// disjoint is what must hold at every step (S3, S4): the index and its map tell the same, and no two regions share a key.
func (g *rig) disjoint() {
	g.t.Helper()
	require.Equal(g.t, len(g.store.index.byID), g.store.index.tree.Len())
	for _, r := range g.store.index.byID {
		require.Nil(g.t, g.store.index.overlapping(r), "region %d", r.Id)
	}
}

// lead makes the peer of region 1 its leader, with the votes of the others.
func (g *rig) lead() {
	g.t.Helper()
	for range 200 {
		if v := g.views[1]; v != nil && v.Ready {
			return
		}
		g.tick()
	}
	g.t.Fatal("nobody leads")
}

// tick lets time pass; the peers on stores 2 and 3 agree to everything that was sent to them since.
func (g *rig) tick() {
	g.t.Helper()
	g.now += 10
	g.run(Tick{})
	g.agree()
}

// agree answers what was sent, as followers would that have everything.
func (g *rig) agree() {
	g.t.Helper()
	for len(g.sent) > 0 {
		sent := g.sent
		g.sent = nil
		var mail []Mail
		for _, env := range sent {
			if res := g.response(env); res != nil {
				mail = append(mail, Step{res})
			}
		}
		g.run(mail...)
	}
}

func (g *rig) response(env *raft_serverpb.RaftMessage) *raft_serverpb.RaftMessage {
	m := env.Message
	if m == nil {
		return nil
	}
	res := &eraftpb.Message{From: m.To, To: m.From, Term: m.Term, Commit: m.Commit}
	switch m.MsgType {
	case eraftpb.MessageType_MsgRequestPreVote:
		res.MsgType = eraftpb.MessageType_MsgRequestPreVoteResponse
	case eraftpb.MessageType_MsgRequestVote:
		res.MsgType = eraftpb.MessageType_MsgRequestVoteResponse
	case eraftpb.MessageType_MsgHeartbeat:
		res.MsgType, res.Context = eraftpb.MessageType_MsgHeartbeatResponse, m.Context
	case eraftpb.MessageType_MsgAppend:
		res.MsgType, res.Index = eraftpb.MessageType_MsgAppendResponse, m.Index+uint64(len(m.Entries))
	default:
		return nil
	}
	return &raft_serverpb.RaftMessage{RegionId: env.RegionId, FromPeer: env.ToPeer, ToPeer: env.FromPeer, RegionEpoch: env.RegionEpoch, Message: res}
}

// put is a write of one key to region 1, made for a version of it.
func (g *rig) put(key string, version uint64, done func(error)) Mail {
	body := command.AppendOp(nil, command.Put, engine.Default, []byte(key), []byte("v"))
	return Propose{&Proposal{RegionID: 1, Done: done, Command: command.Command{
		Kind: command.Write, Epoch: command.Epoch{Version: version, ConfVer: 1}, Body: body,
	}}}
}

func (g *rig) has(key string) bool {
	snap := g.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	v, err := snap.Get(engine.Default, []byte(key))
	require.NoError(g.t, err)
	return v != nil
}

// splitAt is a request to split region 1 at one key; the new region is 20 and has peers 21 to 23.
func splitAt(key string, done func(error)) Mail {
	op := Split{Keys: [][]byte{[]byte(key)}, IDs: []SplitID{{RegionID: 20, PeerIDs: []uint64{21, 22, 23}}}}
	return Admin{&AdminRequest{RegionID: 1, Op: op, Done: done}}
}

// splitEntry is the entry that splitAt makes.
func splitEntry(index, term uint64, key string) eraftpb.Entry {
	body := command.EncodeSplit([]command.SplitPart{{EndKey: []byte(key), RegionID: 20, PeerIDs: []uint64{21, 22, 23}}})
	return eraftpb.Entry{Index: index, Term: term, Data: command.Encode(command.Command{
		Kind: command.Split, Epoch: command.Epoch{Version: 1, ConfVer: 1}, Body: body,
	})}
}
