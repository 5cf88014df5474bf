package machine

import (
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
)

// mesh is three stores' RaftMachines whose messages arrive at once; everything is durable and applied as soon as it is asked for.
type mesh struct {
	machines [3]*RaftMachine
	inboxes  [3][]Mail
	now      Instant
	answered int
}

func newMesh(b *testing.B, regions int) *mesh {
	g := &mesh{now: 1}
	at := Pair{InitIndex, InitTerm}
	for i := range g.machines {
		store := uint64(i + 1)
		var found []Restored
		for id := uint64(1); id <= uint64(regions); id++ {
			r := &metapb.Region{Id: id, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}}
			for s := uint64(1); s <= 3; s++ {
				r.Peers = append(r.Peers, &metapb.Peer{Id: 10*id + s, StoreId: s})
			}
			found = append(found, Restored{Region: r, PeerID: 10*id + store, Apply: ApplyState(at, at), Raft: BirthState(nil)})
		}
		var err error
		g.machines[i], err = NewRaftMachine(testConfig(store), found)
		require.NoError(b, err)
	}
	for range 1000 {
		for i := range g.inboxes {
			g.inboxes[i] = append(g.inboxes[i], Tick{})
		}
		g.settle()
	}
	return g
}

// settle lets mail arrive until there is none.
func (g *mesh) settle() {
	for moved := true; moved; {
		moved = false
		for i, m := range g.machines {
			if mail := g.inboxes[i]; len(mail) > 0 {
				g.inboxes[i] = nil
				g.now++
				round := m.Handle(mail, g.now)
				g.carryOut(i, &round)
				moved = true
			}
		}
	}
}

func (g *mesh) carryOut(i int, round *Round) {
	g.send(round.Send)
	for _, w := range round.Write {
		g.send(w.After)
		g.inboxes[i] = append(g.inboxes[i], Persisted{w.RegionID, w.PeerID, w.Number})
	}
	for _, a := range round.Apply {
		last := a.Entries[len(a.Entries)-1]
		for _, w := range a.Waiting {
			g.answered += len(w.proposals)
		}
		g.inboxes[i] = append(g.inboxes[i], Applied{RegionID: a.RegionID, PeerID: a.PeerID, Results: ApplyResults{Applied: Pair{last.Index, last.Term}}})
	}
}

func (g *mesh) send(msgs []*raft_serverpb.RaftMessage) {
	for _, m := range msgs {
		to := m.ToPeer.StoreId - 1
		g.inboxes[to] = append(g.inboxes[to], Step{m})
	}
}

func (g *mesh) leader(b *testing.B, id uint64) int {
	for i, m := range g.machines {
		if m.peers[id].isLeader() {
			return i
		}
	}
	b.Fatalf("region %d has no leader", id)
	return 0
}

// The CPU and memory that three stores' RaftMachines take for a write, when 170 are made at a time to 1 or 48 regions.
func BenchmarkWrites(b *testing.B) {
	for _, regions := range []int{1, 48} {
		b.Run(fmt.Sprintf("regions=%d", regions), func(b *testing.B) {
			g := newMesh(b, regions)
			const together = 170
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += together {
				for k := range together {
					pr := proposal(0, func(error) {})
					pr.RegionID = 1 + uint64(k*7919+n)%uint64(regions)
					i := g.leader(b, pr.RegionID)
					g.inboxes[i] = append(g.inboxes[i], Propose{pr})
				}
				g.settle()
			}
			b.StopTimer()
			require.GreaterOrEqual(b, g.answered, b.N)
		})
	}
}
