// Package rawclient opens the public client for commands that need one: after a quick look whether the cluster is there, so
// that what is wrong is said at once and not after the client's long patience, and with its global logger quiet.
package rawclient

import (
	"context"
	"strings"

	"github.com/pingcap/errors"
	textlog "github.com/pingcap/log"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/log"
)

// Open connects to the cluster of the schedulers at host:port,…; verbose shows on standard error what the client logs.
func Open(ctx context.Context, endpoints string, verbose bool) (*rawkv.Client, error) {
	api, err := pdapi.New(endpoints)
	if err != nil {
		return nil, err
	}
	if _, err := api.Stores(ctx); err != nil {
		return nil, err
	}
	if err := setClientLog(verbose); err != nil {
		return nil, err
	}
	client, err := rawkv.NewClient(ctx, strings.Split(endpoints, ","), config.Security{})
	return client, errors.Annotate(err, "cannot connect to the cluster")
}

// setClientLog takes the client's global logger away, or gives it one of ours.
func setClientLog(verbose bool) error {
	logger := zap.NewNop()
	if verbose {
		l, err := log.New(log.Default())
		if err != nil {
			return err
		}
		logger = l.Logger
	}
	textlog.ReplaceGlobals(logger, &textlog.ZapProperties{Core: logger.Core(), Level: zap.NewAtomicLevel()})
	return nil
}
