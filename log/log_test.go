package log

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestTextLine(t *testing.T) {
	var out bytes.Buffer
	l, err := newLogger(Default(), &out, nil)
	require.NoError(t, err)
	l.Debug("below the level")
	l.With(zap.Uint64("region", 7)).Info("peer created", zap.String("why", "a b"), zap.Error(errors.New("no]space")))
	require.Regexp(t, `^\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d\] \[INFO\] \[log_test\.go:\d+\] `+
		`\["peer created"\] \[region=7\] \[why="a b"\] \[error="no\]space"\]\n$`, out.String())
}

func TestErrorsCarryStacksOnlyWhenDebugging(t *testing.T) {
	for level, verbose := range map[string]bool{"info": false, "debug": true} {
		var out bytes.Buffer
		c := Default()
		c.Level = level
		l, err := newLogger(c, &out, nil)
		require.NoError(t, err)
		l.Error("write failed", zap.Error(errors.New("disk full")))
		require.Equal(t, verbose, strings.Contains(out.String(), "TestErrorsCarry"), out.String())
		require.Contains(t, out.String(), "disk full")
	}
}

func TestJSONLine(t *testing.T) {
	var out bytes.Buffer
	c := Default()
	c.Format = "json"
	l, err := newLogger(c, &out, nil)
	require.NoError(t, err)
	l.Warn("slow", zap.Int("ms", 3))
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "WARN", line["level"])
	require.Equal(t, "slow", line["message"])
	require.EqualValues(t, 3, line["ms"])
	require.NotEmpty(t, line["time"])
	require.Contains(t, line["caller"], "log_test.go:")
}

func TestLevelChangesWhileRunning(t *testing.T) {
	var out bytes.Buffer
	l, err := newLogger(Default(), &out, nil)
	require.NoError(t, err)
	child := l.With(zap.Int("k", 1))
	l.Level.SetLevel(zapcore.ErrorLevel)
	child.Info("unheard")
	require.Empty(t, out.String())
	l.Level.SetLevel(zapcore.DebugLevel)
	child.Debug("heard")
	require.Contains(t, out.String(), "heard")
}

func TestFileIsCreatedAndRotated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "er")
	c := Default()
	c.File.Filename = filepath.Join(dir, "store.log")
	c.File.MaxSize = 1
	l, err := New(c)
	require.NoError(t, err)
	require.FileExists(t, c.File.Filename, "a fresh logger has made sure that it can write")
	blob := strings.Repeat("x", 64<<10)
	for range 40 { // 2.5 MiB
		l.Info(blob)
	}
	require.NoError(t, l.Close())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 2)
}

func TestUnwritableFileIsAnError(t *testing.T) {
	c := Default()
	c.File.Filename = t.TempDir()
	_, err := New(c)
	require.ErrorContains(t, err, "log.file.filename")
	require.ErrorContains(t, err, c.File.Filename)
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"default":     {func(*Config) {}, ""},
		"other names": {func(c *Config) { c.Level = "WARNING" }, ""},
		"level":       {func(c *Config) { c.Level = "loud" }, `log.level: level "loud" is none of`},
		"format":      {func(c *Config) { c.Format = "xml" }, `log.format is "xml"; it must be text or json`},
		"size":        {func(c *Config) { c.File.MaxSize = 0 }, "log.file.max-size is 0; it must be between 1 and 4096"},
		"days":        {func(c *Config) { c.File.MaxDays = -1 }, "log.file.max-days is -1"},
		"backups":     {func(c *Config) { c.File.MaxBackups = -1 }, "log.file.max-backups is -1"},
		"critical":    {func(c *Config) { c.Level = "critical" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			tc.change(&c)
			err := c.Validate()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			_, err = New(c)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
