package region

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

func r(start, end string) *metapb.Region {
	return &metapb.Region{StartKey: []byte(start), EndKey: []byte(end)}
}

func TestCheckKeyInRegion(t *testing.T) {
	for _, c := range []struct {
		key, start, end string
		in              bool
	}{
		{"", "", "", true},
		{"", "", "6", true},
		{"", "3", "4", false},
		{"4", "3", "4", false},
		{"4", "3", "5", true},
		{"3", "3", "4", true},
		{"9", "3", "", true},
		{"2", "3", "", false},
	} {
		require.Equal(t, c.in, Contains(r(c.start, c.end), []byte(c.key)), "%q in [%q, %q)", c.key, c.start, c.end)
	}
}

func TestContainsRange(t *testing.T) {
	for _, c := range []struct {
		start, end string
		in         bool
	}{
		{"b", "d", true}, {"c", "c", true}, {"d", "d", true}, {"a", "c", false}, {"c", "e", false}, {"c", "", false}, {"e", "f", false},
	} {
		require.Equal(t, c.in, ContainsRange(r("b", "d"), []byte(c.start), []byte(c.end)), "[%q, %q)", c.start, c.end)
	}
	require.True(t, ContainsRange(r("b", ""), []byte("b"), nil))
	require.False(t, ContainsRange(r("b", ""), nil, nil))
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b *metapb.Region
		yes  bool
	}{
		{r("", ""), r("a", "b"), true},
		{r("a", "b"), r("b", "c"), false},
		{r("a", "c"), r("b", ""), true},
		{r("c", ""), r("", "c"), false},
		{r("a", "d"), r("b", "c"), true},
	} {
		require.Equal(t, c.yes, Overlaps(c.a, c.b))
		require.Equal(t, c.yes, Overlaps(c.b, c.a))
	}
}

func TestEpochStale(t *testing.T) {
	e := func(version, confVer uint64) *metapb.RegionEpoch {
		return &metapb.RegionEpoch{Version: version, ConfVer: confVer}
	}
	require.True(t, IsEpochStale(e(1, 10), e(2, 10)))
	require.True(t, IsEpochStale(e(2, 9), e(2, 10)))
	require.False(t, IsEpochStale(e(2, 10), e(2, 10)))
	require.False(t, IsEpochStale(e(3, 11), e(2, 10)))
	require.True(t, IsEpochStale(nil, e(1, 1)))
}

func TestCloneSharesNothingThatChanges(t *testing.T) {
	a := &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 2}, Peers: []*metapb.Peer{{Id: 3, StoreId: 4}}}
	b := Clone(a)
	b.RegionEpoch.Version++
	b.Peers[0].Id++
	b.Peers = append(b.Peers, &metapb.Peer{})
	require.Equal(t, uint64(2), a.RegionEpoch.Version)
	require.Equal(t, uint64(3), a.Peers[0].Id)
	require.Len(t, a.Peers, 1)
	require.Equal(t, uint64(3), FindPeerOn(a, 4).Id)
	require.Nil(t, FindPeerOn(a, 5))
	require.Nil(t, FindPeer(a, 4))
}
