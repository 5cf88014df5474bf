package raft

// source is a splitmix64 generator: a random source that is part of the node's state, so that equal seeds give equal runs.
type source uint64

func newSource(seed, id uint64) source {
	s := source(seed ^ id)
	s.next()
	return s
}

func (s *source) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// below draws from [0, n); n must be positive. The bias for the small n of election timeouts is far below one in 2^50.
func (s *source) below(n int) int {
	return int(s.next() % uint64(n))
}
