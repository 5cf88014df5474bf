package ctl

import (
	"context"
	"fmt"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// The changes of regions that the scheduler carries out, as operators: it can move peers first where that is needed, and says how each ended. A split goes to
// the store itself, which answers with the parts (region_split.go).

// mergeCommand has the scheduler merge a region into a neighbour, which may have its peers elsewhere.
func mergeCommand(opts *options) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "merge SOURCE TARGET",
		Short: "Make a region vanish in a neighbour",
		Long: "Has the scheduler merge SOURCE into TARGET, which must be its neighbour. Where they have their peers on different stores, those of SOURCE are moved first. " +
			"Both have an operator meanwhile, which `shoal ctl operator show` shows.",
		Example: `  shoal ctl region merge 12 14
  shoal ctl region merge 12 14 --wait`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: opts.complete(regionIDs, regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.addOperator(cmd, "merge-region", args, nil, wait)
		},
	}
	waitFlag(cmd, &wait)
	return cmd
}

func transferLeaderCommand(opts *options) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "transfer-leader ID STORE",
		Short: "Have the peer on a store lead a region",
		Long:  "Has the scheduler make the peer of a region lead it that is on STORE. Balancing may move the lead again later; a rule or a scheduler keeps it where it is.",
		Example: `  shoal ctl region transfer-leader 12 3
  shoal ctl region transfer-leader 12 3 --wait`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: opts.complete(regionIDs, storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.addOperator(cmd, "transfer-leader", args, nil, wait)
		},
	}
	waitFlag(cmd, &wait)
	return cmd
}

func waitFlag(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait until it has ended, at most for --timeout, and fail unless it succeeds")
}

// scatterCommand spreads regions over the stores.
func scatterCommand(opts *options) *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "scatter ID...",
		Short: "Spread regions over the stores, and their leaders",
		Long: `Spread regions over the stores, and their leaders: each peer goes to the store that has the fewest of the same --group. It ends when all are
on their way; "shoal ctl operator show" shows them.`,
		Example: `  shoal ctl region scatter 12
  shoal ctl region scatter 12 14 16 --group orders`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: opts.completeMany(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := idArguments(args)
			if err != nil {
				return err
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				done, err := api.ScatterRegions(ctx, ids, group)
				if err != nil {
					return err
				}
				if done.Percentage < 100 {
					return opts.notScattered(len(ids), done)
				}
				said := fmt.Sprintf("%d regions are scattered, or on their way", len(ids))
				if len(ids) == 1 {
					said = fmt.Sprintf("region %d is scattered, or on its way", ids[0])
				}
				if opts.output == asJSON {
					return opts.print(cmd.OutOrStdout(), done, nil)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&group, "group", "", "regions of the same `name` are kept apart from each other; they share one if none is given")
	return cmd
}

// notScattered says which regions could not be moved, and why.
func (o *options) notScattered(asked int, done pdapi.Scattered) error {
	const most = 5
	var whys []string
	for i, f := range done.Failures {
		if i == most {
			whys = append(whys, fmt.Sprintf("and %d more", len(done.Failures)-most))
			break
		}
		whys = append(whys, f.Why)
	}
	return errors.Errorf("%d of %d regions are scattered, or on their way; %s (%s lists all, %s shows what is being done)",
		asked-len(done.Failures), asked, strings.Join(whys, "; "), o.ctl("region"), o.ctl("operator show"))
}
