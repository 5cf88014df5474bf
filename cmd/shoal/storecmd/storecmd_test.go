package storecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/daemon"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/log"
)

// run runs the command with a store that does not start, and returns the configuration that it was given.
func run(t *testing.T, args ...string) (cfg *config.Config, out string, err error) {
	t.Helper()
	cmd := Command(func(_ context.Context, c *config.Config, _ *log.Logger, r *prometheus.Registry) (daemon.Service, error) {
		require.NotNil(t, r)
		cfg = c
		return nil, errors.New("not today")
	})
	var buf bytes.Buffer
	cmd.SetOut(&buf)
	cmd.SetErr(&buf)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err = cmd.Execute()
	return cfg, buf.String(), err
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "store.toml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestFlagsOverrideTheFile(t *testing.T) {
	log := filepath.Join(t.TempDir(), "store.log")
	cfg, _, err := run(t,
		"-C", file(t, "[server]\naddr = \"a:1\"\nstatus-addr = \"a:2\"\nlabels = { zone = \"z1\" }\n[storage]\ndata-dir = \"/file\"\n[log]\nlevel = \"error\"\n"),
		"-A", "b:3", "--advertise-status-addr", "c:4", "-s", "/flag", "-L", "debug", "-f", log,
		"--capacity", "5GB", "--pd", "d:5,http://e:6", "--labels", "zone=z2,host=h1")
	require.ErrorContains(t, err, "the store cannot start: not today")
	require.Equal(t, "b:3", cfg.Server.Addr)
	require.Equal(t, "b:3", cfg.Server.AdvertiseAddr, "follows addr")
	require.Equal(t, "a:2", cfg.Server.StatusAddr, "the file's, as no flag says otherwise")
	require.Equal(t, "c:4", cfg.Server.AdvertiseStatusAddr)
	require.Equal(t, "/flag", cfg.Storage.DataDir)
	require.Equal(t, "debug", cfg.Log.Level)
	require.Equal(t, 5*config.GiB, cfg.Raftstore.Capacity)
	require.Equal(t, []string{"d:5", "http://e:6"}, cfg.PD.Endpoints)
	require.Equal(t, map[string]string{"zone": "z2", "host": "h1"}, cfg.Server.Labels)

	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(text), "starting a store")
}

func TestBothNamesOfTheScheduler(t *testing.T) {
	cfg, _, err := run(t, "--pd-endpoints", "d:5")
	require.Error(t, err)
	require.Equal(t, []string{"d:5"}, cfg.PD.Endpoints)
}

func TestBadInputIsNamed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-C", "/nowhere.toml"}, "/nowhere.toml"},
		{[]string{"-C", file(t, "[raftstore]\nprevot = true")}, "unknown keys: raftstore.prevot"},
		{[]string{"--capacity", "much"}, `--capacity: "much" is not a size`},
		{[]string{"--labels", "zone"}, `--labels: "zone" is not key=value`},
		{[]string{"--addr", "nowhere"}, `server.addr is "nowhere"`},
		{[]string{"--log-level", "loud"}, `level "loud"`},
		{[]string{"--config-info", "xml"}, `--config-info is "xml"`},
		{[]string{"what"}, "unknown command"},
	} {
		cfg, _, err := run(t, tc.args...)
		require.ErrorContains(t, err, tc.want)
		require.Nil(t, cfg, "a store was started all the same")
	}
}

func TestConfigCheck(t *testing.T) {
	cfg, out, err := run(t, "--config-check", "--pd", "a:1")
	require.NoError(t, err)
	require.Equal(t, "config check successful\n", out)
	require.Nil(t, cfg)
	_, _, err = run(t, "--config-check", "--pd", "a")
	require.ErrorContains(t, err, "pd.endpoints")
}

// TestSampleIsAConfiguration starts a store from the printed sample.
func TestSampleIsAConfiguration(t *testing.T) {
	_, out, err := run(t, "--print-sample-config")
	require.NoError(t, err)
	_, _, err = run(t, "--config-check", "-C", file(t, out))
	require.NoError(t, err)
}

func TestConfigInfo(t *testing.T) {
	_, out, err := run(t, "--config-info", "json", "--pd", "a:1")
	require.NoError(t, err)
	var in info
	require.NoError(t, json.Unmarshal([]byte(out), &in))
	require.Equal(t, "Shoal Store", in.Component)
	found := map[string]parameter{}
	for _, p := range in.Parameters {
		found[p.Name] = p
	}
	require.Equal(t, parameter{Name: "raftstore.prevote", DefaultValue: true}, found["raftstore.prevote"])
	require.Equal(t, []any{"a:1"}, found["pd.endpoints"].ValueInFile)
}

func TestVersion(t *testing.T) {
	_, out, err := run(t, "-V")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^Release Version: +\S+\nEdition: +\S+\nGit Commit Hash: +\S+\nGit Commit Branch: +\S+\nUTC Build Time: +\S+`, out)
}
