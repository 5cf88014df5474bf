package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/proto/region"
)

// A store's disk is lost for good. The machine comes back with an empty one, as another store: with its old id it would have forgotten what it has
// promised (S19). The schedulers replace the peers that are lost.

func replaceNemeses() []nemesis {
	return []nemesis{{name: "replace", every: 15 * time.Second, draw: drawReplace, do: doReplace}}
}

func drawReplace(d *draft) Step {
	return Step{Who: d.stores(1), For: d.between(20*time.Millisecond, 10*time.Second)}
}

func doReplace(c *Cluster, s Step) (func(), bool) {
	var lost []*store
	for _, st := range c.whoStores(s) {
		if c.expendable(st) {
			st.loseDisk()
			lost = append(lost, st)
		}
	}
	return func() {
		for _, st := range lost {
			st.start()
		}
	}, len(lost) > 0
}

// expendable says that every region outlives the loss of a store: of every configuration that any store knows a majority remains, of two voters at
// least, even if somebody who does not know yet lets the lost store vote; and none is about to change. Who loses more than
// that loses data, and no store can do anything about it.
func (c *Cluster) expendable(victim *store) bool {
	if victim.id == 0 {
		return false // it was lost before, and has not come back
	}
	for _, s := range c.stores {
		if s.id == 0 {
			continue
		}
		for _, r := range s.regionsOnDisk() {
			if alive, ok := c.outlives(r, victim); !ok || alive < 2 || s.changes(r.Id) {
				return false
			}
		}
	}
	return true
}

// outlives says whether a majority of a region's voters is left when a store is lost, and how many those are.
func (c *Cluster) outlives(r *metapb.Region, victim *store) (alive int, ok bool) {
	var voters, dead [2]int // before and after a joint change
	if victim != nil && !voter(region.FindPeerOn(r, victim.id)) {
		voters, dead = [2]int{1, 1}, [2]int{1, 1} // it may be about to vote
	}
	for _, p := range r.Peers {
		s := c.storeWith(p.StoreId)
		for side, without := range [2]metapb.PeerRole{metapb.PeerRole_IncomingVoter, metapb.PeerRole_DemotingVoter} {
			if p.Role == metapb.PeerRole_Learner || p.Role == without {
				continue
			}
			if voters[side]++; s == nil || s == victim {
				dead[side]++
			}
		}
	}
	return min(voters[0]-dead[0], voters[1]-dead[1]), 2*dead[0] < voters[0] && 2*dead[1] < voters[1]
}

func voter(p *metapb.Peer) bool { return p != nil && p.Role != metapb.PeerRole_Learner }

// changes says that a store's log has, or is about to have, a change of a region's members that is not applied there.
func (s *store) changes(regionID uint64) bool {
	if s.changed[regionID] > s.appliedIndex(regionID) {
		return true
	}
	for index := s.appliedIndex(regionID) + 1; ; index++ {
		e := s.disk.logEntry(regionID, index)
		if e == nil {
			return false
		}
		if e.EntryType != eraftpb.EntryType_EntryNormal {
			return true
		}
	}
}

// loseDisk ends the store: its machine remains, without an id.
func (s *store) loseDisk() {
	s.kill()
	s.disks++
	flips := s.disk.flips
	s.disk = newDisk(s.c.w, fmt.Sprintf("%s/%d", s.p.Name, s.disks))
	s.disk.flips = flips
	s.id = 0
}

// enrol makes an empty disk that of a new store, and starts it.
func (s *store) enrol() {
	if s.enrolling || s.c.w.Halted() {
		return
	}
	s.enrolling = true
	g := s.c.sched
	g.allocIDs(g.founder, 1, func(id uint64) {
		s.enrolling = false
		if id == 0 {
			g.founder.After(maxBackoff, s.start)
			return
		}
		ident, err := raftstore.OpenIdent(context.Background(), s.disk.log, s.disk.state, granted{g.registry(), id}, kvrpcpb.APIVersion_V1)
		if err != nil {
			if !ails(err) {
				s.c.must(err)
			}
			s.disk.crash()
			g.founder.After(maxBackoff, s.start)
			return
		}
		s.id = ident.StoreId
		s.start()
	})
}

// granted is a registry whose answer has come.
type granted struct {
	raftstore.Registry
	id uint64
}

// AllocID implements raftstore.Registry.
func (g granted) AllocID(context.Context) (uint64, error) { return g.id, nil }
