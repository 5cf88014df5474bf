package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func storeDeleteCommand(opts *options) *cobra.Command {
	var force, wait bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Drain a store: its regions move away, then it is a tombstone",
		Long: `Drain a store: its regions move away, and when it holds none it is a tombstone, whose process can be stopped.

Until then it serves, and "cancel-delete" takes it back. With --force it counts as destroyed: it cannot come
back, and its regions are made whole elsewhere without it.`,
		Example: `  shoal ctl store delete 4
  shoal ctl store delete 4 --wait
  shoal ctl store delete 4 --force`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := opts.changeStore(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) (string, string, error) {
				said, err := api.DeleteStore(ctx, id, force)
				hint := opts.ctl("store cancel-delete "+args[0]) + " takes it back"
				if force {
					hint = "it cannot come back"
				}
				return said, fmt.Sprintf("store %d is being drained; %s, %s shows how far it is", id, hint, opts.ctl("store")), opts.whyNotDeleted(err)
			})
			if err != nil || !wait {
				return err
			}
			return opts.waitDrained(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "the store is destroyed and never comes back")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the store is a tombstone, however long that takes, and show how far it is")
	return cmd
}

// whyNotDeleted adds what can be done about it.
func (o *options) whyNotDeleted(err error) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && strings.Contains(refused.Message, "ErrStoresNotEnough") {
		return fmt.Errorf("%w; start another store first (`shoal playground scale-out` in a playground), or have fewer replicas (%s)",
			err, o.ctl("config set max-replicas N"))
	}
	return err
}

// waitDrained shows how a store empties.
func (o *options) waitDrained(cmd *cobra.Command, args []string) error {
	id, err := idArgument(args[0])
	if err != nil {
		return err
	}
	api, err := pdapi.New(o.pd)
	if err != nil {
		return err
	}
	ctx, cancel := o.interruptible(cmd)
	defer cancel()
	began := time.Now()
	if err := api.WaitDrained(ctx, id, func(left string) { cmd.PrintErrln(left) }); err != nil {
		return o.explain(ctx, fmt.Errorf("store %d goes on being drained: %w", id, err))
	}
	if o.output == asJSON {
		return nil // the answer has been given
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "store %d is a tombstone after %s; its process can be stopped\n", id, brief(time.Since(began)))
	return err
}

func storeCancelCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "cancel-delete ID",
		Short:   "Take a store back that is being drained",
		Example: `  shoal ctl store cancel-delete 4`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.changeStore(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) (string, string, error) {
				s, err := api.Store(ctx, id)
				if err == nil && s.Store.StateName != pdapi.Offline {
					return "", "", errors.Errorf("store %d is not being drained; it is %s", id, s.Store.StateName)
				}
				if err != nil {
					return "", "", err
				}
				said, err := api.SetStoreState(ctx, id, pdapi.Up)
				return said, fmt.Sprintf("store %d stays", id), err
			})
		},
	}
}

func storeForgetCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "remove-tombstone",
		Short:   "Forget the stores that were removed",
		Example: `  shoal ctl store remove-tombstone`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				said, err := api.ForgetTombstones(ctx)
				if err != nil {
					return err
				}
				return opts.say(cmd, said, "the stores that were removed are forgotten")
			})
		},
	}
}

func storeLabelCommand(opts *options) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "label ID KEY=VALUE...",
		Short: "Say where a store stands: its zone, its host",
		Long: `Say where a store stands: its zone, its host. Labels that are not named stay as they are; KEY= removes one.

Labels count once the scheduler is told which of them say where replicas should be apart:
shoal ctl config set location-labels zone,host`,
		Example: `  shoal ctl store label 1 zone=z1 host=h1
  shoal ctl store label 1 host=
  shoal ctl store label 1 zone=z2 --replace`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			labels, err := pairs(args[1:])
			if err != nil {
				return err
			}
			return opts.changeStore(cmd, args[:1], func(ctx context.Context, api *pdapi.Client, id uint64) (string, string, error) {
				said, err := api.LabelStore(ctx, id, labels, replace)
				if err != nil {
					return "", "", err
				}
				s, err := api.Store(ctx, id)
				ours := fmt.Sprintf("store %d has the labels %s", id, strings.Join(labelsOf(s), ", "))
				if len(s.Store.Labels) == 0 {
					ours = fmt.Sprintf("store %d has no labels", id)
				}
				return said, ours, err
			})
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "the labels given are all that the store has then")
	return cmd
}

func storeWeightCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "weight ID LEADERS DATA",
		Short: "Say how much of the leaders and of the data a store should have",
		Long:  `Say how much of the leaders and of the data a store should have, compared with a store of weight 1. With 0 it gets as little as can be.`,
		Example: `  shoal ctl store weight 1 2 3
  shoal ctl store weight 1 0 1`,
		Args: cobra.ExactArgs(3), ValidArgsFunction: opts.complete(storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			var weights [2]float64
			for i, word := range args[1:] {
				var err error
				if weights[i], err = strconv.ParseFloat(word, 64); err != nil || !(weights[i] >= 0) {
					return errors.Errorf("%q is not a weight; it must be a number that is not negative", word)
				}
			}
			return opts.changeStore(cmd, args[:1], func(ctx context.Context, api *pdapi.Client, id uint64) (string, string, error) {
				said, err := api.WeighStore(ctx, id, weights[0], weights[1])
				return said, fmt.Sprintf("store %d has weight %g for leaders and %g for data", id, weights[0], weights[1]), err
			})
		},
	}
}

// The limits of a store, by the names that the scheduler has for them.
const (
	addPeerLimit    = "add-peer"
	removePeerLimit = "remove-peer"
)

func storeLimitCommand(opts *options) *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use:   "limit [ID|all [RATE]]",
		Short: "Show or set how many peers a minute may come to and go from a store",
		Long:  `Show or set how many peers a minute may come to and go from a store. --only sets one of the two.`,
		Example: `  shoal ctl store limit
  shoal ctl store limit 1
  shoal ctl store limit 1 30
  shoal ctl store limit all 60 --only add-peer`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: opts.complete(storesOrAll),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return opts.showLimits(cmd, args)
			}
			rate, err := strconv.ParseFloat(args[1], 64)
			if err != nil || !(rate > 0) {
				return errors.Errorf("%q is not a rate; it must be a number of peers a minute above 0", args[1])
			}
			kinds := []string{addPeerLimit, removePeerLimit}
			if only != "" {
				if !slices.Contains(kinds, only) {
					return errors.Errorf("--only is %q; it must be %s or %s", only, addPeerLimit, removePeerLimit)
				}
				kinds = []string{only}
			}
			return opts.setLimits(cmd, args[0], kinds, rate)
		},
	}
	cmd.Flags().StringVar(&only, "only", "", "the `kind` of limit: add-peer or remove-peer; both without it")
	return cmd
}

func storesOrAll(ctx context.Context, api *pdapi.Client) ([]string, error) {
	ids, err := storeIDs(ctx, api)
	return append(ids, cobra.CompletionWithDesc("all", "every store")), err
}

// showLimits shows those of all stores, or of the one that is named.
func (o *options) showLimits(cmd *cobra.Command, which []string) error {
	if len(which) > 0 && which[0] == "all" {
		which = nil
	}
	return o.ask(cmd, which, func(ctx context.Context, api *pdapi.Client, id uint64) error {
		limits, err := api.StoreLimits(ctx)
		if err != nil {
			return err
		}
		stores, err := api.Stores(ctx)
		if err != nil {
			return err
		}
		if id != 0 {
			stores = slices.DeleteFunc(stores, func(s pdapi.Store) bool { return s.Store.ID != id })
			maps.DeleteFunc(limits, func(store string, _ map[string]float64) bool { return store != strconv.FormatUint(id, 10) })
			if len(stores) == 0 {
				return errors.Errorf("there is no store %d; %s lists all", id, o.ctl("store"))
			}
		}
		return o.print(cmd.OutOrStdout(), limits, func(t table.Writer) {
			head(t, "store>", "address", "add-peer>", "remove-peer>")
			for _, s := range stores {
				of := limits[strconv.FormatUint(s.Store.ID, 10)]
				t.AppendRow(table.Row{s.Store.ID, s.Store.Address, perMinute(of[addPeerLimit]), perMinute(of[removePeerLimit])})
			}
		})
	})
}

func perMinute(rate float64) string { return fmt.Sprintf("%g/min", rate) }

func (o *options) setLimits(cmd *cobra.Command, which string, kinds []string, rate float64) error {
	args, whose := []string{which}, "store "+which
	if which == "all" {
		args, whose = nil, "each store"
	}
	return o.changeStore(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) (said, ours string, err error) {
		for _, kind := range kinds {
			if said, err = api.LimitStore(ctx, id, kind, rate); err != nil {
				return "", "", err
			}
		}
		return said, fmt.Sprintf("%s of %s: %s", strings.Join(kinds, " and "), whose, perMinute(rate)), nil
	})
}
