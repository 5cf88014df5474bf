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
	"go.uber.org/zap/zapcore"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/log"
)

// Open connects to the cluster of the schedulers at host:port,…; verbose shows on standard error what the client logs. The client lives on when
// ctx ends; only opening it ends then.
func Open(ctx context.Context, endpoints string, verbose bool) (*rawkv.Client, error) {
	api, err := pdapi.New(endpoints)
	if err != nil {
		return nil, err
	}
	stores, err := api.Stores(ctx)
	if err != nil {
		return nil, err
	}
	if len(stores) == 0 {
		return nil, errors.Errorf("the scheduler at %s has no stores; start one with `shoal store --pd %s`", endpoints, endpoints)
	}
	if err := setClientLog(verbose); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	opened := context.AfterFunc(ctx, end)
	client, err := rawkv.NewClient(life, strings.Split(endpoints, ","), config.Security{})
	if err == nil && !opened() {
		_ = client.Close() // nobody waits for it any more
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		return nil, errors.Annotate(err, "cannot connect to the cluster")
	}
	return client, nil
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
	// The client ends the process when another cluster answers than before; a command ends with the error instead.
	logger = logger.WithOptions(zap.WithFatalHook(goOn{}))
	textlog.ReplaceGlobals(logger, &textlog.ZapProperties{Core: logger.Core(), Level: zap.NewAtomicLevel()})
	return nil
}

// goOn does nothing after a fatal message.
type goOn struct{}

func (goOn) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) {}
