package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// placementCommand is about the rules that say where replicas are; placement_set.go has what changes them.
func placementCommand(opts *options) *cobra.Command {
	var f forms
	cmd := &cobra.Command{
		Use:   "placement",
		Short: "Show and change the rules that say where replicas are",
		Long: `Show and change the rules that say where replicas are.

A rule asks for COUNT peers of a ROLE (voter, leader, follower, learner) for all keys of a range, on stores whose labels
fit its constraints, apart from each other by its location labels. Rules have a name, GROUP/ID, and add up, unless one is
marked as an override: it then takes the place of those of its group that come before it. The rule pd/default holds where
no other does: it is max-replicas of the configuration.

Keys are those of regions. Keys of transactions are encoded in them: "shoal ctl region scan" shows how they look.`,
		Example: `  shoal ctl placement show
  shoal ctl placement get --key hello
  shoal ctl placement replicas --prefix orders/ 5
  shoal ctl placement set rules.json
  shoal ctl placement remove pd replicas-user1-user5`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	f.flags(cmd)
	cmd.AddCommand(
		placementShowCommand(opts, &f), placementGetCommand(opts, &f), placementSetCommand(opts, &f), placementRemoveCommand(opts), placementReplicasCommand(opts, &f),
	)
	return cmd
}

func placementShowCommand(opts *options, f *forms) *cobra.Command {
	return &cobra.Command{
		Use:   "show [GROUP]",
		Short: "Show all rules, in the order in which they hold, or those of a group",
		Example: `  shoal ctl placement show
  shoal ctl placement show pd -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: opts.complete(ruleGroups),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.showRules(cmd, f, func(ctx context.Context, api *pdapi.Client) ([]*placement.Rule, error) {
				rules, err := api.Rules(ctx)
				if err == nil && len(args) > 0 {
					rules = slices.DeleteFunc(rules, func(r *placement.Rule) bool { return r.GroupID != args[0] })
					if len(rules) == 0 {
						err = errors.Errorf("no rule is of group %s; %s shows all", args[0], opts.ctl("placement show"))
					}
				}
				return rules, err
			})
		},
	}
}

// ruleGroups offers the groups that have rules.
func ruleGroups(ctx context.Context, api *pdapi.Client) (groups []string, err error) {
	rules, err := api.Rules(ctx)
	for _, r := range rules {
		if !slices.Contains(groups, r.GroupID) {
			groups = append(groups, r.GroupID)
		}
	}
	return groups, err
}

func placementGetCommand(opts *options, f *forms) *cobra.Command {
	var region uint64
	var key string
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Show the rules that hold for a region or a key",
		Example: `  shoal ctl placement get --region 12
  shoal ctl placement get --key hello`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			byKey := cmd.Flags().Changed("key")
			if byKey == (region != 0) {
				return errors.New("say of what: --region ID or --key KEY")
			}
			raw, err := f.parseFlag("key", key)
			if err != nil {
				return err
			}
			return opts.showRules(cmd, f, func(ctx context.Context, api *pdapi.Client) ([]*placement.Rule, error) {
				if byKey {
					return api.RulesAt(ctx, raw)
				}
				rules, err := api.RulesOf(ctx, region)
				return rules, unknown(err, "region", region)
			})
		},
	}
	cmd.Flags().Uint64Var(&region, "region", 0, "`id` of the region")
	cmd.Flags().StringVar(&key, "key", "", "the `key`")
	return cmd
}

func (o *options) showRules(cmd *cobra.Command, f *forms, find func(ctx context.Context, api *pdapi.Client) ([]*placement.Rule, error)) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		rules, err := find(ctx, api)
		if err != nil {
			return err
		}
		return o.print(cmd.OutOrStdout(), rules, func(t table.Writer) { ruleRows(t, rules, f.out) })
	})
}

func ruleRows(t table.Writer, rules []*placement.Rule, f form.Form) {
	const widest = 22
	head(t, "rule", "start", "end", "peers", "on stores with", "apart by", "override")
	for _, r := range rules {
		apart := strings.Join(r.LocationLabels, ", ")
		if r.IsolationLevel != "" {
			apart += " (at least " + r.IsolationLevel + ")"
		}
		override := ""
		if r.Override {
			override = "yes"
		}
		t.AppendRow(table.Row{
			text.WrapHard(r.Name(), widest+6), showKey(f, r.StartKey, "first"), showKey(f, r.EndKey, "last"), peersWanted(r), wrap(constraints(r), widest), apart, override,
		})
	}
}

func peersWanted(r *placement.Rule) string {
	if r.Count == 1 {
		return "1 " + string(r.Role)
	}
	return fmt.Sprintf("%d %ss", r.Count, r.Role)
}

func constraints(r *placement.Rule) string {
	var all []string
	for _, c := range r.LabelConstraints {
		switch c.Op {
		case placement.In:
			all = append(all, c.Key+"="+strings.Join(c.Values, "|"))
		case placement.NotIn:
			all = append(all, c.Key+"≠"+strings.Join(c.Values, "|"))
		case placement.Exists:
			all = append(all, c.Key)
		case placement.NotExists:
			all = append(all, "no "+c.Key)
		}
	}
	return strings.Join(all, ", ")
}

func placementRemoveCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "remove GROUP ID",
		Short:   "Remove a rule",
		Example: `  shoal ctl placement remove pd replicas-user1-user5`,
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			ids := func(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
				rules, err := api.Rules(ctx)
				for _, r := range rules {
					if len(args) > 0 && r.GroupID == args[0] {
						ids = append(ids, r.ID)
					}
				}
				return ids, err
			}
			return opts.complete(ruleGroups, ids)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				said, err := api.RemoveRule(ctx, args[0], args[1])
				var refused *pdapi.Error
				if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
					return errors.Errorf("there is no rule %s/%s; %s shows all", args[0], args[1], opts.ctl("placement show"))
				}
				if err != nil {
					return err
				}
				return opts.say(cmd, said, "the rule %s/%s is removed", args[0], args[1])
			})
		},
	}
}
