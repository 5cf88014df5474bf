package badgerdb

import (
	"sync"

	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
)

// fault remembers the first failure.
type fault struct {
	once    sync.Once
	first   *engine.PoisonedError
	failed  chan struct{} // closed when first is set
	onFatal func(error)
	logger  *zap.Logger
}

func newFault(logger *zap.Logger, onFatal func(error)) *fault {
	return &fault{failed: make(chan struct{}), onFatal: onFatal, logger: logger}
}

// fail poisons the engine; only the first failure counts.
func (f *fault) fail(cause error) {
	f.once.Do(func() {
		f.first = &engine.PoisonedError{Cause: cause}
		close(f.failed)
		f.logger.Error("engine failed, it takes no more writes", zap.Error(cause))
		if f.onFatal != nil {
			f.onFatal(cause)
		}
	})
}

// err is nil until the engine is poisoned.
func (f *fault) err() error {
	select {
	case <-f.failed:
		return f.first
	default:
		return nil
	}
}
