package playground

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// The commands about a playground that runs. They find it by its socket (control.go).

const (
	pollScaled = 100 * time.Millisecond
	upWithin   = 2 * time.Minute
)

func atFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "`host:port` of its first scheduler, when several playgrounds run")
}

func displayCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "display", Short: "Show the processes of the playground that runs",
		Example: `  shoal playground display
  shoal playground display --at 127.0.0.1:2479`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd)
			defer stop()
			r, err := findRemote(ctx, at)
			if err != nil {
				return err
			}
			t := table.NewWriter()
			t.SetOutputMirror(cmd.OutOrStdout())
			t.SetStyle(table.StyleLight)
			t.AppendHeader(table.Row{"process", "pid", "address", "state"})
			for _, part := range r.parts.Parts {
				state := "running"
				if !part.Running {
					state = "ended"
				}
				t.AppendRow(table.Row{part.Name, part.PID, part.Addr, state})
			}
			t.Render()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "--pd %s, data and logs in %s\n", r.parts.PD, r.parts.Dir)
			return err
		},
	}
	atFlag(cmd, &at)
	return cmd
}

func scaleOutCommand() *cobra.Command {
	var at string
	count := 1
	cmd := &cobra.Command{
		Use:   "scale-out",
		Short: "Add stores to the playground that runs",
		Long: `Add stores to the playground that runs. It starts them itself: they end with it, and are kept in the same directory. The scheduler moves
data to them by itself.`,
		Example: `  shoal playground scale-out
  shoal playground scale-out --kv 2`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 || count > maxStores {
				return errors.Errorf("--kv is %d; it must be between 1 and %d", count, maxStores)
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			return scaleOut(ctx, cmd, at, count)
		},
	}
	cmd.Flags().IntVar(&count, "kv", count, "`number` of stores to add")
	atFlag(cmd, &at)
	return cmd
}

// findCluster finds a running playground, and its schedulers.
func findCluster(ctx context.Context, at string) (*remote, *pdapi.Client, error) {
	r, err := findRemote(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	api, err := pdapi.New(r.parts.PD)
	return r, api, err
}

func scaleOut(ctx context.Context, cmd *cobra.Command, at string, count int) error {
	r, api, err := findCluster(ctx, at)
	if err != nil {
		return err
	}
	var added parts
	if err := r.ask(ctx, http.MethodPost, fmt.Sprintf("/stores?count=%d", count), &added); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	for _, p := range added.Parts {
		id, err := waitUp(ctx, api, p.Addr)
		if err != nil {
			return errors.Annotatef(err, "%s was started, and is not up yet; its log is in %s", p.Name, added.Dir)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is up at %s as store %d\n", p.Name, p.Addr, id)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "regions move to it by and by: `shoal ctl --pd %s store`\n", strings.Split(r.parts.PD, ",")[0])
	return nil
}

// waitUp waits until the scheduler hears of a store, and returns its id.
func waitUp(ctx context.Context, api *pdapi.Client, addr string) (uint64, error) {
	poll := time.NewTicker(pollScaled)
	defer poll.Stop()
	for {
		stores, err := api.Stores(ctx)
		at := slices.IndexFunc(stores, func(s pdapi.Store) bool { return s.Store.Address == addr && s.Store.StateName == pdapi.Up })
		if err == nil && at >= 0 {
			return stores[at].Store.ID, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-poll.C:
		}
	}
}

func scaleInCommand() *cobra.Command {
	var at string
	var id uint64
	cmd := &cobra.Command{
		Use:   "scale-in --store ID",
		Short: "Take a store out of the playground that runs: drain it, then stop it",
		Long: `Take a store out of the playground that runs. The scheduler drains it, which this shows; when it is a tombstone its process is stopped
and its data removed. Ctrl-C stops waiting only: the same command waits again, "shoal ctl store cancel-delete ID" takes the store back.`,
		Example: `  shoal playground scale-in --store 4`,
		Args:    cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if id == 0 {
				return errors.New("say which store: --store ID; `shoal ctl store` shows them")
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			return scaleIn(ctx, cmd, at, id)
		},
	}
	cmd.Flags().Uint64Var(&id, "store", 0, "`id` of the store, as `shoal ctl store` shows it")
	atFlag(cmd, &at)
	return cmd
}

func scaleIn(ctx context.Context, cmd *cobra.Command, at string, id uint64) error {
	r, api, err := findCluster(ctx, at)
	if err != nil {
		return err
	}
	store, err := api.Store(ctx, id)
	if err != nil {
		var refused *pdapi.Error
		if stderrors.As(err, &refused) && refused.Code == http.StatusNotFound {
			return errors.Errorf("there is no store %d; `shoal ctl --pd %s store` shows them", id, r.parts.PD)
		}
		return err
	}
	i := slices.IndexFunc(r.parts.Parts, func(p part) bool { return p.Store && p.Addr == store.Store.Address })
	if i < 0 {
		return errors.Errorf("store %d at %s is no part of this playground", id, store.Store.Address)
	}
	began := time.Now()
	if store.Store.StateName != pdapi.Tombstone {
		if _, err := api.DeleteStore(ctx, id, false); err != nil {
			return whyNot(err, r.parts.PD)
		}
		if err := api.WaitDrained(ctx, id, func(left string) { cmd.PrintErrln(left) }); err != nil {
			return errors.Annotatef(err, "store %d goes on being drained; the same command waits again, `shoal ctl --pd %s store cancel-delete %d` takes it back",
				id, r.parts.PD, id)
		}
	}
	name := r.parts.Parts[i].Name
	if err := r.ask(ctx, http.MethodDelete, "/stores/"+name, nil); err != nil {
		return errors.Annotatef(err, "store %d is a tombstone, but %s was not stopped", id, name)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "store %d (%s) was drained in %v and is stopped\n", id, name, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// whyNot says what to do about a store that is needed.
func whyNot(err error, pd string) error {
	var refused *pdapi.Error
	if stderrors.As(err, &refused) && strings.Contains(refused.Message, "ErrStoresNotEnough") {
		return fmt.Errorf("%w; add one first (`shoal playground scale-out`), or have fewer replicas (`shoal ctl --pd %s config set max-replicas N`)", err, pd)
	}
	return err
}

// interruptible ends with Ctrl-C.
func interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
