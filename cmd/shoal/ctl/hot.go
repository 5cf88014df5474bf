package ctl

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// hotCommand shows through what much flows.
func hotCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hot",
		Short: "Show through which regions and stores much flows",
		Example: `  shoal ctl hot write
  shoal ctl hot read --limit 5
  shoal ctl hot store`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	cmd.AddCommand(hotRegionsCommand(opts, "read"), hotRegionsCommand(opts, "write"), hotStoreCommand(opts))
	return cmd
}

func hotRegionsCommand(opts *options, what string) *cobra.Command {
	limit := 16
	cmd := &cobra.Command{
		Use:   what,
		Short: fmt.Sprintf("Show the regions with the most %ss, the hottest first", what),
		Long: fmt.Sprintf(`Show the regions with the most %ss, the hottest first: rates are averages that forget slowly, and the degree is for how many reports
in a row a region was hot. With -o json the answer has all replicas, too.`, what),
		Example: "  shoal ctl hot " + what + "\n  shoal ctl hot " + what + " --limit 5 -o json",
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return errors.Errorf("--limit is %d; it must be at least 1", limit)
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				hot, err := api.HotRegions(ctx, what)
				if err != nil {
					return err
				}
				peers := hottest(hot)
				if opts.output == asTable && len(peers) == 0 {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "no region is hot by %ss\n", what)
					return err
				}
				return opts.print(cmd.OutOrStdout(), hot, func(t table.Writer) { hotRows(t, peers[:min(limit, len(peers))]) })
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "`number` of regions to show")
	return cmd
}

// hottest are the leaders through which anything flows.
func hottest(hot pdapi.HotRegions) []pdapi.HotPeer {
	var all []pdapi.HotPeer
	for _, store := range slices.Sorted(maps.Keys(hot.AsLeader)) {
		all = append(all, hot.AsLeader[store].Peers...)
	}
	slices.SortStableFunc(all, func(a, b pdapi.HotPeer) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all
}

func hotRows(t table.Writer, peers []pdapi.HotPeer) {
	head(t, "region>", "leader on store>", "bytes>", "keys>", "queries>", "degree>")
	for _, p := range peers {
		queries := "" // a scheduler may not tell them apart
		if p.Queries > 0 {
			queries = fmt.Sprintf("%.0f/s", p.Queries)
		}
		t.AppendRow(table.Row{p.RegionID, p.StoreID, rate(p.Bytes), fmt.Sprintf("%.0f/s", p.Keys), queries, p.HotDegree})
	}
}

func rate(bytes float64) string { return bytesSize(bytes) + "/s" }

func hotStoreCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "store",
		Short:   "Show how much flows through each store",
		Example: `  shoal ctl hot store`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				flow, err := api.StoreFlow(ctx)
				if err != nil {
					return err
				}
				stores, err := api.Stores(ctx)
				if err != nil {
					return err
				}
				return opts.print(cmd.OutOrStdout(), flow, func(t table.Writer) { storeFlowRows(t, stores, flow) })
			})
		},
	}
}

func storeFlowRows(t table.Writer, stores []pdapi.Store, flow pdapi.StoreFlow) {
	head(t, "store>", "address", "leaders>", "written>", "keys written>", "read>", "keys read>")
	for _, s := range stores {
		id := strconv.FormatUint(s.Store.ID, 10)
		t.AppendRow(table.Row{
			id, s.Store.Address, s.Status.LeaderCount, rate(flow.BytesWritten[id]), fmt.Sprintf("%.0f/s", flow.KeysWritten[id]),
			rate(flow.BytesRead[id]), fmt.Sprintf("%.0f/s", flow.KeysRead[id]),
		})
	}
}
