// Package confchange is the arithmetic of membership: who belongs to a group (Config), and where a committed change leads.
//
// A change of one node is simple: any majority before it meets any majority after it. A change of several nodes passes
// through joint consensus: it enters a configuration in which the old majority and the new one must both agree, and a
// second change, which names no node, leaves it. In between no other change is legal. Who leaves is said when entering:
// the group by itself (AutoLeave), or the owner by proposing the leave. Which of these a ConfChangeV2 is follows from its
// shape alone, so that whoever keeps roles of peers elsewhere can tell without asking:
//
//	no changes, transition Auto      leave
//	one change, transition Auto      simple
//	any other                        enter; leaves by itself unless the transition is Explicit
//
// Apply is told of every committed change, also of one that should never have been proposed (proposing only guesses what
// is pending), so an illegal change is an error with no effect and never a panic (R3).
package confchange

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// Why a change is illegal.
var (
	// ErrUnknownType refuses unknown kinds of change.
	ErrUnknownType = errors.New("confchange: the change is neither adding nor removing of a voter or learner")
	// ErrNoNode refuses a change that names no node.
	ErrNoNode = errors.New("confchange: the change names no node")
	// ErrRepeatedNode refuses a change that names a node twice.
	ErrRepeatedNode = errors.New("confchange: the change names a node twice")
	// ErrLastVoter refuses a change that would leave nobody to vote.
	ErrLastVoter = errors.New("confchange: the last voter cannot be removed")
	// ErrJoint refuses any change but the leave of a joint configuration.
	ErrJoint = errors.New("confchange: the configuration is joint and must be left before the next change")
	// ErrNotJoint refuses to leave a configuration that is not joint.
	ErrNotJoint = errors.New("confchange: the configuration is not joint and cannot be left")
)

// FromV1 returns the simple change that a ConfChange means.
func FromV1(cc eraftpb.ConfChange) eraftpb.ConfChangeV2 {
	return eraftpb.ConfChangeV2{
		Changes: []*eraftpb.ConfChangeSingle{{ChangeType: cc.ChangeType, NodeId: cc.NodeId}},
		Context: cc.Context,
	}
}

// Leaves tells whether a change leaves a joint configuration.
func Leaves(cc eraftpb.ConfChangeV2) bool {
	return len(cc.Changes) == 0 && cc.Transition == eraftpb.ConfChangeTransition_Auto
}

// Enters tells whether a change enters a joint configuration, and whether that one is left by the group itself.
func Enters(cc eraftpb.ConfChangeV2) (autoLeave, enters bool) {
	enters = len(cc.Changes) > 1 || cc.Transition != eraftpb.ConfChangeTransition_Auto
	return enters && cc.Transition != eraftpb.ConfChangeTransition_Explicit, enters
}

// Apply returns the configuration after the change. To make a node what it is already changes nothing and is no error. On
// error the configuration returned is the one given.
func Apply(c Config, cc eraftpb.ConfChangeV2) (Config, error) {
	autoLeave, enters := Enters(cc)
	switch {
	case Leaves(cc) && !c.Joint():
		return c, ErrNotJoint
	case Leaves(cc):
		return c.Settled(), nil
	case c.Joint():
		return c, ErrJoint
	}
	after := c
	if enters {
		if len(c.Voters[0]) == 0 {
			return c, ErrLastVoter
		}
		after.Voters[1], after.AutoLeave = c.Voters[0], autoLeave
	}
	if err := after.change(cc.Changes); err != nil {
		return c, err
	}
	return after, nil
}

// change makes the changes, one after the other.
func (c *Config) change(changes []*eraftpb.ConfChangeSingle) error {
	var seen Set
	for _, one := range changes {
		switch {
		case one.GetNodeId() == 0:
			return ErrNoNode
		case seen.Contains(one.NodeId):
			return ErrRepeatedNode
		}
		seen = seen.With(one.NodeId)
		switch one.ChangeType {
		case eraftpb.ConfChangeType_AddNode:
			c.makeVoter(one.NodeId)
		case eraftpb.ConfChangeType_AddLearnerNode:
			c.makeLearner(one.NodeId)
		case eraftpb.ConfChangeType_RemoveNode:
			c.remove(one.NodeId)
		default:
			return ErrUnknownType
		}
	}
	switch {
	case len(seen) == 0:
		return ErrNoNode
	case len(c.Voters[0]) == 0:
		return ErrLastVoter
	}
	return nil
}

func (c *Config) makeVoter(id uint64) {
	c.remove(id)
	c.Voters[0] = c.Voters[0].With(id)
}

// makeLearner adds a learner. A voter that the outgoing half still needs becomes one when the joint configuration is left.
func (c *Config) makeLearner(id uint64) {
	c.remove(id)
	if c.Voters[1].Contains(id) {
		c.LearnersNext = c.LearnersNext.With(id)
	} else {
		c.Learners = c.Learners.With(id)
	}
}

// remove takes a node out of everything but the outgoing half.
func (c *Config) remove(id uint64) {
	c.Voters[0] = c.Voters[0].Without(id)
	c.Learners = c.Learners.Without(id)
	c.LearnersNext = c.LearnersNext.Without(id)
}
