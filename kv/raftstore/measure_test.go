package raftstore_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// fill writes pairs of 100 bytes under the given keys.
func fill(t *testing.T, open *raftstore.Disk, cf engine.CF, keys ...[]byte) {
	batch := open.State.NewBatch()
	for _, k := range keys {
		batch.Put(cf, k, make([]byte, 100-len(k)))
	}
	require.NoError(t, batch.Commit(true))
}

func numbered(from, to int) (list [][]byte) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Appendf(nil, "k%04d", i))
	}
	return list
}

func measure(t *testing.T, open *raftstore.Disk, task machine.MeasureRegion) machine.Measured {
	task.PeerID = 2
	task.RegionID, task.Region.Id, task.Region.RegionEpoch = 1, 1, &metapb.RegionEpoch{Version: 7}
	mail, err := open.RunTask(task, nil)
	require.NoError(t, err)
	found := mail.(machine.Measured)
	require.Equal(t, []uint64{1, 2, 7}, []uint64{found.RegionID, found.PeerID, found.Version})
	last := task.Region.StartKey
	for _, k := range found.Keys {
		require.Positive(t, bytes.Compare(k, last), "ascending, and inside the region")
		last = k
	}
	return found
}

// A region that is too large is divided into parts of the size that is wanted, as many as one split may make; the rest is the next split's. A last
// part that would be small stays with the one before it.
func TestLargeRegionsAreCut(t *testing.T) {
	limits := machine.SplitLimits{MaxSize: 3000, SplitSize: 2000, MaxKeys: 1000, SplitKeys: 900, Batch: 3}
	for _, c := range []struct {
		pairs int
		keys  []string
	}{
		{0, nil},
		{29, nil},
		{30, []string{"k0020"}},
		{45, []string{"k0020"}}, // 5 pairs are no region of their own
		{50, []string{"k0020", "k0040"}},
		{1000, []string{"k0020", "k0040", "k0060"}},
	} {
		open := newDisk().open(t)
		fill(t, open, engine.Default, numbered(0, c.pairs)...)
		found := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Limits: limits, Exact: true})
		var got []string
		for _, k := range found.Keys {
			got = append(got, string(k))
		}
		require.Equal(t, c.keys, got, "%d pairs", c.pairs)
		if c.pairs <= 80 {
			require.Equal(t, uint64(c.pairs*100), found.Size)
			require.Equal(t, uint64(c.pairs), found.Count)
		}
	}
	open := newDisk().open(t)
	fill(t, open, engine.Default, numbered(0, 50)...)
	limits = machine.SplitLimits{MaxSize: 1 << 20, SplitSize: 1 << 19, MaxKeys: 40, SplitKeys: 25, Batch: 3}
	found := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Limits: limits, Exact: true})
	require.Equal(t, [][]byte{[]byte("k0025")}, found.Keys, "too many keys are too much as well")
	within := &metapb.Region{StartKey: []byte("k0005"), EndKey: []byte("k0030")}
	found = measure(t, open, machine.MeasureRegion{Region: within, Limits: limits, Exact: true})
	require.Equal(t, uint64(2500), found.Size, "of this region only")
	require.Empty(t, found.Keys)
}

// The versions of one user key stay together, over all families, however many there are; raw keys are cut as they are.
func TestUserKeysAreNotCut(t *testing.T) {
	version := func(user string, ts byte) []byte {
		return append(keys.EncodeBytes(nil, []byte(user)), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ts)
	}
	encoded := func(user string) []byte { return keys.EncodeBytes(nil, []byte(user)) }
	open := newDisk().open(t)
	var versions [][]byte
	for _, user := range []string{"a", "hot", "z"} {
		n := 1
		if user == "hot" {
			n = 60
		}
		for i := range n {
			versions = append(versions, version(user, byte(i)))
		}
	}
	fill(t, open, engine.Write, versions...)
	fill(t, open, engine.Default, versions...)
	fill(t, open, engine.Lock, encoded("hot"))
	limits := machine.SplitLimits{MaxSize: 1000, SplitSize: 600, MaxKeys: 1000, SplitKeys: 900, Batch: 10}
	found := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Limits: limits, Exact: true})
	require.Equal(t, uint64(125), found.Count)
	require.NotEmpty(t, found.Keys)
	for _, k := range found.Keys {
		require.Contains(t, [][]byte{encoded("a"), encoded("hot"), encoded("z")}, k)
	}
	half := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Limits: limits, Half: true})
	require.Len(t, half.Keys, 1)
	require.Contains(t, [][]byte{encoded("hot"), encoded("z")}, half.Keys[0])
	one := &metapb.Region{StartKey: encoded("hot"), EndKey: encoded("z")}
	for _, half := range []bool{false, true} {
		found = measure(t, open, machine.MeasureRegion{Region: one, Limits: limits, Exact: true, Half: half})
		require.Empty(t, found.Keys, "a user key cannot be divided")
	}
}

// Half a region is found in one pass, whatever its size, within a percent.
func TestMiddle(t *testing.T) {
	for _, n := range []int{2, 3, 10, 1000, 5000} {
		open := newDisk().open(t)
		fill(t, open, engine.Default, numbered(0, n)...)
		found := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Half: true})
		require.Len(t, found.Keys, 1, "%d pairs", n)
		var at int
		_, err := fmt.Sscanf(string(found.Keys[0]), "k%d", &at)
		require.NoError(t, err)
		require.InDelta(t, n/2, at, float64(n/100+1), "of %d pairs", n)
	}
	open := newDisk().open(t)
	fill(t, open, engine.Default, []byte("one"))
	require.Empty(t, measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Half: true}).Keys)
}

// What is far from the limit is estimated, not read.
func TestSmallRegionsAreEstimated(t *testing.T) {
	open := newDisk().open(t)
	fill(t, open, engine.Default, numbered(0, 3000)...)
	limits := machine.SplitLimits{MaxSize: 10 << 20, SplitSize: 5 << 20, MaxKeys: 1 << 20, SplitKeys: 1 << 19, Batch: 3}
	found := measure(t, open, machine.MeasureRegion{Region: &metapb.Region{}, Limits: limits})
	require.InDelta(t, 300_000, float64(found.Size), 30_000)
	require.InDelta(t, 3000, float64(found.Count), 300)
}
