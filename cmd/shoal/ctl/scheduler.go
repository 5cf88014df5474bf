package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// schedulerMeanings say what each scheduler is for.
func schedulerMeanings() map[string]string {
	return map[string]string{
		schedule.BalanceLeader: "spreads leaders over the stores",
		schedule.BalanceRegion: "spreads data over the stores",
		schedule.HotRegion:     "spreads what is read and written much",
		schedule.EvictLeader:   "lets a store lead nothing; needs STORE",
		schedule.GrantLeader:   "lets a store lead all that it can; needs STORE",
		schedule.EvictSlow:     "lets a store that became slow lead nothing",
		schedule.ShuffleLeader: "moves leaders at random, for tests",
		schedule.ShuffleRegion: "moves peers at random, for tests",
	}
}

// schedulerName lets users leave out the end that all names have.
func schedulerName(word string) string {
	if word == "all" || strings.HasSuffix(word, "-scheduler") || strings.Contains(word, "-scheduler-") {
		return word
	}
	return word + "-scheduler"
}

// schedulerCommand is about the schedulers: what looks at stores, and moves peers and leaders between them.
func schedulerCommand(opts *options) *cobra.Command {
	var long strings.Builder
	long.WriteString("Schedulers look at stores, and move peers and leaders between them:\n")
	for _, name := range slices.Sorted(maps.Keys(schedulerMeanings())) {
		fmt.Fprintf(&long, "\n  %-30s %s", name, schedulerMeanings()[name])
	}
	long.WriteString("\n\nThe -scheduler at the end can be left out. Schedulers that are added or removed stay so; a pause ends when another\nmember of the scheduler group leads.")
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Show, start, stop and pause the schedulers",
		Long:  long.String(),
		Example: `  shoal ctl scheduler show
  shoal ctl scheduler add evict-leader 1
  shoal ctl scheduler remove evict-leader
  shoal ctl scheduler pause balance-region 10m`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	cmd.AddCommand(
		schedulerShowCommand(opts), schedulerAddCommand(opts), schedulerRemoveCommand(opts), schedulerPauseCommand(opts), schedulerResumeCommand(opts),
		schedulerConfigCommand(opts),
	)
	return cmd
}

// runningSchedulers offers the names of those that run.
func runningSchedulers(ctx context.Context, api *pdapi.Client) ([]string, error) {
	return api.Schedulers(ctx, "")
}

// knownSchedulers offers the names of all that there can be.
func knownSchedulers(context.Context, *pdapi.Client) ([]string, error) {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(schedulerMeanings())) {
		list = append(list, cobra.CompletionWithDesc(name, schedulerMeanings()[name]))
	}
	return list, nil
}

// unknownScheduler says which there are.
func (o *options) unknownScheduler(err error, name string) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return errors.Errorf("no scheduler %s runs; %s lists those that do, %s starts one", name, o.ctl("scheduler show"), o.ctl("scheduler add NAME"))
	}
	return err
}

// shownScheduler is a scheduler as it is shown.
type shownScheduler struct {
	pdapi.Diagnosis
	Stores []uint64 `json:"stores,omitempty"`
}

func schedulerShowCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show the schedulers that run, and why those do nothing that do nothing",
		Example: `  shoal ctl scheduler show`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				list, err := shownSchedulers(ctx, api)
				if err != nil {
					return err
				}
				return opts.print(cmd.OutOrStdout(), list, func(t table.Writer) { schedulerRows(t, list) })
			})
		},
	}
}

func shownSchedulers(ctx context.Context, api *pdapi.Client) ([]shownScheduler, error) {
	names, err := api.Schedulers(ctx, "")
	if err != nil {
		return nil, err
	}
	list := []shownScheduler{}
	for _, name := range names {
		diagnosis, err := api.Diagnose(ctx, name)
		if err != nil {
			return nil, err
		}
		cfg, err := api.SchedulerConfig(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, shownScheduler{diagnosis, slices.Sorted(maps.Keys(cfg.Stores))})
	}
	return list, nil
}

func schedulerRows(t table.Writer, all []shownScheduler) {
	const widest = 42
	head(t, "scheduler", "stores", "state", "what it does, or why it does nothing")
	for _, s := range all {
		does := s.Summary
		if does == "" {
			does = schedulerMeanings()[s.Name]
		}
		state := s.Status
		switch state {
		case "pending":
			state = "idle"
		case "scheduling":
			state = "at work"
		}
		t.AppendRow(table.Row{s.Name, list(s.Stores), state, wrap(does, widest)})
	}
}

func schedulerAddCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME [STORE...]",
		Short: "Start a scheduler",
		Example: `  shoal ctl scheduler add evict-leader 1
  shoal ctl scheduler add shuffle-leader`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: opts.completeMany(knownSchedulers, storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := schedulerName(args[0])
			stores, err := idArguments(args[1:])
			if err != nil {
				return err
			}
			needsStores := name == schedule.EvictLeader || name == schedule.GrantLeader
			switch _, known := schedulerMeanings()[name]; {
			case !known:
				return errors.Errorf("there is no scheduler %s; it must be one of %s", args[0], strings.Join(slices.Sorted(maps.Keys(schedulerMeanings())), ", "))
			case needsStores && len(stores) == 0:
				return errors.Errorf("%s needs the id of a store: %s", name, opts.ctl("scheduler add "+args[0]+" STORE"))
			case !needsStores && len(stores) > 0:
				return errors.Errorf("%s works on all stores; leave %s out", name, strings.Join(args[1:], " "))
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				said, err := api.AddScheduler(ctx, name, stores)
				var refused *pdapi.Error
				if stderrors.As(err, &refused) && strings.Contains(refused.Message, "ErrSchedulerExisted") {
					return errors.Errorf("%s runs already; %s shows what it does", name, opts.ctl("scheduler show"))
				}
				if err != nil {
					return err
				}
				return opts.say(cmd, said, "%s runs: it %s", name, strings.TrimSuffix(schedulerMeanings()[name], "; needs STORE"))
			})
		},
	}
}

func schedulerRemoveCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Stop a scheduler until it is added again",
		Example: `  shoal ctl scheduler remove evict-leader
  shoal ctl scheduler remove balance-region`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: opts.complete(runningSchedulers),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := schedulerName(args[0])
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				said, err := api.RemoveScheduler(ctx, name)
				if err != nil {
					return opts.unknownScheduler(err, name)
				}
				return opts.say(cmd, said, "%s is stopped; %s starts it again", name, opts.ctl("scheduler add"))
			})
		},
	}
}

func schedulerPauseCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "pause NAME|all DURATION",
		Short: "Let a scheduler rest for a while",
		Example: `  shoal ctl scheduler pause balance-region 10m
  shoal ctl scheduler pause all 1h`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: opts.complete(runningOrAll, words("1m", "10m", "1h")),
		RunE: func(cmd *cobra.Command, args []string) error {
			pause, err := time.ParseDuration(args[1])
			if seconds, e := strconv.Atoi(args[1]); e == nil {
				pause, err = time.Duration(seconds)*time.Second, nil
			}
			if err != nil || pause < time.Second {
				return errors.Errorf("%q is not how long to pause; it must be at least 1s, such as 90s, 10m or 1h", args[1])
			}
			return opts.pause(cmd, args[0], pause, "is paused for "+brief(pause))
		},
	}
}

func schedulerResumeCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME|all",
		Short: "End a scheduler's pause",
		Example: `  shoal ctl scheduler resume balance-region
  shoal ctl scheduler resume all`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: opts.complete(runningOrAll),
		RunE: func(cmd *cobra.Command, args []string) error { return opts.pause(cmd, args[0], 0, "works") },
	}
}

func runningOrAll(ctx context.Context, api *pdapi.Client) ([]string, error) {
	names, err := runningSchedulers(ctx, api)
	return append(names, "all"), err
}

func (o *options) pause(cmd *cobra.Command, word string, pause time.Duration, result string) error {
	name := schedulerName(word)
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		said, err := api.PauseScheduler(ctx, name, pause)
		if err != nil {
			return o.unknownScheduler(err, name)
		}
		if name == "all" {
			name = "each scheduler"
		}
		return o.say(cmd, said, "%s %s", name, result)
	})
}

func schedulerConfigCommand(opts *options) *cobra.Command {
	actions := []string{"add-store\tbe for one store more", "delete-store\tbe for one store less", "batch\tmake so many operators at once"}
	return &cobra.Command{
		Use:   "config NAME [add-store|delete-store|batch NUMBER]",
		Short: "Show or change how one scheduler works",
		Example: `  shoal ctl scheduler config evict-leader
  shoal ctl scheduler config evict-leader add-store 3
  shoal ctl scheduler config balance-leader batch 4`,
		Args: oneOr(3), ValidArgsFunction: opts.complete(runningSchedulers, words(actions...), storeIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := schedulerName(args[0])
			if len(args) == 1 {
				return opts.showSchedulerConfig(cmd, name)
			}
			number, err := strconv.ParseUint(args[2], 10, 32)
			if err != nil || number == 0 {
				return errors.Errorf("%q is not a number above 0", args[2])
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				var said string
				var err error
				switch args[1] {
				case "add-store":
					said, err = api.AddSchedulerStore(ctx, name, number)
				case "delete-store":
					said, err = api.RemoveSchedulerStore(ctx, name, number)
				case "batch":
					said, err = api.SetSchedulerBatch(ctx, name, int(number))
				default:
					return errors.Errorf("%q is not a change; it must be add-store, delete-store or batch", args[1])
				}
				if err != nil {
					return opts.unknownScheduler(err, name)
				}
				return opts.say(cmd, said, "%s: %s %d", name, args[1], number)
			})
		},
	}
}

// oneOr takes one argument, or n.
func oneOr(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return cobra.ExactArgs(n)(cmd, args)
	}
}

func (o *options) showSchedulerConfig(cmd *cobra.Command, name string) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		cfg, err := api.SchedulerConfig(ctx, name)
		if err != nil {
			return o.unknownScheduler(err, name)
		}
		return o.print(cmd.OutOrStdout(), cfg, func(t table.Writer) {
			facts(t, "scheduler", name, "purpose", strings.TrimSuffix(schedulerMeanings()[name], "; needs STORE"), "stores", list(slices.Sorted(maps.Keys(cfg.Stores))), "batch", cfg.Batch)
		})
	})
}
