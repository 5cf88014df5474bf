package schedulercmd

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func run(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := Command()
	var buf bytes.Buffer
	cmd.SetOut(&buf)
	cmd.SetErr(&buf)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err = cmd.Execute()
	return buf.String(), err
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "scheduler.toml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestFlagsOverrideTheFile(t *testing.T) {
	var opts options
	cmd := Command()
	flags := cmd.Flags()
	opts.configFile = file(t, `
name = "from-file"
client-urls = "http://127.0.0.1:1,http://127.0.0.1:2"
lease = 5
tso-save-interval = "2s"
[replication]
max-replicas = 5
[log]
level = "warn"
`)
	require.NoError(t, flags.Parse([]string{"--name", "from-flag", "--peer-urls", "http://127.0.0.1:3", "-L", "debug"}))
	for _, o := range overrides {
		*o.field(&opts.flags) = flags.Lookup(o.name).Value.String()
	}
	cfg, err := opts.load(flags)
	require.NoError(t, err)
	require.Equal(t, "debug", cfg.Log.Level)

	s := cfg.Server()
	require.Equal(t, "from-flag", s.Name)
	require.Equal(t, "data/scheduler", s.DataDir)
	require.Equal(t, []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, s.ClientURLs)
	require.Empty(t, s.AdvertiseClientURLs, "the scheduler advertises what it listens on")
	require.Equal(t, []string{"http://127.0.0.1:3"}, s.PeerURLs)
	require.Equal(t, 5*time.Second, s.LeaderLease)
	require.Equal(t, 2*time.Second, s.TSOSaveInterval)
	require.Equal(t, 5, s.MaxReplicas)
}

func TestBadInputIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"nam = \"x\"":                          "unknown keys: nam",
		"name = \"\"":                          `name is ""`,
		"name = \"a=b\"":                       `name is "a=b"`,
		"data-dir = \"\"":                      "data-dir is empty",
		"client-urls = \"127.0.0.1:2379\"":     `client-urls has "127.0.0.1:2379"; each must be http://host:port`,
		"client-urls = \"http://a:1,\"":        `client-urls has ""`,
		"client-urls = \"https://a:1\"":        `client-urls has "https://a:1"; each must be http://`,
		"client-urls = \"http://0.0.0.0:1\"":   `advertise-client-urls is "0.0.0.0:1"; others cannot connect`,
		"peer-urls = \"http://a\"":             `peer-urls is "a"; it must be host:port`,
		"advertise-peer-urls = \"http://a:0\"": `advertise-peer-urls is "a:0"`,
		"memory-usage-limit = \"1MB\"":         "memory-usage-limit is 1MiB; it must be at least 64MiB, or 0 for no limit",
		"lease = 0":                            "lease is 0; it must be between 1 and 60",
		"tso-save-interval = \"1ms\"":          "tso-save-interval is 1ms; it must be between 100ms and 1m0s",
		"[replication]\nmax-replicas = 0":      "replication.max-replicas is 0; it must be between 1 and 15",
		"[log]\nlevel = \"loud\"":              `log.level: level "loud"`,
		"join = \"there\"":                     `join has "there"`,

		"join = \"http://a:1\"\ninitial-cluster = \"a=http://a:2\"": "join and initial-cluster are both given",
		"[security]\ncacert-path = \"/etc/ca.pem\"":                 "unknown keys: security",
		"[schedule]\nmax-store-down-time = \"30m\"\n":               "unknown keys: schedule",
	} {
		_, err := run(t, "--config-check", "--config", file(t, text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := run(t, "--config", "/nowhere.toml")
	require.ErrorContains(t, err, "/nowhere.toml")
	_, err = run(t, "what")
	require.ErrorContains(t, err, "unknown command")
}

func TestConfigCheck(t *testing.T) {
	out, err := run(t, "--config-check")
	require.NoError(t, err)
	require.Equal(t, "config check successful\n", out)
}

func TestVersion(t *testing.T) {
	out, err := run(t, "-V")
	require.NoError(t, err)
	require.Contains(t, out, "Release Version:")
}
