package sim

import (
	"fmt"
	"strconv"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// The steps of a script that have to do with regions: which one is meant, who its members are, how it divides, and where it goes.

// choose makes the following steps be about the region that holds a key.
func (s *script) choose(w []string) error {
	key := []byte(w[0])
	if w[0] == "-" {
		key = nil
	}
	v, _ := s.c.leadership(key)
	if v == nil {
		return errors.New("nobody leads the region that holds the key")
	}
	s.region = v.Region.Id
	return nil
}

// ask hands an operation on the present region to a store.
func (s *script) ask(st *store, a *try, op machine.AdminOp) error {
	v := st.st.View(s.region)
	if v == nil {
		return errors.New("the store has no peer of the region")
	}
	st.st.Admin(&machine.AdminRequest{RegionID: s.region, Epoch: v.Region.RegionEpoch, Op: op, Done: func(err error) {
		a.over = true
		if err != nil {
			a.err = err.Error()
		}
	}})
	st.pump()
	return nil
}

// change asks a leader for a change of its members.
func (s *script) change(st *store, a *try, words []string) error {
	v := st.st.View(s.region)
	if v == nil {
		return errors.New("the store has no peer of the region")
	}
	var changes []command.PeerChange
	for _, w := range words {
		target, err := s.find(w[1:])
		if err != nil {
			return err
		}
		peer := region.FindPeerOn(v.Region, target.id)
		if w[0] == '+' || w[0] == '^' {
			peer = &metapb.Peer{Id: s.c.sched.foreignID(), StoreId: target.id}
		}
		if peer == nil {
			return errors.Errorf("there is no peer on store %d", target.id)
		}
		kind := eraftpb.ConfChangeType_AddNode
		switch w[0] {
		case '+', '!':
			peer = &metapb.Peer{Id: peer.Id, StoreId: peer.StoreId}
		case '-':
			kind = eraftpb.ConfChangeType_RemoveNode
		case '^', '~':
			kind, peer = eraftpb.ConfChangeType_AddLearnerNode, asLearner(peer)
		default:
			return errors.Errorf("there is no change %s", w)
		}
		changes = append(changes, command.PeerChange{Type: kind, Peer: peer})
	}
	return s.ask(st, a, machine.ChangePeers{Changes: changes})
}

// split asks a leader to divide its region; the new ids are the script's own.
func (s *script) split(st *store, a *try, keys []string) error {
	v := st.st.View(s.region)
	if v == nil {
		return errors.New("the store has no peer of the region")
	}
	op := machine.Split{}
	for _, key := range keys {
		id := machine.SplitID{RegionID: s.c.sched.foreignID()}
		for range v.Region.Peers {
			id.PeerIDs = append(id.PeerIDs, s.c.sched.foreignID())
		}
		op.Keys, op.IDs = append(op.Keys, []byte(key)), append(op.IDs, id)
	}
	return s.ask(st, a, op)
}

// merge asks a leader to give its region to the neighbour that holds a key, as the store has it.
func (s *script) merge(st *store, a *try, key string) error {
	into := st.st.View(contextOf(st, key).RegionId)
	if into == nil {
		return errors.New("the store has no peer of the target")
	}
	return s.ask(st, a, machine.Merge{Target: into.Region})
}

func (s *script) expectPeer(name string, there bool) error {
	st, err := s.find(name)
	if err != nil {
		return err
	}
	v := st.st.View(s.region)
	if has := v != nil && v.Initialized && !v.Gone; has != there {
		return errors.Errorf("store %d has a peer of the region with data: %t", st.id, has)
	}
	return nil
}

// expectNothing wants no peer of any region on a store, not even one without data.
func (s *script) expectNothing(name string) (err error) {
	st, err := s.find(name)
	if err != nil {
		return err
	}
	st.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: any is one too many
		if !v.Gone {
			err = errors.Errorf("store %d has peer %d of region %d", st.id, v.PeerID, id)
		}
		return err == nil
	})
	return err
}

// expectRegions counts the regions that have a leader, or that a store has the data of.
func (s *script) expectRegions(w []string) error {
	n := 0
	if len(w) == 3 {
		st, err := s.find(w[2])
		if err != nil {
			return err
		}
		n = len(st.regionsOnDisk())
	} else {
		for _, r := range s.c.regions() {
			if r.leader != nil {
				n++
			}
		}
	}
	if strconv.Itoa(n) != w[0] {
		return fmt.Errorf("there are %d", n)
	}
	return nil
}
