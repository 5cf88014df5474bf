package ctl

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	tikverr "github.com/tikv/client-go/v2/error"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// explain adds to an error, met within ctx, what to do about it.
func (o *options) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil && !stderrors.Is(err, cause) { // not everything below says why it gave up
		err = fmt.Errorf("%w: %w", cause, err)
	}
	var refused *pdapi.Error
	switch {
	case stderrors.As(err, &refused) && strings.Contains(refused.Message, "not bootstrapped"):
		return errors.Annotatef(err, "the cluster has no store yet; start one with `shoal store --pd %s`", o.pd)
	case stderrors.Is(err, context.Canceled):
		return errors.Annotate(err, "interrupted")
	case stderrors.Is(err, context.DeadlineExceeded):
		return errors.Annotatef(err, "no answer within %v; `shoal ctl --pd %s store` shows which stores are up, --timeout waits longer", o.timeout, o.pd)
	case unanswered(err):
		return errors.Annotatef(err, "no store answers for the key; `shoal ctl --pd %s store` shows which stores are up, `region` who leads", o.pd)
	case strings.Contains(err.Error(), "ttl is not supported"), strings.Contains(err.Error(), "enable-ttl"):
		return errors.Annotate(err, "this cluster keeps no time to live; its stores must be made with storage.enable-ttl = true in their configuration")
	}
	return err
}

// unanswered are the errors with which the client gives up.
func unanswered(err error) bool {
	return stderrors.Is(err, tikverr.ErrRegionUnavailable) || stderrors.Is(err, tikverr.ErrTiKVServerTimeout) ||
		stderrors.Is(err, tikverr.ErrTiKVServerBusy)
}

// undetermined says of a write that failed within ctx what is not known, unless a store has refused it.
func undetermined(ctx context.Context, err error) error {
	if err == nil || (ctx.Err() == nil && !unanswered(err)) {
		return err
	}
	return fmt.Errorf("%w; the write may have happened or not", err)
}

// unknown says how to find the ids that there are.
func unknown(err error, what string, id uint64) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return errors.Errorf("there is no %s %d; `shoal ctl %s` lists all", what, id, what)
	}
	return err
}

// onlySubcommands is for commands that do nothing themselves: without arguments they show their help.
func onlySubcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	cmd.SuggestionsMinimumDistance = 2 // letters, which cobra has as its default in another place only
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		hint = fmt.Sprintf("did you mean %s? ", strings.Join(like, " or "))
	}
	return errors.Errorf("unknown command %q for %q; %s`%s --help` lists all", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
}

// help shows what there is.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
