package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// operatorCommand is about what is being done to regions; operator_add.go has what can be asked for.
func operatorCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Show what is being done to regions, have something done, cancel it",
		Long: `An operator changes one region in steps: it moves a peer, the lead, splits, merges. Schedulers and checkers make operators by
themselves; those that are asked for here go before them. A region has at most one at a time.`,
		Example: `  shoal ctl operator show
  shoal ctl operator add transfer-leader 12 3
  shoal ctl operator add transfer-peer 12 1 4 --wait
  shoal ctl operator cancel 12
  shoal ctl operator history --since 10m`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	cmd.AddCommand(operatorAddCommand(opts), operatorShowCommand(opts), operatorCancelCommand(opts), operatorHistoryCommand(opts))
	return cmd
}

func operatorShowCommand(opts *options) *cobra.Command {
	var kinds []string
	cmd := &cobra.Command{
		Use:   "show [REGION]",
		Short: "Show the operators in flight, or what became of a region's last one",
		Example: `  shoal ctl operator show
  shoal ctl operator show --kind leader,region
  shoal ctl operator show 12`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: opts.complete(operatedRegions),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				if id != 0 {
					op, err := api.Operator(ctx, id)
					if err != nil {
						return noOperator(err, id)
					}
					return opts.print(cmd.OutOrStdout(), op, func(t table.Writer) { operatorFacts(t, op, time.Now()) })
				}
				ops, err := api.Operators(ctx, kinds)
				if err != nil {
					return err
				}
				return opts.showOperators(cmd.OutOrStdout(), ops, "nothing is being done; "+opts.ctl("operator history")+" shows what was")
			})
		},
	}
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only these `kinds`: "+strings.Join(operator.KindNames(), ", "))
	return cmd
}

// operatedRegions offers the regions to which something is being done.
func operatedRegions(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
	ops, err := api.Operators(ctx, nil)
	for _, op := range ops {
		ids = append(ids, cobra.CompletionWithDesc(fmt.Sprint(op.RegionID), op.Desc))
	}
	return ids, err
}

func noOperator(err error, region uint64) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return errors.Errorf("region %d has no operator; `shoal ctl operator show` lists all", region)
	}
	return err
}

func (o *options) showOperators(w io.Writer, ops []pdapi.Operator, none string) error {
	if o.output == asTable && len(ops) == 0 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	return o.print(w, ops, func(t table.Writer) { operatorRows(t, ops, time.Now()) })
}

// longestStep is how much of what an operator does a table shows.
const longestStep = 44

func operatorRows(t table.Writer, ops []pdapi.Operator, now time.Time) {
	head(t, "region>", "by", "does", "step", "for>", "ended", "result")
	for _, op := range ops {
		step, took, ended, result := "", now.Sub(op.CreatedAt), "", ""
		does := op.Brief
		if op.Status == pdapi.OperatorStarted {
			if does = "ends"; op.Current < len(op.Steps) {
				does = op.Steps[op.Current]
			}
			step = fmt.Sprintf("%d of %d", min(op.Current+1, len(op.Steps)), len(op.Steps))
		} else {
			took, ended, result = op.FinishedAt.Sub(op.CreatedAt), op.FinishedAt.Local().Format(time.TimeOnly), ending(op)
		}
		t.AppendRow(table.Row{op.RegionID, op.Desc, wrap(does, longestStep), step, brief(took), ended, wrap(result, longestStep/2)})
	}
}

// ending says how an operator ended.
func ending(op pdapi.Operator) string {
	if op.Why != "" {
		return strings.ToLower(op.Status) + ": " + op.Why
	}
	return strings.ToLower(op.Status)
}

func operatorFacts(t table.Writer, op pdapi.Operator, now time.Time) {
	var steps []string
	for i, s := range op.Steps {
		mark := "· "
		switch {
		case i < op.Current || op.Status == pdapi.OperatorSuccess:
			mark = "✓ "
		case i == op.Current && op.Status == pdapi.OperatorStarted:
			mark = "▸ "
		}
		steps = append(steps, mark+s)
	}
	state := "being done for " + brief(now.Sub(op.CreatedAt))
	if op.Status != pdapi.OperatorStarted {
		state = fmt.Sprintf("%s, after %s, at %s", ending(op), brief(op.FinishedAt.Sub(op.CreatedAt)), op.FinishedAt.Local().Format(time.DateTime))
	}
	facts(t,
		"region", op.RegionID,
		"wanted by", op.Desc,
		"does", op.Brief,
		"kind", op.Kind,
		"priority", op.Priority,
		"state", state,
		"steps", strings.Join(steps, "\n"),
	)
}

func operatorCancelCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "cancel REGION",
		Short:   "End what is being done to a region; what was done stays",
		Example: `  shoal ctl operator cancel 12`,
		Aliases: []string{"remove"}, // as the family's tools have it
		Args:    cobra.ExactArgs(1), ValidArgsFunction: opts.complete(operatedRegions),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				said, err := api.CancelOperator(ctx, id)
				if err != nil {
					return noOperator(err, id)
				}
				return opts.say(cmd, said, "the operator of region %d is canceled", id)
			})
		},
	}
}

func operatorHistoryCommand(opts *options) *cobra.Command {
	since, limit := time.Hour, 20
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show the operators that ended, the latest first",
		Example: `  shoal ctl operator history
  shoal ctl operator history --since 10m --limit 100`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 || limit < 1 {
				return errors.Errorf("--since is %v and --limit is %d; both must be above 0", since, limit)
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				ops, err := api.OperatorHistory(ctx, time.Now().Add(-since))
				if err != nil {
					return err
				}
				return opts.showOperators(cmd.OutOrStdout(), ops[:min(limit, len(ops))], fmt.Sprintf("nothing was done in the last %s", brief(since)))
			})
		},
	}
	cmd.Flags().DurationVar(&since, "since", since, "how far back")
	cmd.Flags().IntVar(&limit, "limit", limit, "`number` of operators to show at most")
	return cmd
}
