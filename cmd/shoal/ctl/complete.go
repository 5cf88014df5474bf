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
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
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
		"by":       orderNames(),
		"kind":     operator.KindNames(),
		"only":     {addPeerLimit, removePeerLimit},
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

// offer is what one argument can be: words, each perhaps with a description after a tab.
type offer func(ctx context.Context, api *pdapi.Client) ([]string, error)

// completion is what cobra asks for what an argument can be.
type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// complete makes Tab offer for each argument what the scheduler answers, and nothing when it does not answer, or for further arguments.
func (o *options) complete(offers ...offer) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(offers) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return o.offered(cmd, offers[len(args)])
	}
}

// completeMany is complete, except that there may be any number of the last argument.
func (o *options) completeMany(offers ...offer) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return o.offered(cmd, offers[min(len(args), len(offers)-1)])
	}
}

func (o *options) offered(cmd *cobra.Command, what offer) ([]string, cobra.ShellCompDirective) {
	api, err := pdapi.New(o.pd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := o.context(cmd)
	defer cancel()
	ctx, cancelSooner := context.WithTimeout(ctx, askBy)
	defer cancelSooner()
	list, err := what(ctx, api)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// words offers what is always the same.
func words(list ...string) offer {
	return func(context.Context, *pdapi.Client) ([]string, error) { return list, nil }
}

// storeIDs offers the ids of the stores that there are, with their addresses.
func storeIDs(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
	stores, err := api.Stores(ctx)
	for _, s := range stores {
		ids = append(ids, cobra.CompletionWithDesc(strconv.FormatUint(s.Store.ID, 10), s.Store.Address))
	}
	return ids, err
}

// mostOffered is how many regions a person may want to choose from.
const mostOffered = 1024

// regionIDs offers the ids of the regions that there are, with their first keys.
func regionIDs(ctx context.Context, api *pdapi.Client) (ids []string, err error) {
	regions, err := api.RegionsBetween(ctx, nil, nil, mostOffered)
	for _, r := range regions {
		ids = append(ids, cobra.CompletionWithDesc(strconv.FormatUint(r.ID, 10), "from '"+form.Escaped.Show(r.StartKey)+"'"))
	}
	return ids, err
}

// memberNames offers the names of the schedulers of the group.
func memberNames(ctx context.Context, api *pdapi.Client) (names []string, err error) {
	group, err := api.Members(ctx)
	for _, m := range group.Members {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return names, err
}
