package ctl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// storeCommand is about the stores; store_change.go has what changes them.
func storeCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store [ID]",
		Short: "Show the stores, drain them, and say where they stand",
		Long: `Show the stores, or one of them, and change what the scheduler does with them.

A store is Up, Disconnected (silent for 20 s), Down (silent for max-store-down-time: what it held is made anew
elsewhere), Offline (being drained, after "delete") or a Tombstone (drained: its process can be stopped).`,
		Example: `  shoal ctl store
  shoal ctl store 1
  shoal ctl store delete 4
  shoal ctl store label 1 zone=z1 host=h1`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return opts.listStores(cmd, false)
			}
			return opts.showStore(cmd, args)
		},
	}
	cmd.AddCommand(
		storeListCommand(opts), storeShowCommand(opts), storeDeleteCommand(opts), storeCancelCommand(opts), storeForgetCommand(opts),
		storeLabelCommand(opts), storeWeightCommand(opts), storeLimitCommand(opts),
	)
	return cmd
}

func storeListCommand(opts *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the stores",
		Example: `  shoal ctl store list
  shoal ctl store list --all -o json`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return opts.listStores(cmd, all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "show those that were removed, too")
	return cmd
}

func storeShowCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show all that is known of one store",
		Example: `  shoal ctl store show 1`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: opts.complete(storeIDs),
		RunE: opts.showStore,
	}
}

func (o *options) listStores(cmd *cobra.Command, all bool) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		list := api.Stores
		if all {
			list = api.AllStores
		}
		stores, err := list(ctx)
		if err != nil {
			return err
		}
		return o.print(cmd.OutOrStdout(), stores, func(t table.Writer) { storeRows(t, stores, time.Now()) })
	})
}

func storeRows(t table.Writer, stores []pdapi.Store, now time.Time) {
	head(t, "id>", "state", "address", "leaders>", "regions>", "size>", "free", "labels")
	for _, s := range stores {
		state := s.Store.StateName
		if state == pdapi.Up {
			state += " " + uptimeOf(s)
		} else if state != pdapi.Tombstone {
			state += "\nheard " + ago(s.Status.LastHeartbeat, now)
		}
		t.AppendRow(table.Row{
			s.Store.ID, state, s.Store.Address, s.Status.LeaderCount, s.Status.RegionCount, mebibytes(s.Status.RegionSize),
			freeOf(s), strings.Join(labelsOf(s), "\n"),
		})
	}
}

func labelsOf(s pdapi.Store) []string {
	var labels []string
	for _, l := range s.Store.Labels {
		labels = append(labels, l.Key+"="+l.Value)
	}
	return labels
}

func uptimeOf(s pdapi.Store) string {
	d, err := time.ParseDuration(s.Status.Uptime)
	if err != nil {
		return s.Status.Uptime
	}
	return brief(d)
}

func freeOf(s pdapi.Store) string {
	if s.Status.LastHeartbeat == "" || s.Store.StateName == pdapi.Tombstone {
		return "" // it does not say
	}
	available, unit, _ := strings.Cut(sizeOf(s.Status.Available), " ")
	capacity := sizeOf(s.Status.Capacity)
	if !strings.HasSuffix(capacity, " "+unit) {
		available += " " + unit
	}
	return available + " of " + capacity
}

func (o *options) showStore(cmd *cobra.Command, args []string) error {
	return o.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
		s, err := api.Store(ctx, id)
		if err != nil {
			return unknown(err, "store", id)
		}
		if o.output == asJSON {
			return o.print(cmd.OutOrStdout(), s, nil)
		}
		limits, err := api.StoreLimits(ctx)
		if err != nil {
			return err
		}
		return o.print(cmd.OutOrStdout(), s, func(t table.Writer) { storeFacts(t, s, limits[args[0]], time.Now()) })
	})
}

func storeFacts(t table.Writer, s pdapi.Store, limits map[string]float64, now time.Time) {
	slow := ""
	if s.Status.SlowScore > 1 {
		slow = fmt.Sprintf("%d (1 is well, 100 very slow)", s.Status.SlowScore)
	}
	facts(t,
		"id", s.Store.ID,
		"state", s.Store.StateName,
		"address", s.Store.Address,
		"status page", s.Store.StatusAddress,
		"version", s.Store.Version,
		"labels", strings.Join(labelsOf(s), "\n"),
		"leaders", fmt.Sprintf("%d (%s)", s.Status.LeaderCount, mebibytes(s.Status.LeaderSize)),
		"regions", fmt.Sprintf("%d (%s)", s.Status.RegionCount, mebibytes(s.Status.RegionSize)),
		"weight", fmt.Sprintf("leaders %g, data %g", s.Status.LeaderWeight, s.Status.RegionWeight),
		"limit", limitWords(limits),
		"used", sizeOf(s.Status.UsedSize),
		"free", freeOf(s),
		"slow score", slow,
		"uptime", uptimeOf(s),
		"last heartbeat", ago(s.Status.LastHeartbeat, now),
	)
}

func limitWords(limits map[string]float64) string {
	if limits == nil {
		return ""
	}
	return fmt.Sprintf("%g peers a minute may come, %g may go", limits[addPeerLimit], limits[removePeerLimit])
}

// changeStore has the scheduler change one store, and says so.
func (o *options) changeStore(cmd *cobra.Command, args []string, change func(ctx context.Context, api *pdapi.Client, id uint64) (said, ours string, err error)) error {
	return o.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
		said, ours, err := change(ctx, api, id)
		if err != nil {
			return unknown(err, "store", id)
		}
		return o.say(cmd, said, "%s", ours)
	})
}

// pairs reads words such as zone=z1.
func pairs(words []string) (map[string]string, error) {
	all := make(map[string]string)
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found || key == "" {
			return nil, errors.Errorf("%q is not a label; it must be KEY=VALUE, such as zone=z1 (KEY= removes one)", word)
		}
		if _, twice := all[key]; twice {
			return nil, errors.Errorf("the label %s is given twice", key)
		}
		all[key] = value
	}
	return all, nil
}
