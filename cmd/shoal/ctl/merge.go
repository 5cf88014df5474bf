package ctl

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// mergeCommand asks the store that leads a region to merge it into a neighbour.
func mergeCommand(opts *options) *cobra.Command {
	return &cobra.Command{
		Use:   "merge SOURCE TARGET",
		Short: "Make a region vanish in a neighbour on the same stores",
		Long: "Asks the store that leads SOURCE to merge it into TARGET, which must be its neighbour and have its peers on the same stores. " +
			"It ends when SOURCE is prepared. The merge follows, or is called off when TARGET changes first; `shoal ctl region` shows which.",
		Example: `  shoal ctl region merge 12 14`,
		Args:    cobra.ExactArgs(2), ValidArgsFunction: opts.completeRegion,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return errors.Errorf("%q is not a region's id", args[1])
			}
			return opts.ask(cmd, args[:1], func(ctx context.Context, api *pdapi.Client, source uint64) error {
				if err := mergeRegion(ctx, api, source, target); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "region %d is prepared to merge into region %d\n", source, target)
				return err
			})
		},
	}
}

func mergeRegion(ctx context.Context, api *pdapi.Client, source, target uint64) error {
	r, err := api.Region(ctx, source)
	if err != nil {
		return unknown(err, "region", source)
	}
	if r.Leader == nil || r.Leader.StoreID == 0 {
		return errors.Errorf("region %d has no leader now", source)
	}
	store, err := api.Store(ctx, r.Leader.StoreID)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("http://%s/region/%d/merge?target=%d", store.Store.StatusAddress, source, target)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return errors.Trace(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.Annotatef(err, "store %d", r.Leader.StoreID)
	}
	defer res.Body.Close() // only read from
	reason, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(reason)))
	}
	return errors.Annotatef(err, "store %d", r.Leader.StoreID)
}
