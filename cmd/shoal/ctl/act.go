package ctl

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// What all commands share that ask the scheduler for something, or have it change something.

// idArgument reads an id.
func idArgument(word string) (uint64, error) {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil || id == 0 {
		return 0, errors.Errorf("%q is not an id; it must be a number above 0", word)
	}
	return id, nil
}

// idArguments reads several.
func idArguments(words []string) ([]uint64, error) {
	var ids []uint64
	for _, word := range words {
		id, err := idArgument(word)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// ask asks the scheduler; an id is read from the first argument, if there is one.
func (o *options) ask(cmd *cobra.Command, args []string, action func(ctx context.Context, api *pdapi.Client, id uint64) error) error {
	var id uint64
	if len(args) > 0 {
		var err error
		if id, err = idArgument(args[0]); err != nil {
			return err
		}
	}
	return o.asking(cmd, func(ctx context.Context, api *pdapi.Client) error { return action(ctx, api, id) })
}

// asking asks the scheduler.
func (o *options) asking(cmd *cobra.Command, action func(ctx context.Context, api *pdapi.Client) error) error {
	api, err := pdapi.New(o.pd)
	if err != nil {
		return err
	}
	ctx, cancel := o.context(cmd)
	defer cancel()
	return o.explain(ctx, action(ctx, api))
}

// say answers with what the scheduler said, as JSON, or else with a sentence of our own.
func (o *options) say(cmd *cobra.Command, said, format string, args ...any) error {
	if o.output == asJSON {
		return o.print(cmd.OutOrStdout(), said, nil)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}

// ctl is how this cluster is asked from a shell, for hints.
func (o *options) ctl(rest string) string {
	if o.pd == usualPD || o.pd == os.Getenv(endpointsVariable) {
		return "`shoal ctl " + rest + "`"
	}
	return fmt.Sprintf("`shoal ctl --pd %s %s`", o.pd, rest)
}
