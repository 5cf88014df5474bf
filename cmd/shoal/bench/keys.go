package bench

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// The distributions of keys of the YCSB paper (Cooper et al., Benchmarking Cloud Serving Systems with YCSB, 2010).

// theta is how skewed they are: the paper's.
const theta = 0.99

// zipfian draws ranks from 0, the rank r with a probability in proportion to 1/(r+1)^theta, by the method of Gray et al. (Quickly
// Generating Billion-Record Synthetic Databases, 1994). The number of ranks may grow.
type zipfian struct {
	ranks             uint64
	zeta, eta, second float64
}

func newZipfian(ranks uint64) *zipfian {
	z := &zipfian{second: 1 + math.Pow(0.5, theta)}
	z.grow(ranks)
	return z
}

// zipfianOf is newZipfian for a zeta that is known already.
func zipfianOf(ranks uint64, zeta float64) *zipfian {
	z := &zipfian{ranks: ranks, zeta: zeta, second: 1 + math.Pow(0.5, theta)}
	z.setEta()
	return z
}

// grow makes it draw from more ranks; only what is new has to be added up.
func (z *zipfian) grow(ranks uint64) {
	if ranks <= z.ranks {
		return
	}
	for i := z.ranks + 1; i <= ranks; i++ {
		z.zeta += math.Pow(1/float64(i), theta)
	}
	z.ranks = ranks
	z.setEta()
}

func (z *zipfian) setEta() {
	z.eta = (1 - math.Pow(2/float64(z.ranks), 1-theta)) / (1 - z.second/z.zeta)
}

func (z *zipfian) draw(r *rand.Rand) uint64 {
	u := r.Float64()
	switch uz := u * z.zeta; {
	case uz < 1:
		return 0
	case uz < z.second:
		return min(1, z.ranks-1)
	}
	rank := uint64(float64(z.ranks) * math.Pow(z.eta*u-z.eta+1, 1/(1-theta)))
	return min(rank, z.ranks-1)
}

// What a scrambled zipfian draws from: so many ranks, with their zeta, that hashing them spreads the popular ones over any
// number of keys. Both as in YCSB.
const (
	scrambledRanks = 10_000_000_000
	scrambledZeta  = 26.46902820178302
)

// scrambled draws keys below a number, few of them much more often than the others; the popular ones lie anywhere.
type scrambled struct {
	ranks *zipfian
	keys  uint64
}

func newScrambled(keys uint64) *scrambled {
	return &scrambled{ranks: zipfianOf(scrambledRanks, scrambledZeta), keys: keys}
}

func (s *scrambled) draw(r *rand.Rand) uint64 { return hash(s.ranks.draw(r)) % s.keys }

// latest draws keys below a number that grows, the last ones most often. It is one client's.
type latest struct {
	ages     *zipfian
	inserted *inserted
}

func newLatest(ages zipfian, inserted *inserted) *latest {
	return &latest{ages: &ages, inserted: inserted}
}

func (l *latest) draw(r *rand.Rand) uint64 {
	keys := l.inserted.below()
	l.ages.grow(keys)
	return keys - 1 - min(l.ages.draw(r), keys-1)
}

// inserted hands out the numbers of keys that are new, and knows below which number all are there.
type inserted struct {
	next atomic.Uint64
	all  atomic.Uint64
	mu   sync.Mutex // guards gaps
	gaps map[uint64]struct{}
}

func newInserted(records uint64) *inserted {
	i := &inserted{gaps: map[uint64]struct{}{}}
	i.next.Store(records)
	i.all.Store(records)
	return i
}

func (i *inserted) begin() uint64 { return i.next.Add(1) - 1 }

// end is called once for each number that was begun, also when the key could not be inserted: others must not wait for it.
func (i *inserted) end(key uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gaps[key] = struct{}{}
	for {
		first := i.all.Load()
		if _, ok := i.gaps[first]; !ok {
			return
		}
		delete(i.gaps, first)
		i.all.Store(first + 1)
	}
}

func (i *inserted) below() uint64 { return i.all.Load() }

// hash is FNV-1a over the eight bytes of a number, lowest first, without its sign: YCSB's.
func hash(n uint64) uint64 {
	h := uint64(0xCBF29CE484222325)
	for range 8 {
		h = (h ^ n&0xFF) * 1099511628211
		n >>= 8
	}
	if h>>63 != 0 {
		h = -h
	}
	return h
}
