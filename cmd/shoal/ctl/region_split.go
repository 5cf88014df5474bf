package ctl

import (
	"context"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/rpc"
)

// splitCommand asks the store that leads a region to divide it.
func splitCommand(opts *options, f *forms) *cobra.Command {
	return &cobra.Command{
		Use:   "split ID [KEY...]",
		Short: "Divide a region at keys, or in the middle",
		Long: "Asks the store that leads a region to divide it at raw keys, which must lie in the region, or in the middle of what it holds. " +
			"The region keeps its id and its last part; the answer shows all parts. (`shoal ctl operator add split-region` has the scheduler do it, and does not wait.)",
		Example: `  shoal ctl region split 12
  shoal ctl region split 12 user3000 user6000
  shoal ctl region split 12 7573 --read-as hex`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: opts.complete(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := f.parse(args[1:])
			if err != nil {
				return err
			}
			return opts.ask(cmd, args[:1], func(ctx context.Context, api *pdapi.Client, id uint64) error {
				parts, err := splitRegion(ctx, api, id, keys)
				if err != nil {
					return err
				}
				return opts.print(cmd.OutOrStdout(), parts, func(t table.Writer) { partRows(t, parts, f.out) })
			})
		},
	}
}

// splitAgain is how long a split waits before it asks the scheduler once more where the region is.
const splitAgain = 100 * time.Millisecond

// splitRegion divides a region as it is now. The scheduler may not have heard yet of its last change, or of its leader: such a split was refused, and is tried again.
func splitRegion(ctx context.Context, api *pdapi.Client, id uint64, keys [][]byte) ([]pdapi.Region, error) {
	for {
		store, answer, err := trySplit(ctx, api, id, keys)
		if err != nil {
			return nil, err
		}
		refused := answer.RegionError
		if refused == nil {
			return partsOf(answer), nil
		}
		reason := errors.Errorf("store %d: %s", store, refused.Message)
		if refused.EpochNotMatch == nil && refused.NotLeader == nil {
			return nil, reason
		}
		select {
		case <-time.After(splitAgain):
		case <-ctx.Done():
			return nil, reason
		}
	}
}

// trySplit asks the store that leads the region, as far as the scheduler knows.
func trySplit(ctx context.Context, api *pdapi.Client, id uint64, keys [][]byte) (uint64, *kvrpcpb.SplitRegionResponse, error) {
	r, err := api.Region(ctx, id)
	if err != nil {
		return 0, nil, unknown(err, "region", id)
	}
	if r.Leader == nil || r.Leader.StoreID == 0 {
		return 0, nil, errors.Errorf("region %d has no leader now", id)
	}
	store, err := api.Store(ctx, r.Leader.StoreID)
	if err != nil {
		return 0, nil, err
	}
	conn, err := rpc.Dial(store.Store.Address, rpc.Security{})
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close() // nothing is under way any more
	answer, err := tikvpb.NewTikvClient(conn).SplitRegion(ctx, &kvrpcpb.SplitRegionRequest{
		Context: &kvrpcpb.Context{
			RegionId: id, RegionEpoch: &metapb.RegionEpoch{ConfVer: r.Epoch.ConfVer, Version: r.Epoch.Version},
			Peer: &metapb.Peer{Id: r.Leader.ID, StoreId: r.Leader.StoreID},
		},
		SplitKeys: keys, IsRawKv: true,
	})
	return r.Leader.StoreID, answer, errors.Annotatef(err, "store %d", r.Leader.StoreID)
}

func partsOf(answer *kvrpcpb.SplitRegionResponse) (parts []pdapi.Region) {
	for _, p := range answer.Regions {
		part := pdapi.Region{ID: p.Id, StartKey: p.StartKey, EndKey: p.EndKey}
		part.Epoch.ConfVer, part.Epoch.Version = p.RegionEpoch.ConfVer, p.RegionEpoch.Version
		for _, q := range p.Peers {
			part.Peers = append(part.Peers, pdapi.Peer{ID: q.Id, StoreID: q.StoreId})
		}
		parts = append(parts, part)
	}
	return parts
}

// partRows shows what came of a split. Who leads the parts, and how large they are, is not known yet.
func partRows(t table.Writer, parts []pdapi.Region, f form.Form) {
	head(t, "id>", "start", "end", "on stores")
	for _, r := range parts {
		var stores []uint64
		for _, p := range r.Peers {
			stores = append(stores, p.StoreID)
		}
		t.AppendRow(table.Row{r.ID, showKey(f, r.StartKey, "first"), showKey(f, r.EndKey, "last"), list(stores)})
	}
}
