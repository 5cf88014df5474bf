package log

import (
	"strings"
	"sync"

	"github.com/pingcap/errors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ParseLevel reads the name of a level. "warning" and "critical" are other names that this family uses.
func ParseLevel(name string) (zapcore.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return zapcore.DebugLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "warn", "warning":
		return zapcore.WarnLevel, nil
	case "error":
		return zapcore.ErrorLevel, nil
	case "fatal", "critical":
		return zapcore.FatalLevel, nil
	}
	return 0, errors.Errorf("level %q is none of debug, info, warn, error, fatal", name)
}

// Level is what a logger's lines must reach to be written. Its methods are safe for concurrent use.
type Level struct {
	changing  sync.Mutex
	threshold zap.AtomicLevel
	logger    *zap.Logger
}

// Name is one of debug, info, warn, error and fatal.
func (l *Level) Name() string { return l.threshold.Level().String() }

// Set changes the level, for every logger that was derived from this one too, and logs that: while the more talkative of
// the two levels is in force, so that the line is seen. An error means that there is no level of that name.
func (l *Level) Set(name string) error {
	level, err := ParseLevel(name)
	if err != nil {
		return err
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	old := l.threshold.Level()
	l.threshold.SetLevel(min(old, level))
	if old != level {
		l.logger.Info("the log level is changed", zap.Stringer("from", old), zap.Stringer("to", level))
	}
	l.threshold.SetLevel(level)
	return nil
}

// stackCore writes errors with their stack traces while the level is debug, else without: those are many lines, and belong
// to whoever debugs.
type stackCore struct {
	zapcore.Core
	verbose zapcore.Core
}

// With implements zapcore.Core.
func (c *stackCore) With(fields []zapcore.Field) zapcore.Core {
	return &stackCore{Core: c.Core.With(fields), verbose: c.verbose.With(fields)}
}

// Check implements zapcore.Core.
func (c *stackCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(zapcore.DebugLevel) {
		return c.verbose.Check(e, checked)
	}
	return c.Core.Check(e, checked)
}
