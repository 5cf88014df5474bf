package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func memberCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Show the schedulers of the group, and change who leads it",
		Example: `  shoal ctl member
  shoal ctl member leader show
  shoal ctl member leader transfer scheduler-2
  shoal ctl member delete name scheduler-3`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.ask(cmd, nil, func(ctx context.Context, api *pdapi.Client, _ uint64) error {
				group, err := api.Members(ctx)
				if err != nil {
					return err
				}
				if opts.output == asJSON {
					return opts.print(cmd.OutOrStdout(), group, nil)
				}
				health, err := api.Health(ctx)
				if err != nil {
					return err
				}
				return opts.print(cmd.OutOrStdout(), group, func(t table.Writer) { memberRows(t, group, health) })
			})
		},
	}
	cmd.AddCommand(leaderCommand(opts), deleteCommand(opts))
	return cmd
}

func memberRows(t table.Writer, group pdapi.Members, health []pdapi.Health) {
	up := map[uint64]string{}
	for _, h := range health {
		up[h.ID] = "down"
		if h.Health {
			up[h.ID] = "up"
		}
	}
	head(t, "name", "id>", "state", "role", "clients at", "members at")
	for _, m := range group.Members {
		role := "follower"
		if group.Leader != nil && group.Leader.ID == m.ID {
			role = "leader"
		}
		if m.Name == "" {
			m.Name, role = "(never ran)", ""
		}
		t.AppendRow(table.Row{m.Name, m.ID, up[m.ID], role, addresses(m.ClientURLs), addresses(m.PeerURLs)})
	}
}

// addresses shows URLs one below the other; that they are of http goes without saying.
func addresses(urls []string) string {
	var lines []string
	for _, u := range urls {
		lines = append(lines, strings.TrimPrefix(u, "http://"))
	}
	return strings.Join(lines, "\n")
}

func leaderCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leader",
		Short: "Show the leader of the scheduler group, or have another lead",
		Example: `  shoal ctl member leader show
  shoal ctl member leader transfer scheduler-2
  shoal ctl member leader resign`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	show := &cobra.Command{
		Use:               "show",
		Short:             "Show which scheduler leads",
		Example:           "  shoal ctl member leader show",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.ask(cmd, nil, func(ctx context.Context, api *pdapi.Client, _ uint64) error {
				leader, err := api.Leader(ctx)
				if err != nil {
					return err
				}
				group := pdapi.Members{Members: []pdapi.Member{leader}, Leader: &leader}
				return opts.print(cmd.OutOrStdout(), leader, func(t table.Writer) {
					memberRows(t, group, []pdapi.Health{{ID: leader.ID, Health: true}})
				})
			})
		},
	}
	resign := &cobra.Command{
		Use:               "resign",
		Short:             "Have the leader hand its lead over to any other member that is up",
		Example:           "  shoal ctl member leader resign",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.tell(cmd, "", func(ctx context.Context, api *pdapi.Client) (string, error) { return api.Resign(ctx) })
		},
	}
	transfer := &cobra.Command{
		Use:               "transfer NAME",
		Short:             "Have the leader hand its lead over to one member",
		Example:           "  shoal ctl member leader transfer scheduler-2",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: opts.complete(memberNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.tell(cmd, args[0], func(ctx context.Context, api *pdapi.Client) (string, error) {
				return api.TransferLeader(ctx, args[0])
			})
		},
	}
	cmd.AddCommand(show, resign, transfer)
	return cmd
}

func deleteCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Remove a scheduler from the group for good",
		Long: `Remove a scheduler from the group for good, for instance because its data is
lost. It stops by itself if it runs, and can come back only with an empty data
directory and --join.`,
		Example:           "  shoal ctl member delete name scheduler-3",
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	byName := &cobra.Command{
		Use:               "name NAME",
		Short:             "Remove the scheduler with this name",
		Example:           "  shoal ctl member delete name scheduler-3",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: opts.complete(memberNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.tell(cmd, args[0], func(ctx context.Context, api *pdapi.Client) (string, error) {
				return api.RemoveMember(ctx, args[0])
			})
		},
	}
	byID := &cobra.Command{
		Use:               "id ID",
		Short:             "Remove the scheduler with this id, which may have no name because it never ran",
		Example:           "  shoal ctl member delete id 13197533273252741313",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				said, err := api.RemoveMemberID(ctx, id)
				return opts.answer(cmd, args[0], said, err)
			})
		},
	}
	cmd.AddCommand(byName, byID)
	return cmd
}

// tell has the scheduler do something and shows what it says.
func (o *options) tell(cmd *cobra.Command, name string, do func(ctx context.Context, api *pdapi.Client) (string, error)) error {
	return o.ask(cmd, nil, func(ctx context.Context, api *pdapi.Client, _ uint64) error {
		said, err := do(ctx, api)
		return o.answer(cmd, name, said, err)
	})
}

func (o *options) answer(cmd *cobra.Command, member, said string, err error) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return errors.Errorf("there is no scheduler %s in the group; `shoal ctl member` lists all", member)
	}
	if err != nil {
		return err
	}
	if o.output == asJSON {
		return o.print(cmd.OutOrStdout(), said, nil)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
	return err
}
