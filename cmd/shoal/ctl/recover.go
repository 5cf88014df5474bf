package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/proto/recovery"
)

func recoverCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Have regions back that lost a majority of their replicas for good",
		Long: `Have regions back that lost a majority of their replicas for good.

"plan" shows what would be done and writes it to a file; it changes nothing.
"apply" does what a plan says: of each region the survivor with the longest log
becomes the only replica, and new ones are made of it. What the lost stores had
acknowledged beyond that log is lost. Never start a lost store again.`,
		Example: `  shoal ctl recover plan --lost-stores 2,3 recover.json
  shoal ctl recover apply recover.json`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	cmd.AddCommand(recoverPlanCommand(opts), recoverApplyCommand(opts))
	return cmd
}

func recoverPlanCommand(opts *options) *cobra.Command {
	var lost []string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Write down what a recovery would do; change nothing",
		Example: `  shoal ctl recover plan recover.json
  shoal ctl recover plan --lost-stores 2,3 recover.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := opts.context(cmd)
			defer cancel()
			plan, err := opts.recoveryPlan(ctx, lost)
			if err != nil {
				return err
			}
			if err := writePlan(args[0], plan); err != nil {
				return err
			}
			return opts.print(cmd.OutOrStdout(), plan, func(t table.Writer) { planRows(t, plan) })
		},
	}
	cmd.Flags().StringSliceVar(&lost, "lost-stores", nil, "`ids` of the stores that never come back; without it those that the scheduler calls Down")
	return cmd
}

func recoverApplyCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:               "apply FILE",
		Short:             "Do what a plan says; a second time does no harm",
		Example:           `  shoal ctl recover apply recover.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var plan recovery.Plan
			if err := json.Unmarshal(text, &plan); err != nil {
				return errors.Annotatef(err, "%s is no plan that `shoal ctl recover plan` wrote", args[0])
			}
			ctx, cancel := opts.context(cmd)
			defer cancel()
			outcomes, err := opts.applyRecovery(ctx, plan)
			if err != nil {
				return err
			}
			if err := opts.print(cmd.OutOrStdout(), outcomes, func(t table.Writer) { outcomeRows(t, outcomes) }); err != nil {
				return err
			}
			failed := slices.DeleteFunc(slices.Clone(outcomes), func(o recovery.Outcome) bool { return o.Error == "" })
			if len(failed) > 0 {
				return errors.Errorf("%d of %d regions are not recovered; it is safe to apply the plan again", len(failed), len(outcomes))
			}
			return nil
		},
	}
}

// recoveryPlan asks the scheduler who is lost and all others what they have.
func (o *options) recoveryPlan(ctx context.Context, lostFlag []string) (recovery.Plan, error) {
	var plan recovery.Plan
	api, err := pdapi.New(o.pd)
	if err != nil {
		return plan, err
	}
	stores, err := api.Stores(ctx)
	if err != nil {
		return plan, err
	}
	lost, err := lostStores(stores, lostFlag)
	if err != nil {
		return plan, err
	}
	var replicas []recovery.Replica
	for _, s := range stores {
		if slices.Contains(lost, s.Store.ID) {
			continue
		}
		held, err := recovery.Replicas(ctx, s.Store.StatusAddress)
		if err != nil {
			return plan, errors.Annotatef(err, "store %d does not answer: wait for it, or name it among --lost-stores if it never comes back", s.Store.ID)
		}
		replicas = append(replicas, held...)
	}
	regions, err := api.Regions(ctx)
	if err != nil {
		return plan, err
	}
	var known []uint64
	for _, r := range regions {
		known = append(known, r.ID)
	}
	return recovery.Make(lost, replicas, known), nil
}

func lostStores(stores []pdapi.Store, flag []string) ([]uint64, error) {
	lost := []uint64{}
	for _, text := range flag {
		id, err := strconv.ParseUint(text, 10, 64)
		at := slices.IndexFunc(stores, func(s pdapi.Store) bool { return err == nil && s.Store.ID == id })
		if at < 0 {
			return nil, errors.Errorf("%q is not the id of a store", text)
		}
		if stores[at].Store.StateName == "Up" { // it lives, or would be given new replicas at once
			return nil, errors.Errorf("the scheduler has heard of store %d a moment ago; wait until it is not Up any more", id)
		}
		lost = append(lost, id)
	}
	if len(flag) > 0 {
		return lost, nil
	}
	for _, s := range stores {
		if strings.EqualFold(s.Store.StateName, "Down") {
			lost = append(lost, s.Store.ID)
		}
	}
	return lost, nil
}

// writePlan never overwrites: an older plan may be what was applied.
func writePlan(name string, plan recovery.Plan) error {
	text, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if e := file.Close(); err == nil {
		err = e
	}
	return err
}

// applyRecovery gives each store its orders.
func (o *options) applyRecovery(ctx context.Context, plan recovery.Plan) ([]recovery.Outcome, error) {
	api, err := pdapi.New(o.pd)
	if err != nil {
		return nil, err
	}
	stores, err := api.Stores(ctx)
	if err != nil {
		return nil, err
	}
	orders := make(map[uint64][]recovery.Order)
	for _, r := range plan.Rescues {
		orders[r.Store] = append(orders[r.Store], r.Order)
	}
	outcomes := []recovery.Outcome{}
	for _, s := range stores {
		given := orders[s.Store.ID]
		if len(given) == 0 {
			continue
		}
		delete(orders, s.Store.ID)
		told, err := recovery.Force(ctx, s.Store.StatusAddress, given)
		if err != nil {
			for _, one := range given {
				told = append(told, recovery.Outcome{Region: one.Region, Error: err.Error()})
			}
		}
		outcomes = append(outcomes, told...)
	}
	for id, left := range orders { // order-free: sorted below
		for _, one := range left {
			outcomes = append(outcomes, recovery.Outcome{Region: one.Region, Error: fmt.Sprintf("the scheduler knows no store %d", id)})
		}
	}
	slices.SortFunc(outcomes, func(a, b recovery.Outcome) int { return int(a.Region) - int(b.Region) })
	return outcomes, nil
}

func planRows(t table.Writer, plan recovery.Plan) {
	t.AppendHeader(table.Row{"region", "survivors", "base", "conf_ver", "what may be lost"})
	for _, r := range plan.Rescues {
		var on []string
		for _, s := range r.Survivors {
			on = append(on, strconv.FormatUint(s.Store, 10))
		}
		t.AppendRow(table.Row{r.Region, strings.Join(on, ","), fmt.Sprintf("peer %d on store %d", r.Peer, r.Store), fmt.Sprintf("%d -> %d", r.Seen, r.Next), r.MayLose})
	}
	for _, id := range plan.Hopeless {
		t.AppendRow(table.Row{id, "", "", "", "everything: no replica survives"})
	}
}

func outcomeRows(t table.Writer, outcomes []recovery.Outcome) {
	t.AppendHeader(table.Row{"region", "outcome"})
	for _, o := range outcomes {
		said := o.Error
		if said == "" {
			said = "recovered"
		}
		t.AppendRow(table.Row{o.Region, said})
	}
}
