package server_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
)

// The answers that clients of this family act on, word for word: testdata/answers.txt holds one call and its answer per
// line, with the cluster's id, the member's id and ports replaced by names.
func TestAnswersWordForWord(t *testing.T) {
	r := newRig(t)
	calls := newScript(r)
	file, err := os.Open("testdata/answers.txt")
	require.NoError(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, want, ok := strings.Cut(lines.Text(), "|")
		if !ok {
			continue
		}
		name = strings.TrimSpace(name)
		require.Contains(t, calls, name)
		require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(r.masked(calls[name]())), name)
	}
	require.NoError(t, lines.Err())
}

var (
	memberID = regexp.MustCompile(`member_id:\d+`)
	loopback = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	longTTL  = regexp.MustCompile(`TTL:\d{10,}`)
	shortTTL = regexp.MustCompile(`TTL:\d+`)
)

func (r *rig) masked(s string) string {
	s = strings.ReplaceAll(s, fmt.Sprint(r.s.ClusterID()+1), "CLUSTER+1")
	s = strings.ReplaceAll(s, fmt.Sprint(r.s.ClusterID()), "CLUSTER")
	s = memberID.ReplaceAllString(s, "member_id:MEMBER")
	s = longTTL.ReplaceAllString(s, "TTL:FOREVER")
	s = shortTTL.ReplaceAllString(s, "TTL:A_WHILE")
	return loopback.ReplaceAllString(s, "URL")
}

// say prints an answer, or the error in its place.
func say[Q, A any](ctx context.Context, call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) string {
	res, err := call(ctx, req)
	if err != nil {
		return "ERR " + err.Error()
	}
	return fmt.Sprint(res)
}

func newScript(r *rig) map[string]func() string {
	s := map[string]func() string{}
	for _, part := range []map[string]func() string{r.clusterScript(), r.storeScript(), r.regionScript(), r.otherScript()} {
		for name, call := range part {
			s[name] = call
		}
	}
	return s
}

func (r *rig) clusterScript() map[string]func() string {
	h, wrong := r.header(), &pdpb.RequestHeader{ClusterId: r.s.ClusterID() + 1}
	pd := r.pd
	return map[string]func() string{
		"GetMembers":       func() string { return say(r.ctx, pd.GetMembers, &pdpb.GetMembersRequest{}) },
		"GetClusterInfo":   func() string { return say(r.ctx, pd.GetClusterInfo, &pdpb.GetClusterInfoRequest{}) },
		"GetClusterConfig": func() string { return say(r.ctx, pd.GetClusterConfig, &pdpb.GetClusterConfigRequest{Header: h}) },
		"IsBootstrapped":   func() string { return say(r.ctx, pd.IsBootstrapped, &pdpb.IsBootstrappedRequest{Header: h}) },
		"AllocID":          func() string { return say(r.ctx, pd.AllocID, &pdpb.AllocIDRequest{Header: h}) },
		"AllocID wrong cluster id": func() string {
			return say(r.ctx, pd.AllocID, &pdpb.AllocIDRequest{Header: wrong})
		},
		"Bootstrap": func() string {
			return say(r.ctx, pd.Bootstrap, &pdpb.BootstrapRequest{Header: h, Store: firstStore(), Region: firstRegion()})
		},
		"AskBatchSplit": func() string {
			return say(r.ctx, pd.AskBatchSplit, &pdpb.AskBatchSplitRequest{Header: h, Region: firstRegion(), SplitCount: 2})
		},
		"AskSplit": func() string {
			return say(r.ctx, pd.AskSplit, &pdpb.AskSplitRequest{Header: h, Region: firstRegion()})
		},
		"AskBatchSplit stale epoch": func() string {
			region := firstRegion()
			region.RegionEpoch = &metapb.RegionEpoch{ConfVer: 1}
			return say(r.ctx, pd.AskBatchSplit, &pdpb.AskBatchSplitRequest{Header: h, Region: region, SplitCount: 1})
		},
	}
}

func (r *rig) storeScript() map[string]func() string {
	h, pd := r.header(), r.pd
	put := func(s *metapb.Store) func() string {
		return func() string { return say(r.ctx, pd.PutStore, &pdpb.PutStoreRequest{Header: h, Store: s}) }
	}
	get := func(id uint64) func() string {
		return func() string { return say(r.ctx, pd.GetStore, &pdpb.GetStoreRequest{Header: h, StoreId: id}) }
	}
	beat := func(id uint64) func() string {
		return func() string {
			return say(r.ctx, pd.StoreHeartbeat, &pdpb.StoreHeartbeatRequest{Header: h, Stats: &pdpb.StoreStats{StoreId: id}})
		}
	}
	return map[string]func() string{
		"PutStore":                     put(firstStore()),
		"PutStore duplicate address":   put(&metapb.Store{Id: 999, Address: "127.0.0.1:20160", Version: "8.5.0"}),
		"PutStore no version":          put(&metapb.Store{Id: 998, Address: "127.0.0.1:20162"}),
		"PutStore old version":         put(&metapb.Store{Id: 998, Address: "127.0.0.1:20162", Version: "1.0.0"}),
		"GetStore":                     get(1),
		"GetStore unknown":             get(12345),
		"GetAllStores":                 func() string { return say(r.ctx, pd.GetAllStores, &pdpb.GetAllStoresRequest{Header: h}) },
		"StoreHeartbeat":               beat(1),
		"StoreHeartbeat unknown store": beat(12345),
	}
}

func (r *rig) regionScript() map[string]func() string {
	h, pd := r.header(), r.pd
	byID := func(id uint64) func() string {
		return func() string {
			return say(r.ctx, pd.GetRegionByID, &pdpb.GetRegionByIDRequest{Header: h, RegionId: id})
		}
	}
	return map[string]func() string{
		"GetRegion": func() string {
			return say(r.ctx, pd.GetRegion, &pdpb.GetRegionRequest{Header: h, RegionKey: []byte("a")})
		},
		"GetPrevRegion of the first": func() string {
			return say(r.ctx, pd.GetPrevRegion, &pdpb.GetRegionRequest{Header: h, RegionKey: []byte("a")})
		},
		"GetRegionByID":         byID(2),
		"GetRegionByID unknown": byID(777),
		"RegionHeartbeat send": func() string {
			r.report(r.heartbeats(), firstRegion())
			require.Eventually(r.t, func() bool { return r.region(2).GetLeader().GetId() == 3 }, soon, poll)
			return "<nil>"
		},
		"ScanRegions": func() string {
			return say(r.ctx, pd.ScanRegions, &pdpb.ScanRegionsRequest{Header: h}) //nolint:staticcheck // clients still call it
		},
		"BatchScanRegions": func() string {
			return say(r.ctx, pd.BatchScanRegions, &pdpb.BatchScanRegionsRequest{Header: h, Ranges: []*pdpb.KeyRange{{}}})
		},
		"QueryRegion": func() string {
			stream, err := r.pd.QueryRegion(r.ctx)
			require.NoError(r.t, err)
			require.NoError(r.t, stream.Send(&pdpb.QueryRegionRequest{
				Header: h, Ids: []uint64{2, 777}, Keys: [][]byte{[]byte("a"), []byte("b")}, PrevKeys: [][]byte{[]byte("a")},
			}))
			res, err := stream.Recv()
			require.NoError(r.t, err)
			require.NoError(r.t, stream.CloseSend())
			_, err = stream.Recv()
			require.Error(r.t, err)
			return fmt.Sprint(res)
		},
	}
}

func (r *rig) otherScript() map[string]func() string {
	h, pd := r.header(), r.pd
	claim := func(id string, ttl int64, at uint64) func() string {
		return func() string {
			return say(r.ctx, pd.UpdateServiceGCSafePoint, &pdpb.UpdateServiceGCSafePointRequest{
				Header: h, ServiceId: []byte(id), TTL: ttl, SafePoint: at,
			})
		}
	}
	raise := func(to uint64) func() string {
		return func() string {
			return say(r.ctx, pd.UpdateGCSafePoint, &pdpb.UpdateGCSafePointRequest{Header: h, SafePoint: to})
		}
	}
	tso := func(h *pdpb.RequestHeader, count uint32) func() string {
		return func() string {
			stream, err := r.pd.Tso(r.ctx)
			require.NoError(r.t, err)
			require.NoError(r.t, stream.Send(&pdpb.TsoRequest{Header: h, Count: count}))
			_, err = stream.Recv()
			require.Error(r.t, err)
			return "ERR " + err.Error()
		}
	}
	return map[string]func() string{
		"GetOperator none": func() string { return say(r.ctx, pd.GetOperator, &pdpb.GetOperatorRequest{Header: h, RegionId: 2}) },
		"ScatterRegion unknown": func() string {
			return say(r.ctx, pd.ScatterRegion, &pdpb.ScatterRegionRequest{Header: h, RegionId: 777})
		},
		"GetGCSafePoint":                    func() string { return say(r.ctx, pd.GetGCSafePoint, &pdpb.GetGCSafePointRequest{Header: h}) },
		"UpdateGCSafePoint 100":             raise(100),
		"UpdateGCSafePoint 50":              raise(50),
		"UpdateServiceGCSafePoint svc3 10":  claim("svc3", 100, 10),
		"UpdateServiceGCSafePoint svc 200":  claim("svc", 100, 200),
		"UpdateServiceGCSafePoint gcw 300":  claim("gc_worker", 1<<63-1, 300),
		"UpdateServiceGCSafePoint svc2 20":  claim("svc2", 100, 20),
		"UpdateServiceGCSafePoint svc2 220": claim("svc2", 100, 220),
		"UpdateServiceGCSafePoint svc del":  claim("svc", 0, 0),
		"UpdateServiceGCSafePoint gcw del":  claim("gc_worker", 0, 0),
		"Tso count 0":                       tso(h, 0),
		"Tso wrong cluster id":              tso(&pdpb.RequestHeader{ClusterId: r.s.ClusterID() + 1}, 1),
		"ReportMinResolvedTS": func() string {
			return say(r.ctx, pd.ReportMinResolvedTS, &pdpb.ReportMinResolvedTsRequest{Header: h, StoreId: 1, MinResolvedTs: 1})
		},
		"IsSnapshotRecovering": func() string {
			return say(r.ctx, pd.IsSnapshotRecovering, &pdpb.IsSnapshotRecoveringRequest{Header: h})
		},
	}
}
