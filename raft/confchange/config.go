package confchange

import (
	"fmt"
	"slices"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/quorum"
)

// Set is a set of nodes, kept as package quorum keeps voters: sorted, and never changed in place.
type Set = quorum.MajorityConfig

// Config is who belongs to a group, and how they count. Its parts are shared between Configs and never changed in place.
//
// A learner receives the log and has no voice; nobody is voter and learner at once. A voter that a joint change makes a
// learner stays a voter of the outgoing half and waits in LearnersNext.
type Config struct {
	// Voters are the incoming half and, while the configuration is joint, the outgoing half.
	Voters   quorum.JointConfig
	Learners Set
	// LearnersNext are outgoing voters that become learners when the joint configuration is left.
	LearnersNext Set
	// AutoLeave says that the group leaves the joint configuration by itself.
	AutoLeave bool
}

// Joint tells whether two majorities have to agree.
func (c Config) Joint() bool { return len(c.Voters[1]) > 0 }

// Contains tells whether a node belongs to the group, in whatever part.
func (c Config) Contains(id uint64) bool {
	return c.Voters.Contains(id) || c.Learners.Contains(id)
}

// Members returns all who belong to the group, sorted.
func (c Config) Members() []uint64 {
	if len(c.Learners) == 0 {
		return c.Voters.Voters()
	}
	return quorum.NewMajority(slices.Concat(c.Voters[0], c.Voters[1], c.Learners)...)
}

// Settled is the configuration in which a joint one ends; of any other one, itself.
func (c Config) Settled() Config {
	learners := c.Learners
	for _, id := range c.LearnersNext {
		learners = learners.With(id)
	}
	return Config{Voters: quorum.JointConfig{c.Voters[0]}, Learners: learners}
}

// Restore returns the configuration that a snapshot or the persisted state tells. Every one that State can tell of a group
// is restored as it was; an error says what is wrong with any other.
func Restore(cs *eraftpb.ConfState) (Config, error) {
	c := Config{
		Voters:       quorum.JointConfig{quorum.NewMajority(cs.GetVoters()...), quorum.NewMajority(cs.GetVotersOutgoing()...)},
		Learners:     quorum.NewMajority(cs.GetLearners()...),
		LearnersNext: quorum.NewMajority(cs.GetLearnersNext()...),
		AutoLeave:    cs.GetAutoLeave(),
	}
	return c, errors.Annotatef(c.check(), "confchange: the configuration %s is impossible", cs)
}

// check tells which of the rules of a Config is broken.
func (c Config) check() error {
	for _, id := range c.Members() {
		switch {
		case id == 0:
			return errors.New("0 is no node")
		case c.Learners.Contains(id) && c.Voters.Contains(id):
			return errors.Errorf("node %d is voter and learner", id)
		}
	}
	for _, id := range c.LearnersNext {
		if !c.Voters[1].Contains(id) || c.Voters[0].Contains(id) {
			return errors.Errorf("node %d cannot become a learner: it is no voter on its way out", id)
		}
	}
	switch {
	case len(c.Voters[0]) == 0 && (c.Joint() || len(c.Learners) > 0):
		return errors.New("there is no voter")
	case c.AutoLeave && !c.Joint():
		return errors.New("it is to be left but not joint")
	}
	return nil
}

// State is the inverse of Restore. The result shares nothing with the configuration.
func (c Config) State() *eraftpb.ConfState {
	return &eraftpb.ConfState{
		Voters:         append([]uint64{}, c.Voters[0]...),
		VotersOutgoing: slices.Clone(c.Voters[1]),
		Learners:       slices.Clone(c.Learners),
		LearnersNext:   slices.Clone(c.LearnersNext),
		AutoLeave:      c.AutoLeave,
	}
}

// String writes the parts that are not empty.
func (c Config) String() string {
	s := fmt.Sprintf("voters=%v", []uint64(c.Voters[0]))
	for _, part := range []struct {
		name string
		ids  Set
	}{{"outgoing", c.Voters[1]}, {"learners", c.Learners}, {"learners-next", c.LearnersNext}} {
		if len(part.ids) > 0 {
			s += fmt.Sprintf(" %s=%v", part.name, []uint64(part.ids))
		}
	}
	if c.AutoLeave {
		s += " auto-leave"
	}
	return s
}
