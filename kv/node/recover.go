package node

import (
	"context"
	"slices"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/recovery"
)

// recoverer is the store for whoever recovers a cluster (status.Recovery).
type recoverer struct{ n *Node }

// Replicas implements status.Recovery.
func (r recoverer) Replicas() []recovery.Replica {
	all := []recovery.Replica{}
	r.n.store.Views(func(_ uint64, v *machine.RegionView) bool {
		if v.Initialized {
			all = append(all, recovery.Replica{
				Store: r.n.ident.StoreId, Peer: v.PeerID, Region: v.Region, LastTerm: v.Log.LastTerm, LastIndex: v.Log.Last,
				Committed: v.Log.Committed, Applied: v.Log.Applied, Leads: v.IsLeader,
			})
		}
		return true
	})
	slices.SortFunc(all, func(a, b recovery.Replica) int { return int(a.Region.Id) - int(b.Region.Id) })
	return all
}

// Force implements status.Recovery. What the store does not answer in time may yet be done: the same order can be given again.
func (r recoverer) Force(ctx context.Context, orders []recovery.Order) []recovery.Outcome {
	outcomes := make([]recovery.Outcome, 0, len(orders))
	for _, o := range orders {
		answer := make(chan error, 1)
		r.n.store.Force(&machine.ForceRequest{
			RegionID: o.Region, PeerID: o.Peer, Seen: o.Seen, Next: o.Next, Done: func(err error) { answer <- err },
		})
		var err error
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = ctx.Err()
		}
		outcome := recovery.Outcome{Region: o.Region}
		if err != nil {
			outcome.Error = err.Error()
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes
}
