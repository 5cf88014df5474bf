package log

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
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
	child := l.With(zap.Int("k", 1), zap.NamedError("cause", errors.New("disk full")))
	require.NoError(t, l.Level.Set("ERROR"))
	require.Equal(t, "error", l.Level.Name())
	require.Contains(t, out.String(), `["the log level is changed"] [from=info] [to=error]`)
	out.Reset()
	child.Info("unheard")
	require.Empty(t, out.String())

	require.NoError(t, l.Level.Set("debug"))
	require.Contains(t, out.String(), "[from=error] [to=debug]", "seen although the level was above that line's")
	child.Debug("heard")
	require.Contains(t, out.String(), `[heard] [k=1]`)
	require.Contains(t, out.String(), "TestLevelChangesWhileRunning\\n", "stack traces come with the level")

	require.NoError(t, l.Level.Set("info"))
	out.Reset()
	require.NoError(t, l.Level.Set("info"))
	require.Empty(t, out.String(), "nothing has changed")
	child.Info("again")
	require.NotContains(t, out.String(), "TestLevelChangesWhileRunning", "and go with it")

	require.ErrorContains(t, l.Level.Set("loud"), `level "loud" is none of debug, info, warn, error, fatal`)
	require.Equal(t, "info", l.Level.Name())
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

// TestOldFilesGo fills six files where two old ones may stay.
func TestOldFilesGo(t *testing.T) {
	dir := t.TempDir()
	c := Default()
	c.File = File{Filename: filepath.Join(dir, "store.log"), MaxSize: 1, MaxBackups: 2}
	l, err := New(c)
	require.NoError(t, err)
	blob := strings.Repeat("x", 300<<10)
	for range 18 {
		l.Info(blob)
	}
	require.NoError(t, l.Close())
	var names []string
	require.Eventually(t, func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		names = files
		return len(files) == 3
	}, 30*time.Second, 10*time.Millisecond, "%v", names)
	require.Contains(t, names, c.File.Filename)
}

// TestAMovedFileIsLetGoOf does what logrotate does: move, then tell.
func TestAMovedFileIsLetGoOf(t *testing.T) {
	c := Default()
	c.File.Filename = filepath.Join(t.TempDir(), "store.log")
	l, err := New(c)
	require.NoError(t, err)
	require.True(t, l.HasFile())
	l.Info("one")
	require.NoError(t, os.Rename(c.File.Filename, c.File.Filename+".1"))
	l.Info("two")
	require.NoError(t, l.Reopen())
	l.Info("three")
	require.NoError(t, l.Close())
	read := func(name string) string {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(text)
	}
	require.Regexp(t, `(?s)one.*two`, read(c.File.Filename+".1"))
	require.NotContains(t, read(c.File.Filename+".1"), "three")
	require.Contains(t, read(c.File.Filename), "three")

	l, err = New(Default())
	require.NoError(t, err)
	require.False(t, l.HasFile())
	require.NoError(t, l.Reopen())
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
