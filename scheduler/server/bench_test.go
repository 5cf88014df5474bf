package server_test

import (
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

// One stream, one request at a time: what one client process waits for a batch of timestamps.
func BenchmarkTso(b *testing.B) {
	r := newRig(b)
	stream, err := r.pd.Tso(r.ctx)
	require.NoError(b, err)
	req := &pdpb.TsoRequest{Header: r.header(), Count: 10}
	for b.Loop() {
		require.NoError(b, stream.Send(req))
		_, err := stream.Recv()
		require.NoError(b, err)
	}
	require.NoError(b, stream.CloseSend())
}

// Heartbeats of 10,000 regions in which nothing changes: they must not reach etcd.
func BenchmarkRegionHeartbeat(b *testing.B) {
	const regions = 10_000
	r := newRig(b)
	r.bootstrap()
	beats := r.heartbeats()
	reports := make([]*pdpb.RegionHeartbeatRequest, regions)
	for i := range reports {
		start, end := fmt.Sprintf("k%05d", i), fmt.Sprintf("k%05d", i+1)
		m := regionAt(uint64(i+2), start, end, 2, 1, 1)
		reports[i] = &pdpb.RegionHeartbeatRequest{Header: r.header(), Region: m, Leader: m.Peers[0], Term: 5}
		require.NoError(b, beats.Send(reports[i]))
	}
	r.eventually(regions+1, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	i, version := 0, uint64(2)
	for b.Loop() {
		require.NoError(b, beats.Send(reports[i%regions]))
		i++
	}
	version++
	last := regionAt(2, "k00000", "k00001", version, 1, 1)
	r.report(beats, last)
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetRegion().GetRegionEpoch().GetVersion() == version })
}
