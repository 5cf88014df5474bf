// Package log makes the structured logger of a process: once, at its start, to be passed to whoever has something to say.
// There is no global logger and none is reachable from here.
//
// A line reads as the tools of this family expect it,
//
//	[2006/01/02 15:04:05.000 -07:00] [INFO] [file.go:1] ["message"] [key=value]
//
// or is a JSON object when Config.Format asks for that. It goes to standard error, or to a file that is rotated by size
// and that Reopen lets go of, for those who rotate files by other means. Errors carry a stack trace only while the level is
// debug: what an error means is said by its message. The level may change while the process runs (level.go).
//
// The encoder is pingcap/log's, the core zap's, the rotation lumberjack's; this package ties them together and owns what
// has to be closed.
package log

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pingcap/errors"
	textlog "github.com/pingcap/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/natefinch/lumberjack.v2"
)

// Config is how much is logged, in which form, and where to.
type Config struct {
	// Level is debug, info, warn, error or fatal (-L).
	Level string `toml:"level"`
	// Format is text, or json for one object a line.
	Format string `toml:"format"`
	File   File   `toml:"file"`
}

// File is a log file and its rotation.
type File struct {
	// Filename is the file to log to (-f); empty: standard error.
	Filename string `toml:"filename"`
	// MaxSize is the size in MB at which a file is rotated.
	MaxSize int `toml:"max-size"`
	// MaxDays is how many days rotated files are kept; 0: for ever.
	MaxDays int `toml:"max-days"`
	// MaxBackups is how many rotated files are kept; 0: all.
	MaxBackups int `toml:"max-backups"`
}

// Default logs text to standard error from level info up.
func Default() Config { return Config{Level: "info", Format: "text", File: File{MaxSize: 300}} }

// Limits of Config.
const (
	maxFileSize = 4096 // MB, what a file system without large files still takes
	maxCount    = 1 << 20
)

// Validate says what is wrong with the configuration, by key, value and limit.
func (c *Config) Validate() error {
	if _, err := ParseLevel(c.Level); err != nil {
		return errors.Annotate(err, "log.level")
	}
	if c.Format != "text" && c.Format != "json" {
		return errors.Errorf("log.format is %q; it must be text or json", c.Format)
	}
	for _, f := range []struct {
		key         string
		value       int
		least, most int
	}{
		{"max-size", c.File.MaxSize, 1, maxFileSize},
		{"max-days", c.File.MaxDays, 0, maxCount},
		{"max-backups", c.File.MaxBackups, 0, maxCount},
	} {
		if f.value < f.least || f.value > f.most {
			return errors.Errorf("log.file.%s is %d; it must be between %d and %d", f.key, f.value, f.least, f.most)
		}
	}
	return nil
}

// Logger is a logger with what belongs to it.
type Logger struct {
	*zap.Logger
	// Level may be changed while the process runs.
	Level *Level
	file  io.Closer // nil when standard error is written
}

// New makes a logger. It creates the log file's directory; a file that cannot be written is an error here rather than
// silence later.
func New(c Config) (*Logger, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.File.Filename == "" {
		return newLogger(c, os.Stderr, nil)
	}
	if err := probe(c.File.Filename); err != nil {
		return nil, errors.Annotatef(err, "log.file.filename %q", c.File.Filename)
	}
	file := &lumberjack.Logger{
		Filename: c.File.Filename, MaxSize: c.File.MaxSize, MaxAge: c.File.MaxDays, MaxBackups: c.File.MaxBackups, LocalTime: true,
	}
	return newLogger(c, file, file)
}

func newLogger(c Config, w io.Writer, file io.Closer) (*Logger, error) {
	level, err := ParseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	threshold := zap.NewAtomicLevelAt(level)
	out := zapcore.Lock(zapcore.AddSync(w))
	terse, err := textlog.NewTextEncoder(&textlog.Config{Format: c.Format, DisableErrorVerbose: true})
	if err != nil {
		return nil, errors.Trace(err)
	}
	verbose, err := textlog.NewTextEncoder(&textlog.Config{Format: c.Format})
	if err != nil {
		return nil, errors.Trace(err)
	}
	core := &stackCore{Core: textlog.NewTextCore(terse, out, threshold), verbose: textlog.NewTextCore(verbose, out, threshold)}
	logger := zap.New(core, zap.AddCaller(), zap.ErrorOutput(out))
	return &Logger{Logger: logger, Level: &Level{threshold: threshold, logger: logger}, file: file}, nil
}

// probe creates the file, and the directory that it is in.
func probe(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// HasFile reports whether a file is written rather than standard error.
func (l *Logger) HasFile() bool { return l.file != nil }

// Reopen lets go of the log file; the next line goes to a file of the configured name, a new one if that was moved away.
// Standard error is left alone.
func (l *Logger) Reopen() error {
	if l.file == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close the log file: %w", err)
	}
	return nil
}

// Close releases the log file. Lines written later reopen it; standard error is left alone.
func (l *Logger) Close() error { return l.Reopen() }
