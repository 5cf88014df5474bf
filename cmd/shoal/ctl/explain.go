package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// explainCommand says in words why something is as it is: what the scheduler has to say, and the stores themselves.
func explainCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say in words what is wrong, since when, and what to do",
		Long: `Say in words what is wrong, since when, and what to do.

The scheduler tells what it knows, what it would do, and which rule or limit
keeps it from that. A region's stores are asked too.`,
		Example: `  shoal ctl explain region 2
  shoal ctl explain key hello
  shoal ctl explain balance`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	cmd.AddCommand(explainRegionCommand(opts), explainKeyCommand(opts), explainBalanceCommand(opts))
	return cmd
}

func explainRegionCommand(opts *options) *cobra.Command {
	var f forms
	cmd := &cobra.Command{
		Use:   "region ID",
		Short: "Why a region is unavailable, lacks replicas, or does not move",
		Example: `  shoal ctl explain region 2
  shoal ctl explain region 2 -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: opts.complete(regionIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.ask(cmd, args, func(ctx context.Context, api *pdapi.Client, id uint64) error {
				return opts.explainRegion(ctx, cmd.OutOrStdout(), api, f.out, func() (pdapi.ExplainedRegion, error) { return api.ExplainRegion(ctx, id) })
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func explainKeyCommand(opts *options) *cobra.Command {
	var f forms
	cmd := &cobra.Command{
		Use:   "key KEY",
		Short: "The same of the region that holds a key",
		Example: `  shoal ctl explain key hello
  shoal ctl explain key 6100ff --read-as hex`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := f.parse(args)
			if err != nil {
				return err
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				return opts.explainRegion(ctx, cmd.OutOrStdout(), api, f.out, func() (pdapi.ExplainedRegion, error) { return api.ExplainKey(ctx, keys[0]) })
			})
		},
	}
	f.flags(cmd)
	return cmd
}

func explainBalanceCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:     "balance",
		Short:   "How even the stores are, and why nothing moves if they are not",
		Example: `  shoal ctl explain balance`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				e, err := api.ExplainBalance(ctx)
				if err != nil {
					return err
				}
				a := explainedBalance{ExplainedBalance: e, account: account{Verdict: balanceVerdict(e)}}
				a.conclude(e.Findings)
				return opts.narrate(cmd.OutOrStdout(), a, a.account, e.Findings, e.Now, func(t table.Writer) { standingRows(t, e) })
			})
		},
	}
}

// account is what an explanation comes to.
type account struct {
	Verdict string `json:"verdict"`
	// Do is what to do, the most urgent first; empty if nothing need be done.
	Do []string `json:"do"`
}

// rank orders findings by what matters most.
func rank(level schedule.Level) int {
	return slices.Index([]schedule.Level{schedule.Unavailable, schedule.Risk, schedule.Waits, schedule.Note}, level)
}

// conclude puts findings into the order in which they matter, and gathers what to do.
func (a *account) conclude(list []schedule.Finding) {
	slices.SortStableFunc(list, func(x, y schedule.Finding) int { return rank(x.Level) - rank(y.Level) })
	a.Do = []string{}
	for _, f := range list {
		if f.Level != schedule.Unavailable && len(list) > 0 && list[0].Level == schedule.Unavailable {
			break // first it must be available again
		}
		if f.Do != "" && !slices.Contains(a.Do, f.Do) {
			a.Do = append(a.Do, f.Do)
		}
	}
}

// narrate shows an explanation: what it comes to, what there is to say, a table, and what to do.
func (o *options) narrate(w io.Writer, all any, a account, findings []schedule.Finding, now time.Time, rows func(table.Writer)) error {
	if o.output == asJSON {
		return o.print(w, all, nil)
	}
	var text strings.Builder
	text.WriteString(wrap(a.Verdict, longestLine) + "\n")
	for _, f := range findings {
		text.WriteString(point(o.commands(f.Text) + when(f, now) + "."))
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return errors.Trace(err)
	}
	if err := o.print(w, all, rows); err != nil {
		return err
	}
	text.Reset()
	switch len(a.Do) {
	case 0:
		text.WriteString("Nothing need be done.\n")
	case 1:
		text.WriteString(wrap("What to do: "+o.commands(a.Do[0])+".", longestLine) + "\n")
	default:
		text.WriteString("What to do:\n")
		for _, do := range a.Do {
			text.WriteString(point(upperFirst(o.commands(do)) + "."))
		}
	}
	_, err := io.WriteString(w, text.String())
	return errors.Trace(err)
}

// longestLine is how long the lines of an explanation are.
const longestLine = 98

// point is a sentence among others.
func point(sentence string) string {
	return "- " + strings.ReplaceAll(wrap(sentence, longestLine-2), "\n", "\n  ") + "\n"
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// when says since when something is so, and until when.
func when(f schedule.Finding, now time.Time) string {
	var parts []string
	if !f.Since.IsZero() {
		parts = append(parts, fmt.Sprintf("since %s, %s ago", f.Since.Local().Format(time.TimeOnly), brief(max(0, now.Sub(f.Since)).Round(time.Second))))
	}
	if !f.Until.IsZero() {
		parts = append(parts, fmt.Sprintf("until %s, in %s", f.Until.Local().Format(time.TimeOnly), brief(max(0, f.Until.Sub(now)).Round(time.Second))))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// commands makes what is said of commands fit the cluster that is asked.
func (o *options) commands(text string) string {
	return strings.ReplaceAll(text, "`shoal ctl ", strings.TrimSuffix(o.ctl(""), "`"))
}

// explainedBalance is the whole answer about balance.
type explainedBalance struct {
	account
	pdapi.ExplainedBalance
}

func balanceVerdict(e pdapi.ExplainedBalance) string {
	moving := 0
	for _, k := range e.InFlight {
		moving += k.Count
	}
	uneven := ""
	switch {
	case !e.LeadersEven && !e.RegionsEven:
		uneven = "leaders and data are spread unevenly"
	case !e.LeadersEven:
		uneven = "leaders are spread unevenly; data is even enough"
	case !e.RegionsEven:
		uneven = "data is spread unevenly; leaders are even enough"
	}
	switch {
	case moving > 0 && uneven == "":
		return fmt.Sprintf("Leaders and data are even enough; operators in flight: %s.", kinds(e))
	case moving > 0:
		return fmt.Sprintf("%s; operators in flight: %s.", upperFirst(uneven), kinds(e))
	case uneven != "":
		return upperFirst(uneven) + ", and nothing moves at this moment."
	}
	return "Leaders and data are even enough: nothing has to move."
}

func kinds(e pdapi.ExplainedBalance) string {
	var words []string
	for _, k := range e.InFlight {
		word := fmt.Sprintf("%d %s", k.Count, k.Kind)
		if k.Limit > 0 {
			word += fmt.Sprintf(" (of at most %d)", k.Limit)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func standingRows(t table.Writer, e pdapi.ExplainedBalance) {
	head(t, "store>", "state", "leaders>", "score>", "regions>", "score>", "full>", "gets no more because")
	for _, s := range e.Stores {
		var why []string
		switch {
		case s.NoLeader == s.NoRegion && s.NoLeader != "":
			why = append(why, s.NoLeader)
		default:
			if s.NoLeader != "" {
				why = append(why, "leaders: "+s.NoLeader)
			}
			if s.NoRegion != "" {
				why = append(why, "regions: "+s.NoRegion)
			}
		}
		t.AppendRow(table.Row{
			s.Store, s.State, s.Leaders, score(s.LeaderScore), s.Regions, score(s.RegionScore), fmt.Sprintf("%.0f %%", 100*s.Used),
			wrap(strings.Join(why, "; "), 34),
		})
	}
}

// score is a number of few digits.
func score(n float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") }
