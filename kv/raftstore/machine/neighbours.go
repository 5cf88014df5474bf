package machine

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// neighbours are the stores that this one shares regions with, and whether they live. One small message for each pair of stores
// and interval says so for all of their regions, which may then sleep (op_sleep.go). It is a raft message of region 0, from no peer to no peer,
// whose index is the sender's life. Without sleeping regions nobody needs it, and none is sent.
type neighbours struct {
	cfg   Config
	ticks uint64
	// stores are those to write to, in order, and collected how often the regions had changed by then.
	stores    []uint64
	collected uint64
	known     map[uint64]*neighbour
}

// signsOfLife is how often a store says in an election timeout that it lives.
const signsOfLife = 3

type neighbour struct {
	heardAt uint64
	// life is 0 while the store is silent.
	life uint64
}

// WatchStores makes the machine tell the raft machines which stores live, if they want to know. It then needs a Tick in every interval.
func (m *StoreMachine) WatchStores(cfg Config) {
	if cfg.SleepTicks > 0 {
		m.near = &neighbours{cfg: cfg, known: make(map[uint64]*neighbour)}
	}
}

// handleStoreTick says to all neighbours that this store lives, and notices who has not said so for an election timeout.
func (m *StoreMachine) handleStoreTick(round *Round) {
	n := m.near
	if n == nil {
		return
	}
	n.ticks++
	if n.ticks%uint64(max(1, n.cfg.ElectionTicks/signsOfLife)) == 0 {
		if n.collected != m.index.changes {
			n.stores, n.collected = m.index.stores(m.storeID), m.index.changes
		}
		for _, id := range n.stores {
			round.Send = append(round.Send, &raft_serverpb.RaftMessage{
				FromPeer: &metapb.Peer{StoreId: m.storeID}, ToPeer: &metapb.Peer{StoreId: id},
				ExtraMsg: &raft_serverpb.ExtraMessage{Index: n.cfg.life()},
			})
		}
	}
	for _, id := range n.stores {
		if s := n.known[id]; s != nil && s.life != 0 && n.ticks-s.heardAt >= uint64(n.cfg.ElectionTicks) {
			s.life = 0
			round.Mail = append(round.Mail, Addressed{All: true, Mail: StoreSilent{id}})
		}
	}
}

// hearStore takes another store's sign of life.
func (m *StoreMachine) hearStore(round *Round, msg *raft_serverpb.RaftMessage) {
	n, id, life := m.near, msg.FromPeer.GetStoreId(), msg.GetExtraMsg().GetIndex()
	if n == nil || life == 0 || msg.ToPeer.GetStoreId() != m.storeID {
		return
	}
	s := n.known[id]
	if s == nil {
		s = new(neighbour)
		n.known[id] = s
	}
	s.heardAt = n.ticks
	if s.life != life {
		s.life = life
		round.Mail = append(round.Mail, Addressed{All: true, Mail: StoreAlive{id, life}})
	}
}

// stores are the stores other than self on which regions have peers, in order.
func (x *regionIndex) stores(self uint64) []uint64 {
	var ids []uint64
	seen := map[uint64]bool{self: true}
	for _, r := range x.byID { // order-free: sorted below
		for _, p := range r.Peers {
			if !seen[p.StoreId] {
				seen[p.StoreId] = true
				ids = append(ids, p.StoreId)
			}
		}
	}
	slices.Sort(ids)
	return ids
}
