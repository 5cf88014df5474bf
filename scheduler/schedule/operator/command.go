// Package operator is how a decision of the scheduler becomes a change of the cluster: an Operator is a list of steps for one region; each step says
// what to tell the region's leader, and tells from a heartbeat whether it is done.
//
// The order of an operator's life is: a checker or scheduler works out what the region should look like, Build makes the steps of it; Controller.Add
// takes the operator in, if the region is as it was when the steps were made and no limit is reached; Controller.Judge looks at
// every heartbeat of the region, goes on to the next step, and says what to tell the leader, again and again until it shows; Controller.Tick ends what takes
// too long. Whether a step is done is seen in the region's peers, leader and range alone, so nothing depends on whether an
// order, or word of its success, was lost (PITFALLS P5): a leader who does not know the operator sees the half-changed region in the next heartbeat and decides
// from there.
//
// The package has no clock, chance or I/O. It leans on scheduler/cluster for the picture.
package operator

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
)

// Command is what a region's leader is to be told. It holds for the region as it was reported: with another epoch it is refused.
type Command struct {
	Region uint64
	Epoch  *metapb.RegionEpoch
	Leader *metapb.Peer
	Order  Order
	// First says that this is not a repetition.
	First bool
	// For describes the operator.
	For string
}

// Order is one of the changes that a leader can be told to make.
type Order interface{ isOrder() }

type (
	// ChangePeer adds a peer as a voter or learner, promotes a learner, demotes a voter, or removes a peer.
	ChangePeer struct {
		Type eraftpb.ConfChangeType
		Peer *metapb.Peer
	}
	// ChangePeers makes several such changes at once, by way of a joint configuration; without any it leaves one.
	ChangePeers struct{ Changes []ChangePeer }
	// LeadBy makes another peer lead.
	LeadBy struct{ To *metapb.Peer }
	// SplitRegion splits at keys, or in the middle if there are none.
	SplitRegion struct{ Keys [][]byte }
	// MergeRegion merges the region into a neighbour.
	MergeRegion struct{ Target *metapb.Region }
)

func (ChangePeer) isOrder()  {}
func (ChangePeers) isOrder() {}
func (LeadBy) isOrder()      {}
func (SplitRegion) isOrder() {}
func (MergeRegion) isOrder() {}
