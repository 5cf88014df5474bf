package keys

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLayout(t *testing.T) {
	const region, index = 0x0102030405060708, 0x1112131415161718
	for name, c := range map[string]struct {
		key  []byte
		want string
	}{
		"PrepareBootstrap": {PrepareBootstrap(), "0101"},
		"StoreIdent":       {StoreIdent(), "0102"},
		"RaftLog":          {RaftLog(region, index), "01020102030405060708011112131415161718"},
		"RaftState":        {RaftState(region), "0102010203040506070802"},
		"ApplyState":       {ApplyState(region), "0102010203040506070803"},
		"RegionState":      {RegionState(region), "0103010203040506070801"},
		"InstallMarker":    {InstallMarker(region), "0103010203040506070802"},
	} {
		require.Equal(t, c.want, hex.EncodeToString(c.key), name)
	}
	require.Equal(t, RaftState(region), AppendRaftState(nil, region))
}

func TestRangesHoldTheirKeysAndNoOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 2, math.MaxUint64 - 1, math.MaxUint64}))
		a, b := ids.Draw(t, "a"), ids.Draw(t, "b")
		i, lo, hi := ids.Draw(t, "i"), ids.Draw(t, "lo"), ids.Draw(t, "hi")

		raftKeys := [][]byte{RaftLog(b, i), RaftState(b), ApplyState(b)}
		metaKeys := [][]byte{RegionState(b), InstallMarker(b)}
		single := [][]byte{StoreIdent(), PrepareBootstrap()}

		check := func(name string, start, end []byte, in bool, keys ...[]byte) {
			for _, key := range keys {
				got := bytes.Compare(start, key) <= 0 && bytes.Compare(key, end) < 0
				require.Equal(t, in, got, "%s [%X, %X): %X", name, start, end, key)
			}
		}
		start, end := RegionRaftRange(a)
		check("RegionRaftRange", start, end, a == b, raftKeys...)
		check("RegionRaftRange", start, end, false, append(metaKeys, single...)...)
		start, end = AllRaftRange()
		check("AllRaftRange", start, end, true, raftKeys...)
		check("AllRaftRange", start, end, false, append(metaKeys, single...)...)
		start, end = RegionMetaRange(a)
		check("RegionMetaRange", start, end, a == b, metaKeys...)
		check("RegionMetaRange", start, end, false, append(raftKeys, single...)...)
		start, end = AllRegionMetaRange()
		check("AllRegionMetaRange", start, end, true, metaKeys...)
		check("AllRegionMetaRange", start, end, false, append(raftKeys, single...)...)
		start, end = RaftLogAll(a)
		check("RaftLogAll", start, end, a == b, RaftLog(b, i))
		check("RaftLogAll", start, end, false, RaftState(b), ApplyState(b))
		start, end = RaftLogRange(a, lo, hi)
		check("RaftLogRange", start, end, a == b && lo <= i && i < hi, RaftLog(b, i))
		check("RaftLogRange", start, end, false, RaftState(b), ApplyState(b))
	})
}

func TestDecodeKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		region, index := rapid.Uint64().Draw(t, "region"), rapid.Uint64().Draw(t, "index")
		r, i, err := DecodeRaftLog(RaftLog(region, index))
		require.NoError(t, err)
		require.Equal(t, [2]uint64{region, index}, [2]uint64{r, i})
		for _, key := range [][]byte{RaftLog(region, index), RaftState(region), ApplyState(region)} {
			r, err := DecodeRaftRegion(key)
			require.NoError(t, err)
			require.Equal(t, region, r)
		}
		r, err = DecodeRegionState(RegionState(region))
		require.NoError(t, err)
		require.Equal(t, region, r)
		r, kind, err := DecodeRegionMeta(InstallMarker(region))
		require.NoError(t, err)
		require.Equal(t, region, r)
		require.Equal(t, MetaInstallMarker, kind)
	})
}

func TestDecodeKeysRefusesWhatIsNone(t *testing.T) {
	raftLog := func(key []byte) error { _, _, err := DecodeRaftLog(key); return err }
	raft := func(key []byte) error { _, err := DecodeRaftRegion(key); return err }
	meta := func(key []byte) error { _, _, err := DecodeRegionMeta(key); return err }
	state := func(key []byte) error { _, err := DecodeRegionState(key); return err }
	for _, c := range []struct {
		decode func([]byte) error
		key    []byte
		want   string
	}{
		{raftLog, nil, "malformed raft log key : must be at least 11 bytes long"},
		{raftLog, StoreIdent(), "malformed raft log key 0102: must be at least 11 bytes long"},
		{raftLog, RaftState(1), "malformed raft log key 0102000000000000000102: has the suffix 0x02"},
		{raftLog, RaftLog(1, 2)[:18], "malformed raft log key 010200000000000000010100000000000000: must be 19 bytes long"},
		{raftLog, append(RaftLog(1, 2), 0), "malformed raft log key 0102000000000000000101000000000000000200: must be 19 bytes long"},
		{raft, RegionState(1), "malformed raft key 0103000000000000000101: must begin with 0102"},
		{meta, RaftState(1), "malformed region meta key 0102000000000000000102: must begin with 0103"},
		{meta, append(RegionState(1)[:10], 3), "malformed region meta key 0103000000000000000103: has the suffix 0x03"},
		{meta, append(RegionState(1), 0), "malformed region meta key 010300000000000000010100: must be 11 bytes long"},
		{state, InstallMarker(1), "malformed region state key 0103000000000000000102: has the suffix 0x02"},
	} {
		err := c.decode(c.key)
		var malformed *DecodeError
		require.ErrorAs(t, err, &malformed)
		require.Equal(t, c.want, err.Error())
	}
	long := &DecodeError{Want: "raft log key", Got: make([]byte, 1<<20), Reason: "x"}
	require.Less(t, len(long.Error()), 300)
}
