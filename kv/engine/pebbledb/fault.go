package pebbledb

import (
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
)

// fault remembers the first failure. Whoever acknowledges something looks here last, after the work was done.
type fault struct {
	first   atomic.Pointer[engine.PoisonedError]
	onFatal func(error)
	logger  *zap.Logger
}

// fail poisons the engine; only the first failure counts.
func (f *fault) fail(cause error) {
	if !f.first.CompareAndSwap(nil, &engine.PoisonedError{Cause: cause}) {
		return
	}
	f.logger.Error("engine failed, it takes no more writes", zap.Error(cause))
	if f.onFatal != nil {
		f.onFatal(cause)
	}
}

// err is nil until the engine is poisoned.
func (f *fault) err() error {
	if p := f.first.Load(); p != nil {
		return p
	}
	return nil
}
