// Package quorum is the arithmetic of majorities: what a set of voters has acknowledged, and who has won their votes.
//
// A MajorityConfig is one set of voters. A JointConfig is two of them whose majorities must agree, as during a membership
// change that passes through joint consensus; with an empty second half it behaves like the first alone, which is all that
// single-step changes need. The package knows neither logs nor messages: it asks an Acked for one number per voter, so
// that commit indexes and heartbeat rounds are decided by the same few lines.
package quorum

import (
	"math"
	"slices"
)

// Acked tells the number up to which a voter has acknowledged something; zero for a voter not heard from.
type Acked interface {
	Acked(id uint64) uint64
}

// VoteResult is the state of an election.
type VoteResult uint8

const (
	// VotePending says that the missing votes decide.
	VotePending VoteResult = iota
	// VoteLost says that a majority can no longer be reached.
	VoteLost
	// VoteWon says that a majority has granted its vote.
	VoteWon
)

func (r VoteResult) String() string {
	return [...]string{"pending", "lost", "won"}[r]
}

// MajorityConfig is a set of voters, sorted and without duplicates; nil if there is none. It is never changed in place.
type MajorityConfig []uint64

// NewMajority returns the set of the given ids.
func NewMajority(ids ...uint64) MajorityConfig {
	if len(ids) == 0 {
		return nil
	}
	c := slices.Clone(ids)
	slices.Sort(c)
	return slices.Compact(c)
}

// Contains tells whether id is a voter.
func (c MajorityConfig) Contains(id uint64) bool {
	_, ok := slices.BinarySearch(c, id)
	return ok
}

// With returns the set together with id.
func (c MajorityConfig) With(id uint64) MajorityConfig {
	i, ok := slices.BinarySearch(c, id)
	if ok {
		return c
	}
	return slices.Insert(slices.Clone(c), i, id)
}

// Without returns the set without id.
func (c MajorityConfig) Without(id uint64) MajorityConfig {
	i, ok := slices.BinarySearch(c, id)
	switch {
	case !ok:
		return c
	case len(c) == 1:
		return nil
	}
	return slices.Delete(slices.Clone(c), i, i+1)
}

func (c MajorityConfig) singleton(id uint64) bool {
	return len(c) == 1 && c[0] == id
}

// Committed returns the largest number that a majority has acknowledged. A config without voters never stands in the way
// of another one and answers with the largest number there is.
func (c MajorityConfig) Committed(acked Acked) uint64 {
	if len(c) == 0 {
		return math.MaxUint64
	}
	// Groups are small: keep the numbers on the stack. The slowest member of the fastest majority is the answer.
	var stack [9]uint64
	acks := stack[:0]
	for _, id := range c {
		acks = append(acks, acked.Acked(id))
	}
	slices.Sort(acks)
	return acks[(len(c)-1)/2]
}

// Vote counts the votes given so far; votes of others than the voters do not matter. A config without voters is won.
func (c MajorityConfig) Vote(votes map[uint64]bool) VoteResult {
	if len(c) == 0 {
		return VoteWon
	}
	granted, missing := 0, 0
	for _, id := range c {
		switch granting, voted := votes[id]; {
		case !voted:
			missing++
		case granting:
			granted++
		}
	}
	need := len(c)/2 + 1
	switch {
	case granted >= need:
		return VoteWon
	case granted+missing >= need:
		return VotePending
	}
	return VoteLost
}

// JointConfig is a pair of configs, incoming and outgoing, whose majorities must both agree. Outside of a joint change the
// outgoing one is empty.
type JointConfig [2]MajorityConfig

// Voters returns the members of both halves, sorted and without duplicates.
func (c JointConfig) Voters() []uint64 {
	if len(c[1]) == 0 {
		return c[0]
	}
	return NewMajority(slices.Concat(c[0], c[1])...)
}

// Contains tells whether id is a voter of either half.
func (c JointConfig) Contains(id uint64) bool {
	return c[0].Contains(id) || c[1].Contains(id)
}

// Singleton tells whether id is the only voter there is, be it in both halves.
func (c JointConfig) Singleton(id uint64) bool {
	return c[0].singleton(id) && (len(c[1]) == 0 || c[1].singleton(id))
}

// Committed returns the largest number that both majorities have acknowledged.
func (c JointConfig) Committed(acked Acked) uint64 {
	return min(c[0].Committed(acked), c[1].Committed(acked))
}

// Vote is won once both majorities have granted it and lost once one of them no longer can.
func (c JointConfig) Vote(votes map[uint64]bool) VoteResult {
	a, b := c[0].Vote(votes), c[1].Vote(votes)
	switch {
	case a == VoteLost || b == VoteLost:
		return VoteLost
	case a == VoteWon && b == VoteWon:
		return VoteWon
	}
	return VotePending
}
