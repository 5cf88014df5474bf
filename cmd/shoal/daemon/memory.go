package daemon

import (
	"math"
	"os"
	"runtime/debug"

	"go.uber.org/zap"
)

// memoryVariable is Go's own; Go has read it before main began.
const memoryVariable = "GOMEMLIMIT"

// LimitMemory tells the garbage collector how many bytes the process may use, and logs the limit in force. It is a soft one: near it
// the collector works harder, and nothing is refused. GOMEMLIMIT in the environment goes before; 0 leaves everything as it is.
func LimitMemory(limit uint64, logger *zap.Logger) {
	if text := os.Getenv(memoryVariable); text != "" {
		logger.Info("memory is limited by the environment", zap.String(memoryVariable, text), zap.Int64("bytes", debug.SetMemoryLimit(-1)),
			zap.Bool("instead-of-memory-usage-limit", limit != 0))
		return
	}
	if limit == 0 {
		return
	}
	debug.SetMemoryLimit(int64(min(limit, math.MaxInt64)))
	logger.Info("memory is limited by memory-usage-limit", zap.Uint64("bytes", limit))
}
