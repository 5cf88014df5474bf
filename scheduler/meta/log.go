package meta

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quietCore passes on what etcd has to say to an operator: warnings and errors, without those that every start and every
// end of an embedded etcd brings. Its informational lines are for whoever debugs.
type quietCore struct {
	zapcore.Core
	closing *atomic.Bool
}

func quiet(log *zap.Logger, closing *atomic.Bool) *zap.Logger {
	return log.Named("etcd").WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return &quietCore{Core: c, closing: closing}
	}))
}

// Enabled implements zapcore.LevelEnabler.
func (q *quietCore) Enabled(level zapcore.Level) bool {
	if level < zapcore.WarnLevel && (level < zapcore.InfoLevel || !q.Core.Enabled(zapcore.DebugLevel)) {
		return false
	}
	return q.Core.Enabled(level)
}

// With implements zapcore.Core.
func (q *quietCore) With(fields []zapcore.Field) zapcore.Core {
	return &quietCore{Core: q.Core.With(fields), closing: q.closing}
}

// Check implements zapcore.Core.
func (q *quietCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !q.Enabled(e.Level) || (e.Level < zapcore.DPanicLevel && (q.closing.Load() || isRoutine(e.Message))) {
		return checked
	}
	return q.Core.Check(e, checked)
}

// isRoutine knows the complaints about how we run etcd on purpose, and about a storage version that etcd reads before it
// has written it.
func isRoutine(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"exceeded recommended request limit",
		"check file permission",
		"simple token is not cryptographically signed",
		"Failed to detect schema version",
		"failed to update storage version":
		return true
	}
	return false
}
