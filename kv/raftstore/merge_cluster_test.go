package raftstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/proto/region"
)

// shuffle is a cluster of whole stores without a goroutine, whose workers, messages and crashes come in an order drawn from a seed. It knows what
// every key's value must be at least: values only grow, each key has one write on its way at a time.
type shuffle struct {
	t      *testing.T
	rng    *rand.Rand
	seed   uint64
	now    machine.Instant
	stores []*shuffled
	net    []*raft_serverpb.RaftMessage
	// cut says which stores hear nobody and are heard by nobody.
	cut    map[uint64]bool
	acked  map[string]uint64 // what was acknowledged or read
	sent   map[string]uint64
	busy   map[string]bool
	nextID uint64
	counts map[string]int
}

// shuffled is one store of a shuffle.
type shuffled struct {
	c          *shuffle
	id         uint64
	log, state *memdb.DB
	dir        *snapfile.MemFS
	disk       *raftstore.Disk
	st         *raftstore.Store
	step       *raftstore.Stepper
	up         bool
}

const shuffleTick = 10 * time.Millisecond

func newShuffle(t *testing.T, seed uint64, starts ...string) *shuffle {
	c := &shuffle{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, now: 1, cut: map[uint64]bool{}, acked: map[string]uint64{}, sent: map[string]uint64{},
		busy: map[string]bool{}, nextID: 1000, counts: map[string]int{},
	}
	for id := uint64(1); id <= 3; id++ {
		s := &shuffled{c: c, id: id, log: memdb.New(), state: memdb.New(), dir: snapfile.NewMemFS()}
		c.stores = append(c.stores, s)
		s.openDisk()
		for i, start := range starts {
			r := &metapb.Region{Id: uint64(i + 1), StartKey: []byte(start), RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}}
			if i+1 < len(starts) {
				r.EndKey = []byte(starts[i+1])
			}
			for peer := uint64(1); peer <= 3; peer++ {
				r.Peers = append(r.Peers, &metapb.Peer{Id: r.Id*10 + peer, StoreId: peer})
			}
			require.NoError(t, raftstore.WriteFirstRegion(s.disk, r, false))
		}
		s.start()
	}
	return c
}

func (s *shuffled) openDisk() {
	snaps, err := snapfile.New(s.dir)
	require.NoError(s.c.t, err)
	s.disk = &raftstore.Disk{Log: logstore.New(s.log), State: s.state, Snapshots: snaps}
}

func (s *shuffled) start() {
	s.openDisk()
	var err error
	s.st, err = raftstore.Open(raftstore.Options{
		Machine: machine.Config{
			StoreID: s.id, Seed: s.c.rng.Uint64(), ElectionTicks: 10, HeartbeatTicks: 2, PreVote: true, LeaseDuration: machine.Instant(70 * time.Millisecond),
			LogGC: machine.LogGC{Ticks: 7, Threshold: 2, Count: 6}, RegionHeartbeatTicks: 20,
			Raft: machine.RaftLimits{
				MaxSizePerMsg: 1 << 10, MaxCommittedPerReady: 1 << 10, MaxUncommitted: 1 << 16, MaxInflightBytes: 1 << 16, MaxInflightMsgs: 16,
				MaxCached: 256, MaxEntry: 1 << 10, MaxBatch: 1 << 10,
			},
		},
		RaftWorkers: 2, Limits: raftstore.Limits{MailboxMessages: 1000, ProposalBytes: 1 << 20, Reads: 1000, LogQueueBytes: 1 << 20}, Tick: shuffleTick,
		Stats: func(*pdpb.StoreStats) {}, Disk: s.disk, Transport: s, Scheduler: s, Clock: func() machine.Instant { return s.c.now },
		Logger: zap.NewNop(), Metrics: raftstore.NewMetrics(prometheus.NewRegistry()),
	})
	require.NoError(s.c.t, err, "seed %d store %d", s.c.seed, s.id)
	s.step, s.up = raftstore.NewStepper(s.st), true
}

// crash loses what was not synced, but for a random prefix of it.
func (s *shuffled) crash() {
	s.up = false
	keep := func(n int) int { return s.c.rng.IntN(n + 1) }
	s.log, s.state = s.log.Crash(keep), s.state.Crash(keep)
	s.dir.Crash(keep)
	s.c.busy = map[string]bool{} // whom it has not answered it never will
	s.c.counts["crash"]++
}

// Send implements raftstore.Transport.
func (s *shuffled) Send(msgs []*raft_serverpb.RaftMessage) {
	for _, m := range msgs {
		b, err := m.Marshal()
		require.NoError(s.c.t, err)
		sent := new(raft_serverpb.RaftMessage)
		require.NoError(s.c.t, sent.Unmarshal(b))
		if m.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
			s.sendSnapshot(sent)
			continue
		}
		s.c.net = append(s.c.net, sent)
	}
}

func (s *shuffled) sendSnapshot(m *raft_serverpb.RaftMessage) {
	at := m.Message.Snapshot.Metadata
	key := snapfile.Key{RegionID: m.RegionId, Term: at.Term, Index: at.Index}
	to := s.c.stores[m.ToPeer.StoreId-1]
	file, err := s.disk.Snapshots.OpenToSend(key)
	ok := err == nil && to.up && !s.c.cut[s.id] && !s.c.cut[to.id] && s.c.rng.IntN(5) > 0
	if ok {
		if in, err := to.disk.Snapshots.Receive(key); err == nil {
			_, err = io.Copy(in, file)
			require.NoError(s.c.t, err)
			_, err = in.Commit()
			require.NoError(s.c.t, err)
		} // else it is there already, from a message that was lost
		s.c.net = append(s.c.net, m)
		s.c.counts["snapshot"]++
		_ = file.Close()
	}
	s.st.SnapshotSent(m.RegionId, m.ToPeer.Id, ok)
}

// StoreHeartbeat, RegionHeartbeat, AskBatchSplit and ReportBatchSplit implement raftstore.Scheduler.
func (s *shuffled) StoreHeartbeat(context.Context, *pdpb.StoreStats) error { return nil }
func (s *shuffled) RegionHeartbeat(*pdpb.RegionHeartbeatRequest)           {}
func (s *shuffled) ReportBatchSplit([]*metapb.Region)                      {}
func (s *shuffled) AskBatchSplit(r *metapb.Region, count int, answer func([]*pdpb.SplitID, error)) {
	var ids []*pdpb.SplitID
	for range count {
		s.c.nextID += 10
		id := &pdpb.SplitID{NewRegionId: s.c.nextID}
		for i := range r.Peers {
			id.NewPeerIds = append(id.NewPeerIds, s.c.nextID+uint64(i)+1)
		}
		ids = append(ids, id)
	}
	answer(ids, nil)
}

// round lets one tick interval pass: every store may tick once, and what waits is done in a random order, most of it.
func (c *shuffle) round(trouble bool) {
	c.now += machine.Instant(shuffleTick)
	for _, s := range c.stores {
		if s.up && (!trouble || c.rng.IntN(8) > 0) {
			require.NoError(c.t, s.step.Tick())
		}
	}
	budget := 400
	if trouble {
		budget = c.rng.IntN(120)
	}
	for ; budget > 0; budget-- {
		if !c.stepOne(trouble) {
			return
		}
	}
}

// stepOne lets one random worker step, or delivers one random message; false when there is nothing to do.
func (c *shuffle) stepOne(trouble bool) bool {
	type choice struct {
		s *shuffled
		i int
	}
	var choices []choice
	for _, s := range c.stores {
		for i := range s.step.Workers() {
			if s.up && s.step.Waits(i) {
				choices = append(choices, choice{s, i})
			}
		}
	}
	if n := len(choices) + min(len(c.net), 6); n == 0 {
		return false
	} else if k := c.rng.IntN(n); k < len(choices) {
		require.NoError(c.t, choices[k].s.step.Step(choices[k].i), "seed %d", c.seed)
		return true
	}
	c.deliver(c.rng.IntN(min(len(c.net), 6)), trouble)
	return true
}

func (c *shuffle) deliver(i int, trouble bool) {
	m := c.net[i]
	c.net = append(c.net[:i], c.net[i+1:]...)
	to := c.stores[m.ToPeer.StoreId-1]
	if !to.up || c.cut[to.id] || c.cut[m.FromPeer.StoreId] || trouble && c.rng.IntN(50) == 0 {
		return
	}
	if trouble && c.rng.IntN(50) == 0 {
		c.net = append(c.net, m) // once more, later
	}
	to.st.Deliver([]*raft_serverpb.RaftMessage{m})
}

// leaders returns the views of all who think that they lead a region, in order of store and region.
func (c *shuffle) leaders() (found []*machine.RegionView, at []*shuffled) {
	for _, s := range c.stores {
		if !s.up {
			continue
		}
		var views []*machine.RegionView
		s.st.Views(func(_ uint64, v *machine.RegionView) bool {
			if v.IsLeader {
				views = append(views, v)
			}
			return true
		})
		slices.SortFunc(views, func(a, b *machine.RegionView) int { return int(a.Region.Id) - int(b.Region.Id) })
		for _, v := range views {
			found, at = append(found, v), append(at, s)
		}
	}
	return found, at
}

// act does something that a client or the scheduler would do.
func (c *shuffle) act() {
	views, at := c.leaders()
	if len(views) == 0 {
		return
	}
	k := c.rng.IntN(len(views))
	v, s := views[k], at[k]
	admin := func(name string, op machine.AdminOp) {
		s.st.Admin(&machine.AdminRequest{RegionID: v.Region.Id, Op: op, Done: func(err error) {
			if err == nil {
				c.counts[name]++
			}
		}})
	}
	switch n := c.rng.IntN(100); {
	case n < 50:
		c.write(v, s)
	case n < 85:
		c.read(v, s)
	case n < 92:
		admin("transfer", machine.TransferLeader{To: v.Region.Peers[c.rng.IntN(len(v.Region.Peers))]})
	case n < 93 && len(views) < 9:
		admin("split", machine.Split{Keys: [][]byte{[]byte(c.key(v.Region))}})
	default:
		o := views[c.rng.IntN(len(views))]
		admin("prepared", machine.Merge{Target: &metapb.Region{Id: o.Region.Id}})
	}
}

// key draws a key, most often one of the region's.
func (c *shuffle) key(r *metapb.Region) string {
	for range 10 {
		if k := fmt.Sprintf("%c%d", 'a'+c.rng.IntN(8), c.rng.IntN(3)); region.Contains(r, []byte(k)) {
			return k
		}
	}
	return "a0"
}

func (c *shuffle) write(v *machine.RegionView, s *shuffled) {
	key := c.key(v.Region)
	if c.busy[key] {
		return
	}
	c.sent[key]++
	n := c.sent[key]
	body := command.AppendOp(nil, command.Put, engine.Default, []byte(key), binary.BigEndian.AppendUint64(nil, n))
	c.busy[key] = true
	s.st.Propose(&machine.Proposal{
		RegionID: v.Region.Id, Command: command.Command{Kind: command.Write, Epoch: command.EpochOf(v.Region.RegionEpoch), Body: body},
		Done: func(err error) {
			if c.busy[key] = false; err == nil {
				c.counts["write"]++
				c.acked[key] = max(c.acked[key], n)
			}
		},
	})
}

// read reads as kv/storage does: under the lease, or after asking.
func (c *shuffle) read(v *machine.RegionView, s *shuffled) {
	key := c.key(v.Region)
	least := c.acked[key]
	look := func(how string) {
		got := s.value(key)
		require.GreaterOrEqual(c.t, got, least, "seed %d: %s read of %s at store %d, region %v", c.seed, how, key, s.id, v.Region)
		c.acked[key] = max(c.acked[key], got)
		c.counts["read"]++
	}
	if !region.Contains(v.Region, []byte(key)) {
		return
	}
	if v.HasLease(c.now) {
		look("lease")
		return
	}
	s.st.Read(&machine.ReadRequest{RegionID: v.Region.Id, Version: v.Region.RegionEpoch.Version, Grant: func(g machine.ReadGrant, err error) {
		now := s.st.View(v.Region.Id)
		if err == nil && now != nil && !now.Gone && now.CheckVersion(g.Region.RegionEpoch.Version) == nil {
			look("asked")
		}
	}})
}

func (s *shuffled) value(key string) uint64 {
	snap := s.state.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Default, []byte(key))
	require.NoError(s.c.t, err)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// regions are the regions that a store's disk holds, in the order of keys.
func (s *shuffled) regions() (found []*raft_serverpb.RegionLocalState) {
	snap := s.state.NewSnapshot()
	defer func() { _ = snap.Close() }()
	lower, upper := keys.AllRegionMetaRange()
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: lower, Upper: upper})
	require.NoError(s.c.t, err)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		_, kind, err := keys.DecodeRegionMeta(it.Key())
		require.NoError(s.c.t, err)
		state := new(raft_serverpb.RegionLocalState)
		if kind == keys.MetaRegionState && state.Unmarshal(it.Value()) == nil && state.State != raft_serverpb.PeerState_Tombstone {
			found = append(found, state)
		}
	}
	require.NoError(s.c.t, it.Close())
	slices.SortFunc(found, func(a, b *raft_serverpb.RegionLocalState) int {
		return bytes.Compare(a.Region.StartKey, b.Region.StartKey)
	})
	return found
}

// checkDisjoint holds at every moment (S3, S4).
func (c *shuffle) checkDisjoint() {
	for _, s := range c.stores {
		found := s.regions()
		for i := 1; i < len(found); i++ {
			require.False(c.t, region.Overlaps(found[i-1].Region, found[i].Region), "seed %d store %d: %v and %v", c.seed, s.id, found[i-1], found[i])
		}
	}
}

// settled says that every store has the same regions, that they cover everything, and that none is frozen.
func (c *shuffle) settled() bool {
	first := c.stores[0].regions()
	for _, s := range c.stores {
		found := s.regions()
		if len(found) != len(first) || len(found[0].Region.StartKey) > 0 || len(found[len(found)-1].Region.EndKey) > 0 {
			return false
		}
		for i, f := range found {
			if f.State != raft_serverpb.PeerState_Normal || f.Region.String() != first[i].Region.String() {
				return false
			}
			if i > 0 && !bytes.Equal(found[i-1].Region.EndKey, f.Region.StartKey) {
				return false
			}
		}
	}
	return true
}

// trouble runs for some rounds with everything that can go wrong.
func (c *shuffle) trouble(rounds int) {
	for range rounds {
		switch n := c.rng.IntN(100); {
		case n < 2:
			if s := c.stores[c.rng.IntN(3)]; s.up {
				s.crash()
			}
		case n < 10:
			if s := c.stores[c.rng.IntN(3)]; !s.up {
				s.start()
			}
		case n < 13:
			id := uint64(1 + c.rng.IntN(3))
			c.cut[id] = !c.cut[id]
		}
		for range c.rng.IntN(4) {
			c.act()
		}
		c.round(true)
		c.checkDisjoint()
	}
}

// heal ends all trouble and waits until the cluster is whole.
func (c *shuffle) heal() {
	c.cut = map[uint64]bool{}
	for _, s := range c.stores {
		if !s.up {
			s.start()
		}
	}
	for range 1500 {
		c.round(false)
		if c.settled() {
			break
		}
	}
	c.checkDisjoint()
	if !c.settled() {
		c.describe()
		require.Fail(c.t, "the cluster does not come to rest", "seed %d", c.seed)
	}
	for key, least := range c.acked {
		for i := 0; i < 1500 && !(c.agree(key) && c.stores[0].value(key) >= least); i++ {
			c.round(false)
		}
		if !c.agree(key) {
			c.describe()
		}
		require.True(c.t, c.agree(key), "seed %d: the replicas of %s differ", c.seed, key)
		require.GreaterOrEqual(c.t, c.stores[0].value(key), least, "seed %d: %s was lost", c.seed, key)
	}
}

// describe shows what every store has, for a test that failed.
func (c *shuffle) describe() {
	for _, s := range c.stores {
		for _, r := range s.regions() {
			c.t.Logf("store %d: %v view %+v", s.id, r, s.st.View(r.Region.Id))
		}
	}
}

// agree says that every store has the same value of a key.
func (c *shuffle) agree(key string) bool {
	got := c.stores[0].value(key)
	return c.stores[1].value(key) == got && c.stores[2].value(key) == got
}

// S3, S14, S16, S17: whatever order things happen in, no write is lost, no read is stale, no two regions of a store share a key, and in the end every
// merge has happened or has been called off, everywhere.
func TestMergesInAnyOrder(t *testing.T) {
	counts := map[string]int{}
	for seed := range uint64(60) {
		c := newShuffle(t, seed, "", "c", "d", "f", "g")
		for range 3 {
			c.trouble(60)
			c.heal()
		}
		for name, n := range c.counts {
			counts[name] += n
		}
		counts["merged"] += 5 + c.counts["split"] - len(c.stores[0].regions())
	}
	t.Log(counts)
	require.Greater(t, counts["merged"], 30)
	require.Greater(t, counts["prepared"], counts["merged"], "some merges were called off")
}
