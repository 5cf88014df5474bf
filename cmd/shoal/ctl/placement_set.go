package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

func placementSetCommand(opts *options, f *forms) *cobra.Command {
	return &cobra.Command{
		Use:   "set FILE|-",
		Short: "Add rules from a file or standard input, or change those of the same names",
		Long: `Add rules from a file, or from standard input, or change those of the same names: all of them or none. The file holds one
rule or a list of rules, as "shoal ctl placement show -o json" writes them:

  [{"group_id": "pd", "id": "orders", "index": 1, "override": true,
    "start_key": "6F", "end_key": "70", "role": "voter", "count": 5,
    "label_constraints": [{"key": "disk", "op": "in", "values": ["ssd"]}],
    "location_labels": ["zone", "host"]}]

Keys are hexadecimal digits; op is in, notIn, exists or notExists.`,
		Example: `  shoal ctl placement set rules.json
  shoal ctl placement set - < rules.json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeJSONFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := readRules(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			return opts.setRules(cmd, f, rules)
		},
	}
}

func completeJSONFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
}

// longestRules bounds a file of rules, in bytes.
const longestRules = 4 << 20

// readRules reads one rule or several, and refuses what would be overlooked.
func readRules(in io.Reader, name string) ([]*placement.Rule, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close() // only read from
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, longestRules))
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '{' {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	var rules []*placement.Rule
	var fields []map[string]any
	if err = json.Unmarshal(text, &rules); err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return nil, errors.Annotatef(err, "%s holds no placement rules; `shoal ctl placement set --help` shows how they are written", name)
	}
	if len(rules) == 0 {
		return nil, errors.Errorf("%s holds no rule", name)
	}
	known := []string{
		"group_id", "id", "index", "override", "start_key", "end_key", "role", "count", "label_constraints", "location_labels", "isolation_level",
		"is_witness", "version", "create_timestamp", // which others in the family write
	}
	for i, r := range rules {
		if r == nil {
			return nil, errors.Errorf("%s: rule %d is null", name, i+1)
		}
		for field := range fields[i] { // order-free: any will do
			if !slices.Contains(known, field) {
				return nil, errors.Errorf("%s: rule %s has a field %q, which no rule has; there are %s", name, r.Name(), field, strings.Join(known[:11], ", "))
			}
		}
		if err := r.Check(); err != nil {
			return nil, errors.Annotate(err, name)
		}
	}
	return rules, nil
}

func (o *options) setRules(cmd *cobra.Command, f *forms, rules []*placement.Rule) error {
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		return o.putRules(ctx, cmd, api, f, rules)
	})
}

// putRules sets rules and shows them.
func (o *options) putRules(ctx context.Context, cmd *cobra.Command, api *pdapi.Client, f *forms, rules []*placement.Rule) error {
	said, err := api.SetRules(ctx, rules)
	if err != nil {
		return err
	}
	if o.output == asJSON {
		return o.print(cmd.OutOrStdout(), said, nil)
	}
	return o.print(cmd.OutOrStdout(), rules, func(t table.Writer) { ruleRows(t, rules, f.out) })
}

// replicasRule begins the ids of rules that placement replicas makes.
const replicasRule = "replicas"

func placementReplicasCommand(opts *options, f *forms) *cobra.Command {
	var prefix bool
	cmd := &cobra.Command{
		Use:   "replicas START END N",
		Short: "Say how many replicas a range of keys has",
		Long: `Say how many replicas a range of keys has: from START up to END, or with --prefix all keys that begin with START (no END then). An
empty word '' is the first or the last of all keys.

It makes a rule that takes the place of pd/default there, with the same location labels, and of earlier ones of its kind.
Regions are divided where the range begins and ends. "shoal ctl placement remove" ends it.`,
		Example: `  shoal ctl placement replicas --prefix orders/ 5
  shoal ctl placement replicas user1 user5 1
  shoal ctl placement replicas z '' 5`,
		Args: cobra.RangeArgs(2, 3), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			n, err := strconv.Atoi(args[last])
			if err != nil || n < 1 {
				return errors.Errorf("%q is not a number of replicas; it must be at least 1", args[last])
			}
			if !prefix && last != 2 {
				return errors.New("START and END say which range; one word alone needs --prefix")
			}
			span, err := f.span(args[:last], prefix)
			if err != nil {
				return err
			}
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				rule, err := replicas(ctx, api, span, n)
				if err != nil {
					return err
				}
				if err := opts.putRules(ctx, cmd, api, f, []*placement.Rule{rule}); err != nil || opts.output == asJSON {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s ends it\n", opts.ctl("placement remove "+rule.GroupID+" "+rule.ID))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&prefix, "prefix", false, "the keys that begin with START")
	return cmd
}

// replicasName is the id of the rule for a range: its keys as they are where that is unmistakable, or else in hexadecimal digits.
func replicasName(span keyRange) string {
	plain := regexp.MustCompile(`^[g-zG-Z][0-9A-Za-z_.]{0,30}$`) // not to be taken for digits
	if plain.Match(span.start) && plain.Match(span.end) {
		return fmt.Sprintf("%s-%s-%s", replicasRule, span.start, span.end)
	}
	return fmt.Sprintf("%s-%X-%X", replicasRule, span.start, span.end)
}

// replicas makes the rule that asks for n replicas of a range, after those that hold.
func replicas(ctx context.Context, api *pdapi.Client, span keyRange, n int) (*placement.Rule, error) {
	rules, err := api.Rules(ctx)
	if err != nil {
		return nil, err
	}
	r := &placement.Rule{
		GroupID: placement.DefaultGroup, ID: replicasName(span), Override: true,
		StartKey: span.start, EndKey: span.end, Role: placement.Voter, Count: n,
	}
	for _, other := range rules {
		if other.GroupID != r.GroupID {
			continue
		}
		if other.ID == placement.DefaultID {
			r.LocationLabels, r.IsolationLevel = other.LocationLabels, other.IsolationLevel
		}
		if other.ID == r.ID { // it is changed, and stays where it is
			r.Index = other.Index
			return r, r.Check()
		}
		r.Index = max(r.Index, other.Index+1)
	}
	return r, r.Check()
}
