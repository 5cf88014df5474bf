package simcmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim"
)

// run is the command line as a user types it.
func run(args ...string) (out, progress string, err error) {
	var o, p bytes.Buffer
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&o)
	cmd.SetErr(&p)
	err = cmd.Execute()
	return o.String(), p.String(), err
}

var line = regexp.MustCompile(`^seed=\d+ hash=[0-9a-f]{16} violations=0 virtual=\d+\.\d cpu=\d+\.\d\d$`)

func TestALineASeed(t *testing.T) {
	out, progress, err := run("--seeds", "1..3", "--duration", "5s", "--stores", "3", "--clients", "2")
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n"))
	require.Len(t, lines, 3)
	for _, l := range lines {
		require.Regexp(t, line, string(l))
	}
	require.Contains(t, progress, "3 seeds, 0 with violations")
}

func TestJSONAndFilesOfOneRun(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	out, _, err := run("--seed", "7", "--duration", "5s", "--json", "--trace", path("t.txt"), "--html", path("p.html"), "--save", path("r.json"))
	require.NoError(t, err)
	var first, again map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &first))
	require.Empty(t, first["violations"])
	trace, err := os.ReadFile(path("t.txt"))
	require.NoError(t, err)
	require.Contains(t, string(trace), "MsgAppend")
	page, err := os.ReadFile(path("p.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "Seed 7")

	out, _, err = run("--replay", path("r.json"), "--json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(out), &again))
	require.Equal(t, first["hash"], again["hash"], "a replay is the same run")
}

// broken writes a story that must fail: its stores take no message of one another.
func broken(t *testing.T) string {
	t.Helper()
	cfg := sim.Default(3)
	cfg.Limits.MailboxMessages, cfg.Duration = 0, 5*time.Second
	cfg.Faults = map[string]float64{"kill": 1}
	story := sim.Replay{Config: cfg, Steps: sim.Plan(cfg)}
	b, err := story.JSON()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

func TestAFailureSaysHowToSeeItAgain(t *testing.T) {
	name := broken(t)
	out, _, err := run("--replay", name)
	require.Contains(t, out, "violations=1")
	require.ErrorContains(t, err, "the first region has no replicas")
	require.ErrorContains(t, err, "to see it again: shoal sim --replay "+name)
}

func TestShrinkLeavesWhatMatters(t *testing.T) {
	saved := filepath.Join(t.TempDir(), "small.json")
	_, progress, err := run("--replay", broken(t), "--shrink", "--save", saved)
	require.ErrorContains(t, err, "shoal sim --replay "+saved)
	require.Contains(t, progress, "shrunk to 0 faults")
	b, err := os.ReadFile(saved)
	require.NoError(t, err)
	story, err := sim.ReadReplay(b)
	require.NoError(t, err)
	require.Empty(t, story.Steps)
}

func TestMistakesAreTold(t *testing.T) {
	for want, args := range map[string][]string{
		"expected a range such as 1..200":       {"--seeds", "5"},
		`there is no fault called "rain"`:       {"--faults", "rain"},
		"--replay plays one run":                {"--replay", "x", "--seeds", "1..2"},
		"--parallel must be at least 1":         {"--parallel", "0"},
		"--stores must lie between 1 and 15":    {"--stores", "99"},
		"no such file":                          {"--replay", "nowhere.json"},
		"unknown command \"extra\" for \"sim\"": {"extra"},
	} {
		_, _, err := run(args...)
		require.ErrorContains(t, err, want)
	}
	out, _, err := run("--faults", "help")
	require.NoError(t, err)
	require.Contains(t, out, "partition")
}

// What the scheduler makes of a small cluster on paper: hardly more moves than it takes, and a picture of it.
func TestSchedulerOnPaper(t *testing.T) {
	var out bytes.Buffer
	cmd := Command()
	cmd.SetOut(&out)
	file := filepath.Join(t.TempDir(), "balance.svg")
	cmd.SetArgs([]string{"scheduler", "--stores", "5", "--regions", "300", "--svg", file})
	require.NoError(t, cmd.Execute())
	require.NotContains(t, out.String(), "not within")
	require.Contains(t, out.String(), "lookups a second beside heartbeats")
	picture, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 6, bytes.Count(picture, []byte("<polyline")))

	cmd = Command()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"scheduler", "--stores", "2"})
	require.ErrorContains(t, cmd.Execute(), "there must be at least 4 and 1")
}
