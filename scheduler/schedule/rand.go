package schedule

import (
	"cmp"
	"maps"
	"slices"
)

// random is a stream of numbers that only its seed decides (splitmix64): where any choice will do, decisions of the same seed are the same.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below draws from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
