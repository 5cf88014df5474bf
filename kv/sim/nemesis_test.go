package sim

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// effects say what must have happened to somebody, beside the step itself, when a nemesis was at work.
var effects = map[string]func(t *testing.T, calm, r Result){
	"kill":      func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.Kills) },
	"suspend":   func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.Suspensions) },
	"partition": func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.Cuts) },
	"cut":       func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.Cuts) },
	"flap": func(t *testing.T, _, r Result) {
		require.Greater(t, r.Counts.Cuts, r.Counts.Faults["flap"], "a link flaps more than once")
	},
	"loss":     func(t *testing.T, calm, r Result) { require.Greater(t, r.Counts.Lost, calm.Counts.Lost+10) },
	"eio":      func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.DiskFailures) },
	"full":     func(t *testing.T, _, r Result) { require.Positive(t, r.Counts.DiskFailures) },
	"transfer": func(t *testing.T, calm, r Result) { require.Greater(t, r.Counts.Elections, calm.Counts.Elections) },
	"remove": func(t *testing.T, calm, r Result) {
		require.Greater(t, r.Counts.Snapshots, calm.Counts.Snapshots, "a new peer needs one")
	},
}

// alone is a run with one kind of faults, over a cluster that is short of log, so that snapshots are needed.
func alone(seed uint64, name string) Config {
	cfg := Default(seed)
	cfg.Duration, cfg.LostAfter = 30*time.Second, 3*time.Second
	cfg.Machine.LogGC.Ticks, cfg.Machine.LogGC.Threshold, cfg.Machine.LogGC.Count = 2, 3, 10
	if name != "" {
		cfg.Faults = map[string]float64{name: 3}
	}
	if name == "merge" {
		cfg.Faults["split"] = 3
	}
	if name == "flip" {
		cfg.Faults["remove"] = 3 // or there would be no snapshots
	}
	return cfg
}

// Every nemesis by itself hits somebody, changes what happens, and the cluster recovers from it.
func TestEachNemesisAlone(t *testing.T) {
	calms := make(map[uint64]Result)
	for seed := uint64(1); seed <= 3; seed++ {
		calms[seed] = Run(alone(seed, ""), nil)
	}
	for _, name := range Nemeses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed, calm := range calms {
				r := Run(alone(seed, name), nil)
				require.NoError(t, r.Err())
				require.Positive(t, r.Counts.Faults[name], "seed %d", seed)
				require.NotEqual(t, calm.Hash, r.Hash, "seed %d: it was as if nothing had happened", seed)
				require.Greater(t, r.Counts.Answered, 100, "seed %d", seed)
				if check := effects[name]; check != nil {
					check(t, calm, r)
				}
			}
		})
	}
}

// A snapshot file in which a bit is wrong is refused, and the peer gets another (S2).
func TestFlippedSnapshotsAreReplaced(t *testing.T) {
	flips := 0
	for seed := uint64(1); seed <= 6; seed++ {
		r := Run(alone(seed, "flip"), nil)
		require.NoError(t, r.Err())
		flips += r.Counts.Flips
	}
	require.Greater(t, flips, 5)
}

// Whatever the seed draws, equal seeds live equal lives, and the cluster comes right in the end.
func TestFaultyRunsRepeat(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		cfg := Draw(seed)
		cfg.Duration = 30 * time.Second
		first := Run(cfg, nil)
		require.NoError(t, first.Err(), "%s", cfg)
		require.Less(t, first.Healed, 2*recovery+quiet, "to come right, and then to rest")
		require.Equal(t, first, Run(cfg, nil), "seed %d does not repeat itself", seed)
	}
}

// A run's configuration and steps are all there is to it: read back from a file they give the same run.
func TestReplay(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		cfg := Draw(seed)
		cfg.Duration = 20 * time.Second
		first := Run(cfg, nil)
		file, err := (&Replay{Config: cfg, Steps: Plan(cfg), Hash: first.Hash}).JSON()
		require.NoError(t, err)
		read, err := ReadReplay(file)
		require.NoError(t, err)
		require.Equal(t, cfg, read.Config)
		again := Play(read.Config, read.Steps, nil)
		require.Equal(t, read.Hash, again.Hash)
		require.Equal(t, first, again)
	}
	_, err := ReadReplay([]byte(`{"steps": [{"do": "flood"}]}`))
	require.ErrorContains(t, err, `there is no nemesis "flood"`)
}

// A plan is a function of its configuration, and each nemesis' part of it of that nemesis alone.
func TestPlan(t *testing.T) {
	cfg := Default(4)
	cfg.Faults = map[string]float64{"kill": 1, "loss": 1}
	both := Plan(cfg)
	require.Equal(t, both, Plan(cfg))
	cfg.Faults = map[string]float64{"kill": 1}
	var kills []Step
	for i, s := range both {
		if i > 0 {
			require.LessOrEqual(t, both[i-1].At, s.At)
		}
		require.Less(t, s.At, cfg.Duration)
		if s.Do == "kill" {
			kills = append(kills, s)
		}
	}
	require.Less(t, len(kills), len(both))
	require.Equal(t, kills, Plan(cfg))
}

// Over 200 seeds every kind of fault hits somebody, and no two seeds draw the same.
func TestSwarm(t *testing.T) {
	hits, lines := make(map[string]int), make(map[string]bool)
	failures, flips := 0, 0
	for seed := uint64(1); seed <= 200; seed++ {
		cfg := Draw(seed)
		require.Equal(t, cfg, Draw(seed))
		b, err := json.Marshal(cfg)
		require.NoError(t, err)
		var read Config
		require.NoError(t, json.Unmarshal(b, &read))
		require.Equal(t, cfg, read)
		cfg.Seed, cfg.Duration = 0, 5*time.Second
		require.False(t, lines[cfg.String()], "seed %d draws what another one did", seed)
		require.NotContains(t, cfg.String(), "\n")
		lines[cfg.String()] = true
		cfg.Seed = seed
		r := Run(cfg, nil)
		require.NoError(t, r.Err(), "%s", cfg)
		for name, n := range r.Counts.Faults {
			hits[name] += n
		}
		failures, flips = failures+r.Counts.DiskFailures, flips+r.Counts.Flips
	}
	for _, name := range Nemeses() {
		require.Greater(t, hits[name], 10, "%s hits somebody too seldom", name)
	}
	require.Positive(t, failures)
	require.Positive(t, flips)
}
