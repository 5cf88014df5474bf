// Package confchange is the arithmetic of membership: which members a committed change leads to.
//
// Changes here are single steps: one voter joins or one leaves, so that any majority before the change meets any majority
// after it. Apply is told of every committed change, also of one that should never have been proposed (proposing only
// guesses what is pending), so an illegal change is an error with no effect and never a panic. Learners and joint
// consensus have their place in Apply and in quorum.JointConfig.
package confchange

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/quorum"
)

var (
	// ErrUnsupported refuses learners and unknown kinds of change.
	ErrUnsupported = errors.New("confchange: only adding and removing of one voter is supported")
	// ErrNoNode refuses a change that names no node.
	ErrNoNode = errors.New("confchange: the change names no node")
	// ErrLastVoter refuses to remove the only voter.
	ErrLastVoter = errors.New("confchange: the last voter cannot be removed")
)

// Apply returns the voters after the change. Adding a voter twice or removing one that is absent changes nothing and is no
// error. On error the voters returned are those given.
func Apply(voters quorum.JointConfig, cc eraftpb.ConfChange) (quorum.JointConfig, error) {
	if cc.NodeId == 0 {
		return voters, ErrNoNode
	}
	switch cc.ChangeType {
	case eraftpb.ConfChangeType_AddNode:
		return quorum.JointConfig{voters[0].With(cc.NodeId)}, nil
	case eraftpb.ConfChangeType_RemoveNode:
		left := voters[0].Without(cc.NodeId)
		if len(left) == 0 {
			return voters, ErrLastVoter
		}
		return quorum.JointConfig{left}, nil
	}
	return voters, ErrUnsupported
}

// Restore returns the voters of a snapshot or of the persisted state.
func Restore(cs *eraftpb.ConfState) quorum.JointConfig {
	return quorum.JointConfig{quorum.NewMajority(cs.GetVoters()...)}
}

// State is the inverse of Restore. The result shares nothing with the argument.
func State(voters quorum.JointConfig) *eraftpb.ConfState {
	return &eraftpb.ConfState{Voters: append([]uint64{}, voters[0]...)}
}
