package bench

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

const samples = 1_000_000

// share is what part of draws fell on each number, by a source for each draw as in a run.
func share(keys uint64, draw func(*rand.Rand) uint64) []float64 {
	counts := make([]float64, keys)
	d := newDraws(7)
	for n := range uint64(samples) {
		counts[draw(d.of(n))] += 1.0 / samples
	}
	return counts
}

func sum(part []float64) (s float64) {
	for _, p := range part {
		s += p
	}
	return s
}

// zetaOf adds up 1/i^theta.
func zetaOf(n uint64) (z float64) {
	for i := uint64(1); i <= n; i++ {
		z += math.Pow(1/float64(i), theta)
	}
	return z
}

// TestDrawsAreUniform holds against chance that each operation has a source of its own: first and second draws, in 100 cells each.
func TestDrawsAreUniform(t *testing.T) {
	const cells = 100
	for seed := range uint64(2) {
		d := newDraws(seed)
		var first, second, both [cells]float64
		for n := range uint64(samples) {
			r := d.of(n)
			a, b := r.IntN(cells), r.IntN(cells)
			first[a]++
			second[b]++
			both[(a+b)%cells]++
		}
		for _, counts := range [][cells]float64{first, second, both} {
			chi := 0.0
			for _, c := range counts {
				chi += (c - samples/cells) * (c - samples/cells) / (samples / cells)
			}
			// 99 degrees of freedom: one in a million of honest sources is outside.
			require.Greater(t, chi, 45.0)
			require.Less(t, chi, 180.0)
		}
	}
}

func TestZipfian(t *testing.T) {
	const ranks = 1000
	zeta := zetaOf(ranks)
	got := share(ranks, newZipfian(ranks).draw)
	want := make([]float64, ranks)
	for i := range want {
		want[i] = math.Pow(1/float64(i+1), theta) / zeta
	}
	// The method is exact for the first two ranks, and an approximation beyond.
	for rank := range 2 {
		require.InEpsilon(t, want[rank], got[rank], 0.02, "rank %d", rank)
	}
	for _, first := range []int{5, 10, 50, 100, 500} {
		require.InEpsilon(t, sum(want[:first]), sum(got[:first]), 0.05, "the first %d ranks", first)
	}
	require.Positive(t, got[ranks-1])
	for _, few := range []uint64{1, 2, 3} {
		for _, p := range share(few, newZipfian(few).draw) {
			require.Positive(t, p)
		}
	}
}

func TestAZipfianGrows(t *testing.T) {
	grown := newZipfian(10)
	grown.grow(1000)
	grown.grow(500)
	require.InDelta(t, newZipfian(1000).zeta, grown.zeta, 1e-9)
	require.InDelta(t, newZipfian(1000).eta, grown.eta, 1e-9)
}

// TestScrambledZeta holds the constant against the sum of the first million terms and an integral for the rest.
func TestScrambledZeta(t *testing.T) {
	const n, m = 1_000_000, float64(scrambledRanks)
	f := func(x float64) float64 { return math.Pow(x, -theta) }
	rest := (math.Pow(m, 1-theta) - math.Pow(n, 1-theta)) / (1 - theta)
	require.InDelta(t, scrambledZeta, zetaOf(n)+rest+(f(m)-f(n))/2, 1e-6)
}

// TestScrambledKeysAreSpread finds the popular keys everywhere, and the most popular one as popular as it should be.
func TestScrambledKeysAreSpread(t *testing.T) {
	const keys = 10_000
	got := share(keys, newScrambled(keys).draw)
	require.InEpsilon(t, 1/scrambledZeta, got[hash(0)%keys], 0.05)
	sorted := slices.Sorted(slices.Values(got))
	const popularKeys = keys / 10
	part := zetaOf(popularKeys) / scrambledZeta // theirs as such; of the rest they get as much as any keys
	require.InEpsilon(t, part+(1-part)*popularKeys/keys, sum(sorted[keys-popularKeys:]), 0.05)
	popular := [4]int{}
	for key, p := range got {
		if p >= sorted[keys-400] {
			popular[key*4/keys]++
		}
	}
	for _, n := range popular {
		require.InDelta(t, 100, n, 40, "of the 400 most popular keys, in each quarter: %v", popular)
	}
	require.Positive(t, sorted[keys/100], "and hardly a key has none")
}

func TestLatestPrefersTheNewest(t *testing.T) {
	const before, after = 900, 1000
	there := newInserted(before)
	l := newLatest(*newZipfian(before), there)
	for _, keys := range []uint64{before, after} {
		for there.below() < keys {
			there.end(there.begin())
		}
		got := share(keys, l.draw)
		zeta := zetaOf(keys)
		require.InEpsilon(t, 1/zeta, got[keys-1], 0.02, "the newest")
		require.InEpsilon(t, math.Pow(0.5, theta)/zeta, got[keys-2], 0.02)
		require.Greater(t, sum(got[keys-100:]), 0.6)
	}
}

// TestKeysAreKnownOnceAllBelowAre inserts out of order.
func TestKeysAreKnownOnceAllBelowAre(t *testing.T) {
	i := newInserted(10)
	a, b, c := i.begin(), i.begin(), i.begin()
	require.Equal(t, []uint64{10, 11, 12}, []uint64{a, b, c})
	i.end(c)
	i.end(b)
	require.EqualValues(t, 10, i.below())
	i.end(a)
	require.EqualValues(t, 13, i.below())
	require.Empty(t, i.gaps)
}

func TestHashIsFNV(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 256, 1 << 40, math.MaxUint64} {
		h := fnv.New64a()
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], n)
		_, _ = h.Write(word[:])
		want := h.Sum64()
		if want>>63 != 0 {
			want = -want
		}
		require.Equal(t, want, hash(n))
		require.Less(t, hash(n), uint64(1)<<63)
	}
}
