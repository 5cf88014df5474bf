package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// argument is what a kind of operator must be told: under which name, and what can be offered.
type argument struct {
	word, field string
	offer       offer
}

// operatorKind is one kind of operator that can be asked for.
type operatorKind struct {
	name, short, long, example string
	arguments                  []argument
	// many says that there may be more of the last argument.
	many bool
}

func operatorKinds() []operatorKind {
	region := argument{"REGION", "region_id", regionIDs}
	store := func(word, field string) argument { return argument{word, field, storeIDs} }
	return []operatorKind{
		{name: "transfer-leader", short: "Have the peer on a store lead", example: "12 3", arguments: []argument{region, store("STORE", "to_store_id")}},
		{
			name: "transfer-region", short: "Give a region exactly these stores", example: "12 1 2 4", many: true,
			long:      "Gives a region peers on exactly these stores. --roles says for each whether its peer is the leader, a voter, a follower or a learner.",
			arguments: []argument{region, store("STORE", "to_store_ids")},
		},
		{
			name: "transfer-peer", short: "Move a peer from one store to another", example: "12 1 4",
			arguments: []argument{region, store("FROM", "from_store_id"), store("TO", "to_store_id")},
		},
		{
			name: "add-peer", short: "Add a peer on a store", example: "12 4",
			long:      "Adds a peer on a store. A peer more than the placement rules ask for is removed again soon.",
			arguments: []argument{region, store("STORE", "store_id")},
		},
		{
			name: "add-learner", short: "Add a peer on a store that does not vote", example: "12 4",
			arguments: []argument{region, store("STORE", "store_id")},
		},
		{
			name: "remove-peer", short: "Remove the peer on a store", example: "12 4",
			long:      "Removes the peer on a store. If the placement rules miss it, another is made soon.",
			arguments: []argument{region, store("STORE", "store_id")},
		},
		{
			name: "merge-region", short: "Make a region vanish in a neighbour", example: "12 14",
			arguments: []argument{{"SOURCE", "source_region_id", regionIDs}, {"TARGET", "target_region_id", regionIDs}},
		},
		{
			name: "split-region", short: "Divide a region in the middle, or at keys", example: "12",
			long:      "Divides a region in the middle, or at the keys that --key names. `shoal ctl region split` does it at once, and shows the parts.",
			arguments: []argument{region},
		},
		{name: "scatter-region", short: "Spread a region's peers and lead", example: "12", arguments: []argument{region}},
	}
}

func operatorAddCommand(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Have something done to a region",
		Long: `Have something done to a region. Without --wait the answer is that it was begun; "shoal ctl operator show REGION" shows
how it goes on.`,
		Example: `  shoal ctl operator add transfer-leader 12 3
  shoal ctl operator add transfer-region 12 1 2 4 --roles leader,voter,learner
  shoal ctl operator add split-region 12 --key user5000 --wait`,
		Args: onlySubcommands, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: help,
	}
	for _, kind := range operatorKinds() {
		cmd.AddCommand(operatorKindCommand(opts, kind))
	}
	return cmd
}

func operatorKindCommand(opts *options, kind operatorKind) *cobra.Command {
	var wait bool
	var roles, keys []string
	var f forms
	use, offers := kind.name, []offer{}
	for _, a := range kind.arguments {
		use += " " + a.word
		offers = append(offers, a.offer)
	}
	count, complete := cobra.ExactArgs(len(kind.arguments)), opts.complete(offers...)
	if kind.many {
		use += "..."
		count = cobra.MinimumNArgs(len(kind.arguments))
		complete = opts.completeMany(offers...)
	}
	cmd := &cobra.Command{
		Use: use, Short: kind.short, Long: kind.long, Example: "  shoal ctl operator add " + kind.name + " " + kind.example,
		Args: count, ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			more := make(map[string]any)
			if len(roles) > 0 {
				if len(roles) != len(args)-1 {
					return errors.Errorf("--roles names %d roles for %d stores; there must be one for each", len(roles), len(args)-1)
				}
				more["peer_roles"] = roles
			}
			if len(keys) > 0 {
				at, err := f.parse(keys)
				if err != nil {
					return err
				}
				more["policy"], more["keys"] = "usekey", hexKeys(at)
			}
			return opts.addOperator(cmd, kind.name, args, more, wait)
		},
	}
	switch kind.name {
	case "transfer-region":
		cmd.Flags().StringSliceVar(&roles, "roles", nil, "`role` of each peer: leader, voter, follower or learner; voters if none is given")
	case "split-region":
		cmd.Flags().StringArrayVar(&keys, "key", nil, "a `key` at which to divide; may be given several times")
		f.flags(cmd)
		cmd.Example += "\n  shoal ctl operator add split-region 12 --key user3000 --key user6000"
	}
	waitFlag(cmd, &wait)
	return cmd
}

func hexKeys(keys [][]byte) []pdapi.HexKey {
	var list []pdapi.HexKey
	for _, key := range keys {
		list = append(list, key)
	}
	return list
}

// addOperator has something done to the region that the first argument names, and waits for the end if it is to.
func (o *options) addOperator(cmd *cobra.Command, name string, args []string, more map[string]any, wait bool) error {
	ids, err := idArguments(args)
	if err != nil {
		return err
	}
	fields := map[string]any{"name": name}
	for field, value := range more { // order-free: a map is made
		fields[field] = value
	}
	all := operatorKinds()
	kind := all[slices.IndexFunc(all, func(k operatorKind) bool { return k.name == name })]
	for i, a := range kind.arguments {
		fields[a.field] = ids[i]
	}
	if last := len(kind.arguments) - 1; kind.many {
		fields[kind.arguments[last].field] = ids[last:]
	}
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error {
		before, _ := api.Operator(ctx, ids[0]) // of a region that had none there is nothing to compare with
		said, err := api.AddOperator(ctx, fields)
		if err != nil {
			return err
		}
		now, err := api.Operator(ctx, ids[0])
		var refused *pdapi.Error
		if none := stderrors.As(err, &refused) && refused.Code == http.StatusNotFound; none || (err == nil && isSame(before, now)) {
			return o.say(cmd, said, "region %d is as it is to be", ids[0])
		}
		if !wait {
			return o.say(cmd, said, "begun; %s shows how it goes on", o.ctl("operator show "+args[0]))
		}
		op, err := awaitOperator(ctx, api, ids[0])
		if err != nil {
			return errors.Annotatef(err, "region %d: it was begun, and goes on; %s shows how", ids[0], o.ctl("operator show "+args[0]))
		}
		if op.Status != pdapi.OperatorSuccess {
			return errors.Errorf("region %d: %s, %s at step %d of %d", op.RegionID, op.Brief, ending(op), op.Current+1, len(op.Steps))
		}
		return o.say(cmd, said, "region %d: %s: done in %s", op.RegionID, op.Brief, brief(op.FinishedAt.Sub(op.CreatedAt)))
	})
}

// isSame says that nothing was begun since. The scheduler works out times anew for each answer.
func isSame(before, now pdapi.Operator) bool {
	return now.Status != pdapi.OperatorStarted && now.CreatedAt.Sub(before.CreatedAt).Abs() < time.Millisecond
}

const operatorPoll = 100 * time.Millisecond

// awaitOperator waits until a region's operator has ended.
func awaitOperator(ctx context.Context, api *pdapi.Client, region uint64) (pdapi.Operator, error) {
	poll := time.NewTicker(operatorPoll)
	defer poll.Stop()
	for {
		op, err := api.Operator(ctx, region)
		if err != nil || op.Status != pdapi.OperatorStarted {
			return op, err
		}
		select {
		case <-ctx.Done():
			return op, errors.Annotatef(ctx.Err(), "at step %d of %d", op.Current+1, len(op.Steps))
		case <-poll.C:
		}
	}
}

// wrap breaks a text into lines of a length.
func wrap(text string, length int) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > length {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(fmt.Sprint(line, " ", word))
	}
	return strings.Join(append(lines, line), "\n")
}
