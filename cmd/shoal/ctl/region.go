package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// regionCommand is about the regions; region_list.go has the ways to find some, region_change.go and region_split.go what changes them.
func regionCommand(opts *options) *cobra.Command {
	var key string
	var f forms
	cmd := &cobra.Command{
		Use:   "region [ID]",
		Short: "Show the regions, find those that matter, and change them",
		Long: `Show all regions, one of them, or the one that holds a key, and change them.

The table of all regions names the store of each region's leader first, and what is wrong with the others. One region is
shown with its replicas, as their stores see them.`,
		Example: `  shoal ctl region
  shoal ctl region 2
  shoal ctl region --key hello
  shoal ctl region --key 6100ff --read-as hex --show-as hex
  shoal ctl region top --by write
  shoal ctl region check down-peer`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: opts.complete(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			byKey := cmd.Flags().Changed("key")
			if byKey && len(args) > 0 {
				return errors.New("both an ID and --key; one of them says which region")
			}
			raw, err := f.parseFlag("key", key)
			if err != nil {
				return err
			}
			if len(args) == 0 && !byKey {
				return opts.listRegions(cmd, &f, nil, func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error) { return api.Regions(ctx) })
			}
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				region, err := oneRegion(ctx, api, id, raw)
				if err != nil {
					return err
				}
				return showRegion(ctx, cmd.OutOrStdout(), opts, api, region, f.out)
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&key, "key", "", "the region that holds this `key`")
	cmd.AddCommand(
		regionScanCommand(opts, &f), regionTopCommand(opts, &f), regionCheckCommand(opts, &f), regionSiblingCommand(opts, &f), regionStoreCommand(opts, &f),
		splitCommand(opts, &f), mergeCommand(opts), scatterCommand(opts), transferLeaderCommand(opts),
	)
	return cmd
}

// oneRegion finds a region by its id, or by a key when the id is 0.
func oneRegion(ctx context.Context, api *pdapi.Client, id uint64, key []byte) (pdapi.Region, error) {
	if id != 0 {
		region, err := api.Region(ctx, id)
		return region, unknown(err, "region", id)
	}
	return api.RegionOf(ctx, key)
}

// column is one more column of a table of regions.
type column struct {
	name  string
	value func(r pdapi.Region) string
}

// listRegions shows regions, and one more column if it is given.
func (o *options) listRegions(cmd *cobra.Command, f *forms, more *column, find func(ctx context.Context, api *pdapi.Client) ([]pdapi.Region, error)) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		regions, err := find(ctx, api)
		if err != nil {
			return err
		}
		if o.output == asTable && len(regions) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "none")
			return err
		}
		return o.print(cmd.OutOrStdout(), regions, func(t table.Writer) { regionRows(t, regions, f.out, more) })
	})
}

func regionRows(t table.Writer, regions []pdapi.Region, f form.Form, more *column) {
	names := []string{"id>", "start", "end", "stores", "size>", "keys>"}
	if more != nil {
		names = append(names, more.name)
	}
	head(t, names...)
	for _, r := range regions {
		row := table.Row{r.ID, showKey(f, r.StartKey, "first"), showKey(f, r.EndKey, "last"), rows(places(r), longestPlaces), mebibytes(r.Size), r.Keys}
		if more != nil {
			row = append(row, more.value(r))
		}
		t.AppendRow(row)
	}
}

// showKey shows a region's bound; what it is when there is none.
func showKey(f form.Form, key []byte, none string) string {
	if len(key) == 0 {
		return "(" + none + ")"
	}
	return cut(f.Show(key), longestKey)
}

// places names the stores of a region's peers, the leader's first, and what is special about each.
func places(r pdapi.Region) []string {
	leader, lead := "nobody leads", uint64(0)
	if r.Leader != nil && r.Leader.ID != 0 {
		leader, lead = fmt.Sprintf("%d", r.Leader.StoreID), r.Leader.ID
	}
	all := []string{leader}
	for _, p := range r.Peers {
		if p.ID == lead {
			continue
		}
		word := fmt.Sprint(p.StoreID)
		if note := peerNote(r, p); note != "" {
			word += " (" + note + ")"
		}
		all = append(all, word)
	}
	return all
}

// peerNote is what is special about a peer; empty for a voter that is well.
func peerNote(r pdapi.Region, p pdapi.Peer) string {
	var notes []string
	switch p.RoleName { // short: a peer and its successor stand side by side in a table while they change places
	case "", "Voter":
	case "IncomingVoter":
		notes = append(notes, "joining")
	case "DemotingVoter":
		notes = append(notes, "leaving")
	default:
		notes = append(notes, strings.ToLower(p.RoleName))
	}
	for _, d := range r.Down {
		if d.Peer.ID == p.ID {
			notes = append(notes, "down "+brief(time.Duration(d.Seconds)*time.Second))
		}
	}
	for _, q := range r.Pending {
		if q.ID == p.ID {
			notes = append(notes, "pending")
		}
	}
	return strings.Join(notes, ", ")
}

// showRegion shows a region as the scheduler knows it, and its replicas as their stores do.
func showRegion(ctx context.Context, w io.Writer, opts *options, api *pdapi.Client, region pdapi.Region, out form.Form) error {
	servers, err := findStatusServers(ctx, api)
	if err != nil {
		return err
	}
	shown := struct {
		pdapi.Region
		Replicas []replica `json:"replicas"`
	}{region, servers.replicas(ctx, region)}
	if opts.output != asTable {
		return opts.print(w, shown, nil)
	}
	if err := opts.print(w, shown, func(t table.Writer) { regionFacts(t, region, out) }); err != nil {
		return err
	}
	return opts.print(w, shown, func(t table.Writer) { replicaRows(t, region, shown.Replicas) })
}

func regionFacts(t table.Writer, r pdapi.Region, f form.Form) {
	facts(t,
		"region", r.ID,
		"start", "'"+f.Show(r.StartKey)+"'",
		"end", "'"+f.Show(r.EndKey)+"'",
		"epoch", fmt.Sprintf("version %d, conf version %d", r.Epoch.Version, r.Epoch.ConfVer),
		"stores", list(places(r)),
		"size", mebibytes(r.Size),
		"keys", fmt.Sprintf("about %d", r.Keys),
		"written", fmt.Sprintf("%s, %d keys in the last report", bytesSize(float64(r.WrittenBytes)), r.WrittenKeys),
		"read", fmt.Sprintf("%s, %d keys", bytesSize(float64(r.ReadBytes)), r.ReadKeys),
	)
}
