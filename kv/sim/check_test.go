package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// trouble is a small nemesis of the tests: now and then a store dies and comes back, stands still, or is cut off, packets are lost and late,
// and clocks run at different rates.
type trouble struct {
	c   *Cluster
	rng *rand.Rand
	// until is when it ends.
	until world.Time
}

func (c *Cluster) startTrouble(until time.Duration) {
	tr := &trouble{c: c, rng: c.w.Rand("trouble"), until: world.Time(until)}
	c.net.Weather = world.Weather{
		Loss: 0.005, Duplicate: 0.02, MinDelay: 100 * time.Microsecond, MaxDelay: 3 * time.Millisecond, Slow: 0.02, SlowDelay: 300 * time.Millisecond,
	}
	if tr.rng.IntN(3) == 0 {
		c.net.Weather.Slow, c.net.Weather.SlowDelay = 0.2, 1500*time.Millisecond
	}
	for _, s := range c.stores {
		s.p.Drift(0.9 + tr.rng.Float64()/5)
	}
	tr.strike()
}

func (tr *trouble) strike() {
	c := tr.c
	if c.w.Now() >= tr.until {
		return
	}
	c.w.After(world.Between(tr.rng, 200*time.Millisecond, 3*time.Second), tr.strike)
	s := c.stores[tr.rng.IntN(len(c.stores))]
	length := world.Between(tr.rng, 100*time.Millisecond, 4*time.Second)
	switch tr.rng.IntN(6) {
	case 0:
		s.kill()
		c.w.After(length, s.start)
	case 1:
		s.p.Suspend()
		c.w.After(length, s.p.Resume)
	case 2: // cut off from the other stores, one way or both
		both := tr.rng.IntN(2) == 0
		for _, o := range c.stores {
			if o != s {
				c.net.Cut(s.p, o.p)
				if both {
					c.net.Cut(o.p, s.p)
				}
			}
		}
		c.w.After(length, func() {
			for _, o := range c.stores {
				c.net.Heal(s.p, o.p)
				c.net.Heal(o.p, s.p)
			}
		})
	case 3: // everybody dies
		if tr.rng.IntN(4) == 0 {
			for _, o := range c.stores {
				o.kill()
				c.w.After(world.Between(tr.rng, 0, length), o.start)
			}
		}
	default:
		tr.administer()
	}
}

// administer asks a leader to hand over, or to remove another peer.
func (tr *trouble) administer() {
	for _, r := range tr.c.regions() {
		if r.leader == nil || r.leader.p.Suspended() {
			continue
		}
		p := r.region.Peers[tr.rng.IntN(len(r.region.Peers))]
		req := &machine.AdminRequest{RegionID: r.id, TransferTo: p}
		if len(r.region.Peers) >= 3 && p.StoreId != r.leader.id && tr.rng.IntN(2) == 0 {
			req.TransferTo, req.Change = nil, &machine.PeerChange{Type: eraftpb.ConfChangeType_RemoveNode, Peer: p}
		}
		r.leader.st.Admin(req)
		r.leader.pump()
	}
}

var sink func(world.Entry)

// troubled is a run with trouble, and its end.
func troubled(seed uint64, length time.Duration) Result {
	cfg := Default(seed)
	cfg.Machine.PreVote = seed%2 == 0
	if seed%3 == 0 {
		cfg.Machine.Raft.MaxSizePerMsg, cfg.Machine.Raft.MaxCommittedPerReady = 1, 1 // one entry at a time
	}
	c := New(cfg, sink)
	c.guard(func() {
		c.Boot()
		c.startTrouble(length)
		c.w.RunUntil(world.Time(length))
		c.heal()
		c.judge()
	})
	return c.finish()
}

func TestTroubleFindsNothing(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		res := troubled(seed, 60*time.Second)
		require.NoError(t, res.Err())
		require.Greater(t, res.Counts.Answered, 1500)
		require.Greater(t, res.Counts.Elections, 1)
		require.Zero(t, res.Counts.Unknown)
		if seed == 1 {
			require.Equal(t, res, troubled(seed, 60*time.Second))
		}
	}
}

func BenchmarkTrouble(b *testing.B) {
	for i := range b.N {
		res := troubled(uint64(i+1), 60*time.Second)
		require.NoError(b, res.Err())
	}
}
