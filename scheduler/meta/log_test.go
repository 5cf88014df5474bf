package meta

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestEtcdIsHeardAsFarAsItMatters says the same at each level of the scheduler's log.
func TestEtcdIsHeardAsFarAsItMatters(t *testing.T) {
	for level, want := range map[zapcore.Level][]string{
		zapcore.DebugLevel: {"elected", "slow", "broken"},
		zapcore.InfoLevel:  {"slow", "broken"},
		zapcore.ErrorLevel: {"broken"},
	} {
		core, heard := observer.New(level)
		var closing atomic.Bool
		l := quiet(zap.New(core), &closing).With(zap.Int("member", 1))
		l.Debug("a heartbeat")
		l.Info("elected")
		l.Warn("slow")
		l.Warn("check file permission")
		l.Error("broken")
		closing.Store(true)
		l.Error("of no matter any more")
		var got []string
		for _, e := range heard.All() {
			require.Equal(t, "etcd", e.LoggerName)
			got = append(got, e.Message)
		}
		require.Equal(t, want, got)
	}
}
