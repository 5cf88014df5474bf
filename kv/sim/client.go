package sim

import (
	stderrors "errors"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// client writes ever larger numbers to a few keys, one operation at a time, and reads them. A key must never show less than what was
// acknowledged, nor something that was never written or that a read has already gone past.
type client struct {
	c    *Cluster
	n    int
	keys [4]history
	// serial numbers the attempts; an answer to an attempt that was given up is ignored.
	serial   int
	waitsFor uint64
}

// history is what one key may hold: the last acknowledged number, or any later attempt, but never less than what was seen.
type history struct{ acked, tried, seen int }

func newClient(c *Cluster) *client { return &client{c: c} }

// next begins the next operation a little later.
func (cl *client) next() {
	cl.serial++
	cl.waitsFor = 0
	cl.c.after(cl.c.between(time.Millisecond, 10*time.Millisecond), cl.operate)
}

func (cl *client) operate() {
	s := cl.c.leader()
	if s == nil {
		cl.next()
		return
	}
	serial := cl.serial
	cl.waitsFor = s.id
	cl.c.after(2*time.Second, func() { // patience ends: the outcome is not known
		if cl.serial == serial {
			cl.next()
		}
	})
	key := cl.c.rng.IntN(len(cl.keys))
	if cl.c.chance(0.5) {
		cl.read(s, key, serial)
	} else {
		cl.write(s, key, serial)
	}
}

func keyName(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }

func (cl *client) write(s *store, key, serial int) {
	cl.n++
	n := cl.n
	cl.keys[key].tried = n
	body := command.AppendOp(nil, command.Put, engine.Default, keyName(key), fmt.Appendf(nil, "%d", n))
	epoch := command.EpochOf(s.views[1].Region.RegionEpoch)
	s.post(machine.Addressed{RegionID: 1, Mail: machine.Propose{Proposal: &machine.Proposal{
		RegionID: 1, Command: command.Command{Kind: command.Write, Epoch: epoch, Body: body},
		Done: func(err error) {
			if err == nil {
				cl.keys[key].acked = max(cl.keys[key].acked, n)
				cl.c.result.Acked++
			} else if stderrors.Is(err, region.ErrUndetermined) {
				cl.c.result.Undetermined++
			} else {
				cl.c.result.Rejected++
			}
			cl.done(serial)
		},
	}}})
}

func (cl *client) read(s *store, key, serial int) {
	floor := cl.keys[key]
	if v := s.views[1]; v.HasLease(cl.c.now) {
		cl.observe(s, key, floor)
		cl.done(serial)
		return
	}
	s.post(machine.Addressed{RegionID: 1, Mail: machine.Read{ReadRequest: &machine.ReadRequest{
		RegionID: 1, Version: s.views[1].Region.RegionEpoch.Version,
		Grant: func(_ machine.ReadGrant, err error) {
			if err == nil && cl.serial == serial {
				cl.observe(s, key, floor)
			}
			cl.done(serial)
		},
	}}})
}

// observe looks at a store's state as a granted read does.
func (cl *client) observe(s *store, key int, floor history) {
	snap := s.state.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Default, keyName(key))
	cl.c.must(err)
	got := 0
	if b != nil {
		_, err := fmt.Sscanf(string(b), "%d", &got)
		cl.c.must(err)
	}
	cl.c.result.Reads++
	if got < floor.acked || got < floor.seen || got > cl.keys[key].tried {
		cl.c.violate("store %d: %s holds %d; acknowledged %d, seen %d, tried %d", s.id, keyName(key), got, floor.acked, floor.seen, cl.keys[key].tried)
	}
	cl.keys[key].seen = max(cl.keys[key].seen, got)
}

func (cl *client) done(serial int) {
	if cl.serial == serial {
		cl.next()
	}
}

func (cl *client) storeDied(id uint64) {
	if cl.waitsFor == id {
		cl.next()
	}
}

// finish demands that, faults over, there is a leader, and every key shows what it must.
func (cl *client) finish() {
	s := cl.c.leader()
	if s == nil {
		cl.c.violate("no leader at the end")
		return
	}
	for key := range cl.keys {
		cl.observe(s, key, cl.keys[key])
	}
	if got := len(s.views[1].Region.Peers); got != len(cl.c.stores) {
		cl.c.violate("the region has %d peers at the end", got)
	}
}

// scheduler adds a missing peer for each heartbeat of a leader, as the real one does.
type scheduler struct {
	c      *Cluster
	nextID uint64
	adding map[uint64]*metapb.Peer
}

func newScheduler(c *Cluster) *scheduler {
	return &scheduler{c: c, nextID: 100, adding: make(map[uint64]*metapb.Peer)}
}

func (sc *scheduler) heartbeat(from *store, hb machine.RegionHeartbeat) {
	if len(hb.Pending) > 0 {
		return
	}
	for _, s := range sc.c.stores {
		if region.FindPeerOn(hb.Region, s.id) != nil {
			continue
		}
		if sc.adding[s.id] == nil {
			sc.nextID++
			sc.adding[s.id] = &metapb.Peer{Id: sc.nextID, StoreId: s.id}
		}
		from.post(machine.Addressed{RegionID: hb.Region.Id, Mail: machine.Admin{AdminRequest: &machine.AdminRequest{
			RegionID: hb.Region.Id, Epoch: hb.Region.RegionEpoch,
			Change: &machine.PeerChange{Type: eraftpb.ConfChangeType_AddNode, Peer: sc.adding[s.id]},
		}}})
		return
	}
}
