package ctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func regionScanCommand(opts *options, f *forms) *cobra.Command {
	var limit int
	var prefix bool
	cmd := &cobra.Command{
		Use:     "scan [START [END]]",
		Aliases: []string{"range"},
		Short:   "Show the regions of a range, in the order of their keys",
		Example: `  shoal ctl region scan
  shoal ctl region scan user1 user2 --limit 10
  shoal ctl region scan --prefix user`,
		Args: cobra.MaximumNArgs(2), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return errors.Errorf("--limit is %d; it must be at least 1", limit)
			}
			span, err := f.span(args, prefix)
			if err != nil {
				return err
			}
			return opts.listRegions(cmd, f, nil, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) {
				return api.RegionsBetween(ctx, span.start, span.end, limit)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 1024, "`number` of regions to show at most")
	cmd.Flags().BoolVar(&prefix, "prefix", false, "the keys that begin with START")
	return cmd
}

// span reads the bounds of a range, or its prefix.
func (f *forms) span(args []string, prefix bool) (keyRange, error) {
	keys, err := f.parse(args)
	switch {
	case err != nil:
		return keyRange{}, err
	case prefix && len(keys) != 1:
		return keyRange{}, errors.New("--prefix needs START, and nothing else")
	case prefix:
		return prefixRange(keys[0]), nil
	}
	keys = append(keys, nil, nil)
	return keyRange{keys[0], keys[1]}, nil
}

// A way in which regions can be sorted: under the path that the scheduler has for it.
type order struct {
	path   string
	column *column
}

func epochColumn() *column {
	return &column{"epoch", func(r pdapi.Region) string {
		return fmt.Sprintf("version %d, conf %d", r.Epoch.Version, r.Epoch.ConfVer)
	}}
}

// orders are by what regions can be sorted.
func orders() map[string]order {
	return map[string]order{
		"size":    {"size", nil},
		"keys":    {"keys", nil},
		"read":    {"readflow", &column{"read>", func(r pdapi.Region) string { return bytesSize(float64(r.ReadBytes)) }}},
		"write":   {"writeflow", &column{"written>", func(r pdapi.Region) string { return bytesSize(float64(r.WrittenBytes)) }}},
		"confver": {"confver", epochColumn()},
		"version": {"version", epochColumn()},
	}
}

// orderNames are in the order of help texts.
func orderNames() []string { return []string{"size", "keys", "read", "write", "confver", "version"} }

func regionTopCommand(opts *options, f *forms) *cobra.Command {
	by, limit := "size", 16
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show the regions that have most of something",
		Long: `Show the regions that have most of something: size, keys, read or write (bytes in the last report of the leader), confver (changes of
peers) or version (splits and merges).`,
		Example: `  shoal ctl region top
  shoal ctl region top --by write --limit 5
  shoal ctl region top --by confver`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			how, ok := orders()[by]
			if !ok {
				return errors.Errorf("--by is %q; it must be one of %s", by, strings.Join(orderNames(), ", "))
			}
			if limit < 1 {
				return errors.Errorf("--limit is %d; it must be at least 1", limit)
			}
			return opts.listRegions(cmd, f, how.column, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) {
				return api.TopRegions(ctx, how.path, limit)
			})
		},
	}
	cmd.Flags().StringVar(&by, "by", by, "`what` there is most of: size, keys, read, write, confver or version")
	cmd.Flags().IntVar(&limit, "limit", limit, "`number` of regions to show")
	return cmd
}

// checks are the troubles that a region can have, by the names that commands have for them, with the scheduler's.
func checks() map[string]string {
	return map[string]string{
		"miss-peer": "miss-peer", "extra-peer": "extra-peer", "down-peer": "down-peer", "pending-peer": "pending-peer", "learner-peer": "learner-peer",
		"offline-peer": "offline-peer", "empty": "empty-region", "oversized": "oversized-region", "undersized": "undersized-region",
	}
}

func regionCheckCommand(opts *options, f *forms) *cobra.Command {
	meanings := []string{
		"miss-peer\thave fewer peers than the rules ask for", "extra-peer\thave more peers than the rules ask for",
		"down-peer\ttheir leader does not hear of a peer", "pending-peer\ta peer is catching up", "learner-peer\thave a peer that does not vote",
		"offline-peer\thave a peer on a store that is being drained", "empty\thold next to nothing", "oversized\tshould have been split",
		"undersized\tare small enough to be merged",
	}
	var long strings.Builder
	long.WriteString("Show the regions that are in some state, or without STATE how many are in each; none is a good answer:\n")
	for _, m := range meanings {
		name, meaning, _ := strings.Cut(m, "\t")
		fmt.Fprintf(&long, "\n  %-13s %s", name, meaning)
	}
	return &cobra.Command{
		Use:   "check [STATE]",
		Short: "Show the regions that are not as they should be",
		Long:  long.String(),
		Example: `  shoal ctl region check
  shoal ctl region check miss-peer
  shoal ctl region check down-peer
  shoal ctl region check empty -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: opts.complete(words(meanings...)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return opts.countStates(cmd, meanings)
			}
			state, ok := checks()[strings.TrimSuffix(args[0], "-region")]
			if !ok {
				return errors.Errorf("%q is not a state; it must be one of %s", args[0], strings.Join(slices.Sorted(maps.Keys(checks())), ", "))
			}
			return opts.listRegions(cmd, f, nil, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) {
				return api.CheckRegions(ctx, state)
			})
		},
	}
}

// stateCount is how many regions are in a state.
type stateCount struct {
	State   string `json:"state"`
	Regions int    `json:"regions"`
	Meaning string `json:"meaning"`
}

// countStates shows how many regions are in each state.
func (o *options) countStates(cmd *cobra.Command, meanings []string) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		var all []stateCount
		for _, m := range meanings {
			name, meaning, _ := strings.Cut(m, "\t")
			regions, err := api.CheckRegions(ctx, checks()[name])
			if err != nil {
				return err
			}
			all = append(all, stateCount{State: name, Regions: len(regions), Meaning: meaning})
		}
		return o.print(cmd.OutOrStdout(), all, func(t table.Writer) {
			head(t, "state", "regions>", "which")
			for _, s := range all {
				t.AppendRow(table.Row{s.State, s.Regions, s.Meaning})
			}
		})
	})
}

func regionSiblingCommand(opts *options, f *forms) *cobra.Command {
	return &cobra.Command{
		Use:     "sibling ID",
		Short:   "Show the regions before and after one",
		Example: `  shoal ctl region sibling 12`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: opts.complete(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := idArgument(args[0])
			if err != nil {
				return err
			}
			return opts.listRegions(cmd, f, nil, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) {
				regions, err := api.Siblings(ctx, id)
				return regions, unknown(err, "region", id)
			})
		},
	}
}

func regionStoreCommand(opts *options, f *forms) *cobra.Command {
	return &cobra.Command{
		Use:     "store ID",
		Short:   "Show the regions that have a replica on a store",
		Example: `  shoal ctl region store 1`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := idArgument(args[0])
			if err != nil {
				return err
			}
			return opts.listRegions(cmd, f, nil, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) {
				regions, err := api.RegionsOn(ctx, id)
				return regions, unknown(err, "store", id)
			})
		},
	}
}
