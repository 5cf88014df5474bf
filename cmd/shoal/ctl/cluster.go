package ctl

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func storeCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "store [ID]",
		Short: "Show the stores, or one of them",
		Example: `  shoal ctl store
  shoal ctl store 1 -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: opts.completeStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				if len(args) == 0 {
					stores, err := api.Stores(ctx)
					if err != nil {
						return err
					}
					return opts.print(cmd.OutOrStdout(), stores, func(t table.Writer) { storeRows(t, stores) })
				}
				store, err := api.Store(ctx, id)
				if err != nil {
					return unknown(err, "store", id)
				}
				return opts.print(cmd.OutOrStdout(), store, func(t table.Writer) { storeRows(t, []pdapi.Store{store}) })
			})
		},
	}
}

func storeRows(t table.Writer, stores []pdapi.Store) {
	t.AppendHeader(table.Row{"id", "state", "address", "status", "leaders", "regions", "used", "available", "capacity", "labels", "last heartbeat"})
	for _, s := range stores {
		var labels []string
		for _, l := range s.Store.Labels {
			labels = append(labels, l.Key+"="+l.Value)
		}
		t.AppendRow(table.Row{
			s.Store.ID, s.Store.StateName, s.Store.Address, s.Store.StatusAddress, s.Status.LeaderCount, s.Status.RegionCount,
			s.Status.UsedSize, s.Status.Available, s.Status.Capacity, strings.Join(labels, ","), ago(s.Status.LastHeartbeat, time.Now()),
		})
	}
}

// ago says how long before now a time of the API was.
func ago(at string, now time.Time) string {
	if at == "" {
		return "never"
	}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return at
	}
	return fmt.Sprintf("%v ago", now.Sub(t).Round(time.Second))
}

func regionCommand(opts *options) *cobra.Command {
	var key string
	var f forms
	cmd := &cobra.Command{
		Use:   "region [ID]",
		Short: "Show the regions, one of them, or the one that holds a key",
		Example: `  shoal ctl region
  shoal ctl region 2 -o json
  shoal ctl region --key hello
  shoal ctl region --key 6100ff --read-as hex --show-as hex`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: opts.completeRegion,
		RunE: func(cmd *cobra.Command, args []string) error {
			byKey := cmd.Flags().Changed("key")
			if byKey && len(args) > 0 {
				return errors.New("both an ID and --key; one of them says which region")
			}
			raw, err := f.parseFlag("key", key)
			if err != nil {
				return err
			}
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				if len(args) == 0 && !byKey {
					regions, err := api.Regions(ctx)
					if err != nil {
						return err
					}
					return opts.print(cmd.OutOrStdout(), regions, func(t table.Writer) { regionRows(t, regions, f.out) })
				}
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
	cmd.AddCommand(splitCommand(opts, &f), mergeCommand(opts))
	return cmd
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
	if err := opts.print(w, shown, func(t table.Writer) { regionRows(t, []pdapi.Region{region}, out) }); err != nil {
		return err
	}
	return opts.print(w, shown, func(t table.Writer) { replicaRows(t, shown.Replicas) })
}

// oneRegion finds a region by its id, or by a key when the id is 0.
func oneRegion(ctx context.Context, api *pdapi.Client, id uint64, key []byte) (pdapi.Region, error) {
	if id != 0 {
		region, err := api.Region(ctx, id)
		return region, unknown(err, "region", id)
	}
	return api.RegionOf(ctx, key)
}

func regionRows(t table.Writer, regions []pdapi.Region, f form.Form) {
	t.AppendHeader(table.Row{"id", "start", "end", "leader", "peers (store)", "pending", "version", "conf version", "MiB", "keys"})
	for _, r := range regions {
		leader := "none"
		if r.Leader != nil {
			leader = fmt.Sprintf("%d (%d)", r.Leader.ID, r.Leader.StoreID)
		}
		t.AppendRow(table.Row{
			r.ID, f.Show(r.StartKey), f.Show(r.EndKey), leader, peers(r.Peers), peers(r.Pending), r.Epoch.Version, r.Epoch.ConfVer, r.Size, r.Keys,
		})
	}
}

func peers(list []pdapi.Peer) string {
	var out []string
	for _, p := range list {
		word := fmt.Sprintf("%d (%d)", p.ID, p.StoreID)
		if p.RoleName != "" && p.RoleName != "Voter" {
			word += " " + p.RoleName
		}
		out = append(out, word)
	}
	return strings.Join(out, ", ")
}

// ask reads the optional id and asks the scheduler.
func (o *options) ask(cmd *cobra.Command, args []string, action func(ctx context.Context, api *pdapi.Client, id uint64) error) error {
	var id uint64
	if len(args) > 0 {
		var err error
		if id, err = strconv.ParseUint(args[0], 10, 64); err != nil || id == 0 {
			return errors.Errorf("%q is not an id; it must be a number above 0", args[0])
		}
	}
	api, err := pdapi.New(o.pd)
	if err != nil {
		return err
	}
	ctx, cancel := o.context(cmd)
	defer cancel()
	return o.explain(ctx, action(ctx, api, id))
}
