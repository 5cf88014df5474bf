package loadsplit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/keys"
)

func newRegion(version uint64) *metapb.Region {
	return &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: version}, StartKey: []byte("a"), EndKey: []byte("y")}
}

func point(key string) Sample { return Sample{Start: []byte(key)} }

func TestChoose(t *testing.T) {
	spread := func(from, to int) (list []Sample) {
		for i := from; i < to; i++ {
			list = append(list, point(fmt.Sprintf("k%03d", i)))
		}
		return list
	}
	repeat := func(s Sample, n int) (list []Sample) {
		for range n {
			list = append(list, s)
		}
		return list
	}
	r := newRegion(1)
	require.Equal(t, "k020", string(Choose(r, spread(0, 40))), "as much on the left as on the right")
	require.Nil(t, Choose(r, spread(0, minSamples-1)), "too few say nothing")
	require.Nil(t, Choose(r, repeat(point("hot"), 40)), "one key cannot be divided")
	require.Nil(t, Choose(r, append(repeat(point("hot"), 40), spread(0, 5)...)), "nor does it help to cut off the rest")
	require.Nil(t, Choose(r, repeat(point("a"), 40)), "the region begins there")
	require.Nil(t, Choose(r, spread(0, 0)))
	outside := repeat(point("z"), 20)
	require.Nil(t, Choose(r, append(outside, repeat(point("0"), 20)...)), "keys of another region")

	scans := repeat(Sample{Start: []byte("b"), End: []byte("x")}, 40)
	require.Nil(t, Choose(r, append(scans, spread(0, 20)...)), "what reads everything is not helped")
	two := append(repeat(Sample{Start: []byte("b"), End: []byte("m")}, 20), repeat(Sample{Start: []byte("m"), End: []byte("x")}, 20)...)
	require.Equal(t, "m", string(Choose(r, two)), "between the ranges")

	var versions []Sample
	user := func(i int) []byte { return keys.EncodeBytes(nil, fmt.Appendf(nil, "u%d", i)) }
	for i := range 40 {
		versions = append(versions, Sample{Start: append(user(i/10), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, byte(i))})
	}
	require.Equal(t, user(2), Choose(r, versions), "between users' keys")
}

// Thresholds hold for what the samples stand for; quiet regions are left alone, and so is everybody when the limits are off.
func TestBusyRegionsAreSplit(t *testing.T) {
	for _, c := range []struct {
		requests, size int
		limits         Thresholds
		split          bool
	}{
		{40_000, 10, Thresholds{QPS: 3000}, true},
		{20_000, 10, Thresholds{QPS: 3000}, false},
		{20_000, 100_000, Thresholds{QPS: 3000, Bytes: 30 << 20}, true},
		{200_000, 100_000, Thresholds{}, false},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		rec := NewRecorder(rng.Uint64)
		var at string
		s := NewSplitter(rec, c.limits, func(r *metapb.Region, key []byte) { at = string(key) })
		for range c.requests {
			if rec.Chosen() {
				rec.Add(newRegion(1), point(fmt.Sprintf("k%04d", rng.IntN(1000))), c.size)
			}
		}
		s.EndWindow()
		require.Equal(t, c.split, at != "", "%+v", c)
		if c.split {
			require.Contains(t, []byte("3456"), at[2], "about the middle: %s", at)
		}
		at = ""
		s.EndWindow()
		require.Empty(t, at, "a new window begins empty")
	}
}

// What is kept is bounded, and each request as likely to be kept as the next, the last ones too.
func TestReservoir(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	rec := NewRecorder(rng.Uint64)
	for i := range 10_000 {
		rec.Add(newRegion(1), point(fmt.Sprintf("k%05d", i)), 1)
	}
	loads := rec.Take()
	require.Len(t, loads, 1)
	require.Len(t, loads[0].Samples, maxSamples)
	require.Equal(t, uint64(10_000*sampleEvery), loads[0].Requests)
	late := 0
	for _, s := range loads[0].Samples {
		if string(s.Start) >= "k05000" {
			late++
		}
	}
	require.InDelta(t, maxSamples/2, late, maxSamples/4)

	rec.Add(newRegion(1), point("k"), 1)
	rec.Add(newRegion(2), point("l"), 1)
	require.Equal(t, "l", string(rec.Take()[0].Samples[0].Start), "the region was split meanwhile")
	for id := range uint64(maxRegions + 10) {
		rec.Add(&metapb.Region{Id: id}, point("k"), 1)
	}
	require.Len(t, rec.Take(), maxRegions)
	require.False(t, (*Recorder)(nil).Chosen())
}

func TestRecorderIsSafe(t *testing.T) {
	rec := NewRecorder(rand.Uint64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				if rec.Chosen() {
					rec.Add(newRegion(1), point("k"), 1)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, rec.Take(), 1)
}
