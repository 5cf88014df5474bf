package ctl

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// configCommand is about the scheduler's configuration, which is changed while everything runs; config_items.go has what the keys mean.
func configCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change how regions are scheduled, while everything runs",
		Example: `  shoal ctl config show
  shoal ctl config show merge
  shoal ctl config set max-replicas 5
  shoal ctl config set location-labels zone,host`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	cmd.AddCommand(configShowCommand(opts), configSetCommand(opts))
	return cmd
}

// shownItem is a key of the configuration as it is shown.
type shownItem struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Allowed string `json:"allowed,omitempty"`
	Meaning string `json:"meaning,omitempty"`
}

func configShowCommand(opts *options) *cobra.Command {
	var changed bool
	cmd := &cobra.Command{
		Use:   "show [WORD]",
		Short: "Show the configuration: values, defaults, and what they mean",
		Long: `Show the configuration: values, defaults, and what they mean. WORD shows only keys with this in their name, or those of one
section: replication or schedule. A * marks values that are not the default.`,
		Example: `  shoal ctl config show
  shoal ctl config show limit
  shoal ctl config show replication
  shoal ctl config show --changed
  shoal ctl config show max-replicas -o json`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: opts.complete(configNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			word := strings.Join(args, "")
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				all, err := configItems(ctx, api)
				if err != nil {
					return err
				}
				shown := slices.DeleteFunc(all, func(i shownItem) bool {
					return (!strings.Contains(i.Name, word) && i.Section != word) || (changed && i.Value == i.Default)
				})
				if len(shown) == 0 && word != "" && !changed {
					return errors.Errorf("no key of the configuration has %q in its name; %s lists all", word, opts.ctl("config show"))
				}
				if opts.output == asTable && len(shown) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "everything is as by default")
					return err
				}
				return opts.print(cmd.OutOrStdout(), shown, func(t table.Writer) { configRows(t, shown) })
			})
		},
	}
	cmd.Flags().BoolVar(&changed, "changed", false, "only what is not as by default")
	return cmd
}

// configItems joins what holds with what would by default.
func configItems(ctx context.Context, api *pdapi.Client) ([]shownItem, error) {
	now, err := api.Config(ctx)
	if err != nil {
		return nil, err
	}
	usual, err := api.DefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	var all []shownItem
	for _, section := range []string{"replication", "schedule"} {
		for _, name := range slices.Sorted(maps.Keys(now[section])) {
			value, ok := plainText(now[section][name])
			if !ok {
				continue // it has parts, which are keys of their own
			}
			i := shownItem{Section: section, Name: name, Value: value, Meaning: configMeanings()[name].meaning, Allowed: configMeanings()[name].allowed}
			i.Default, _ = plainText(usual[section][name])
			all = append(all, i)
		}
	}
	return all, nil
}

// plainText is a value as people write it, if it is one that they do.
func plainText(value json.RawMessage) (string, bool) {
	var text string
	switch {
	case len(value) == 0 || value[0] == '{' || value[0] == '[':
		return "", false
	case json.Unmarshal(value, &text) == nil:
		return text, true
	}
	return string(value), true
}

func configRows(t table.Writer, items []shownItem) {
	const widest = 36
	head(t, "key", "value", "default", "meaning")
	for _, i := range items {
		if i.Value != i.Default {
			i.Value += " *"
		}
		t.AppendRow(table.Row{i.Name, i.Value, i.Default, wrap(i.Meaning, widest)})
	}
}

// configNames offers the keys, with their values.
func configNames(ctx context.Context, api *pdapi.Client) (names []string, err error) {
	items, err := configItems(ctx, api)
	for _, i := range items {
		names = append(names, cobra.CompletionWithDesc(i.Name, i.Value))
	}
	return names, err
}

func configSetCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Change one key of the configuration; it holds at once, and from then on",
		Example: `  shoal ctl config set leader-schedule-limit 8
  shoal ctl config set max-store-down-time 1h
  shoal ctl config set location-labels zone,host`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			offers := []offer{configNames}
			if len(args) > 0 {
				offers = append(offers, words(configMeanings()[args[0]].choices()...))
			}
			return opts.complete(offers...)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return opts.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
				return opts.setConfig(ctx, cmd, api, args[0], args[1])
			})
		},
	}
}

func (o *options) setConfig(ctx context.Context, cmd *cobra.Command, api *pdapi.Client, name, value string) error {
	items, err := configItems(ctx, api)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(items, func(i shownItem) bool { return i.Name == name })
	if at < 0 {
		return o.unknownKey(name, items)
	}
	said, err := api.SetConfig(ctx, map[string]any{name: value})
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && refused.Code == http.StatusBadRequest && items[at].Allowed != "" && !strings.Contains(refused.Message, " must ") {
		said := strings.TrimPrefix(refused.Message, name+" ")
		if said == refused.Message {
			said = ": " + said
		} else {
			said = " " + said
		}
		return errors.Errorf("%s%s; it must be %s", name, said, items[at].Allowed)
	}
	if err != nil {
		return err
	}
	after, err := configItems(ctx, api)
	if err != nil {
		return errors.Annotatef(err, "%s is set", name)
	}
	if at = slices.IndexFunc(after, func(i shownItem) bool { return i.Name == name }); at >= 0 {
		value = after[at].Value // as the scheduler writes it
	}
	return o.say(cmd, said, "%s: %s -> %s", name, quoteEmpty(items[max(at, 0)].Value), quoteEmpty(value))
}

func quoteEmpty(s string) string {
	if s == "" {
		return "''"
	}
	return s
}

// unknownKey says which was perhaps meant.
func (o *options) unknownKey(name string, items []shownItem) error {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	var like []string
	for _, i := range items {
		has := 0
		for _, p := range parts {
			if strings.Contains(i.Name, p) {
				has++
			}
		}
		if has > len(parts)/2 {
			like = append(like, i.Name)
		}
	}
	hint := ""
	if len(like) > 0 {
		hint = "did you mean " + strings.Join(like, " or ") + "? "
	}
	return errors.Errorf("the configuration has no key %s; %s%s lists all", name, hint, o.ctl("config show"))
}
