package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An artificial violation that needs two steps out of many is shrunk to these two, each time the same.
func TestShrinkFindsTheTwoThatMatter(t *testing.T) {
	cfg := Default(3)
	cfg.Duration, cfg.Clients = 40*time.Second, 2
	cfg.Faults = map[string]float64{"loss": 3, "duplicate": 3, "calendar": 3, "kill": 1, "stall": 3}
	steps := Plan(cfg)
	require.Greater(t, len(steps), 20)
	var first, last Step
	for _, s := range steps {
		if s.Do == "kill" && first.Do == "" {
			first = s
		}
		if s.Do == "stall" {
			last = s
		}
	}
	has := func(r Result) bool { return r.Counts.Faults["kill"] > 0 && r.Counts.Faults["stall"] > 0 }
	require.NotEmpty(t, first.Do)
	require.NotEmpty(t, last.Do)

	runs, told := 0, len(steps)
	s := &Shrinking{Fails: has, Budget: 200, Progress: func(n, left int) {
		runs = n
		require.LessOrEqual(t, left, told)
		told = left
	}}
	short, kept := s.Shrink(cfg, steps)
	require.Len(t, kept, 2)
	require.ElementsMatch(t, []string{"kill", "stall"}, []string{kept[0].Do, kept[1].Do})
	require.Less(t, short.Duration, cfg.Duration)
	require.True(t, has(Play(short, kept, nil)))
	require.Equal(t, 2, told)
	require.Less(t, runs, 100)

	told = len(steps)
	shortAgain, keptAgain := s.Shrink(cfg, steps)
	require.Equal(t, short, shortAgain)
	require.Equal(t, kept, keptAgain)
}

// What does not fail is not shrunk, and a budget is kept.
func TestShrinkKnowsItsLimits(t *testing.T) {
	cfg := Default(3)
	cfg.Duration, cfg.Clients = 5*time.Second, 2
	cfg.Faults = map[string]float64{"loss": 3, "stall": 3}
	steps := Plan(cfg)
	runs := 0
	never := &Shrinking{Budget: 10, Fails: func(Result) bool { runs++; return false }}
	same, kept := never.Shrink(cfg, steps)
	require.Equal(t, cfg, same)
	require.Equal(t, steps, kept)
	require.Equal(t, 1, runs)

	runs = 0
	always := &Shrinking{Budget: 3, Fails: func(Result) bool { runs++; return true }}
	_, kept = always.Shrink(cfg, steps)
	require.Less(t, len(kept), len(steps))
	require.Equal(t, 3, runs)
}
