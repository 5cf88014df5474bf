package ctl

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// What Tab offers, in the shells that `shoal completion` serves and in our own.

// flagValues are what flags can be, by their names, where that is a short list.
func flagValues() map[string][]string {
	return map[string][]string{
		"read-as":  form.Names,
		"show-as":  form.Names,
		"encoding": form.Names,
		"format":   rowfile.Formats,
		"output":   {string(asTable), string(asJSON)},
		"cf":       {"default", "lock", "write"},
	}
}

// offerFlagValues makes a tree complete the values of its flags: with those that there are, and never with the files that there happen to be. Cobra
// keeps what it is told here for as long as the process lives, so a tree that is to run just one line does without.
func offerFlagValues(cmd *cobra.Command) {
	values := flagValues()
	offer := func(f *pflag.Flag) {
		if err := cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values[f.Name], cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag is there, and nobody else registers any
		}
	}
	cmd.LocalNonPersistentFlags().VisitAll(offer)
	cmd.PersistentFlags().VisitAll(offer)
	for _, sub := range cmd.Commands() {
		offerFlagValues(sub)
	}
}

// completeRowFile offers files that export and import know by their names.
func completeRowFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return rowfile.Extensions, cobra.ShellCompDirectiveFilterFileExt
}

// askBy is how long Tab waits for a scheduler.
const askBy = time.Second

// completeStore offers the ids of the stores that there are, with their addresses.
func (o *options) completeStore(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.completeID(cmd, args, func(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
		stores, err := api.Stores(ctx)
		for _, s := range stores {
			ids = append(ids, cobra.CompletionWithDesc(strconv.FormatUint(s.Store.ID, 10), s.Store.Address))
		}
		return ids, err
	})
}

// completeRegion offers the ids of the regions that there are, with their first keys.
func (o *options) completeRegion(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.completeID(cmd, args, func(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
		regions, err := api.Regions(ctx)
		for _, r := range regions {
			ids = append(ids, cobra.CompletionWithDesc(strconv.FormatUint(r.ID, 10), "from '"+form.Escaped.Show(r.StartKey)+"'"))
		}
		return ids, err
	})
}

// completeMember offers the names of the schedulers.
func (o *options) completeMember(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.completeID(cmd, args, func(ctx context.Context, api *pdapi.Client) (names []string, err error) {
		group, err := api.Members(ctx)
		for _, m := range group.Members {
			if m.Name != "" {
				names = append(names, m.Name)
			}
		}
		return names, err
	})
}

// completeID offers what the scheduler answers, and nothing when it does not.
func (o *options) completeID(
	cmd *cobra.Command, args []string, ids func(ctx context.Context, api *pdapi.Client) ([]string, error),
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	api, err := pdapi.New(o.pd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := o.context(cmd)
	defer cancel()
	ctx, cancelSooner := context.WithTimeout(ctx, askBy)
	defer cancelSooner()
	list, err := ids(ctx, api)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
