package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func quick(log string) scenario {
	return scenario{
		Log: log, Regions: 4, Size: 1024, Keep: 40, LiveBytes: 1 << 30, SegmentBytes: 1 << 20, Warmup: 10 * time.Millisecond, Duration: 100 * time.Millisecond,
	}
}

// Each log takes the load, is cut, and has everything when it is opened again (run sees to that); the figures can be what they say.
func TestRun(t *testing.T) {
	var results []result
	for _, log := range []string{"pebble", "segment"} {
		for _, skewed := range []bool{false, true} {
			s := quick(log)
			s.Skewed = skewed
			r, err := run(s, t.TempDir())
			require.NoError(t, err)
			require.NotZero(t, r.Entries)
			require.GreaterOrEqual(t, r.LogBytes, 1.0)
			require.Greater(t, r.CPU, 0.0)
			require.GreaterOrEqual(t, r.Sync.Count, r.Write.Count-1)
			require.Greater(t, r.Sync.P50, 0.0)
			require.Greater(t, r.Write.P50, 0.0)
			require.NotZero(t, r.Engine.LogBytes)
			require.NotZero(t, r.Disk)
			results = append(results, r)
		}
	}
	var out bytes.Buffer
	printTables(&out, results)
	require.Contains(t, out.String(), "| 4 × 1024 B | 40 | segment |")
	require.Contains(t, out.String(), "pebble ÷ segment")
	_, err := json.Marshal(results)
	require.NoError(t, err)
}

// A log that loses something, or keeps what was cut, gets no figures.
func TestWhatIsMissingIsFound(t *testing.T) {
	for name, spoil := range map[string]func(r *region){
		"newest entry": func(r *region) { r.next++ },
		"oldest entry": func(r *region) { r.first-- },
		"cut":          func(r *region) { r.first++ },
		"state":        func(r *region) { r.next-- },
	} {
		for _, log := range []string{"pebble", "segment"} {
			dir, l := t.TempDir(), newLoad(quick(log))
			o, err := open(l.scenario, dir, vfs.Default)
			require.NoError(t, err)
			require.NoError(t, l.fill(o))
			require.NoError(t, o.close())
			r := result{Scenario: l.scenario}
			require.NoError(t, r.reopen(l, dir))
			spoil(&l.regions[3])
			require.Error(t, r.reopen(l, dir), "%s, %s", log, name)
		}
	}
}

func TestPlan(t *testing.T) {
	p := plan{logs: "pebble,segment", regions: "1,48", sizes: "128", skewed: true}
	list, err := p.scenarios()
	require.NoError(t, err)
	require.Len(t, list, 6)
	require.Equal(t, 24, list[2].entriesPerBatch())
	for _, bad := range []plan{{regions: "0", sizes: "1"}, {regions: "1", sizes: "x"}} {
		_, err := bad.scenarios()
		require.Error(t, err)
	}
	require.ErrorContains(t, (&plan{output: "xml"}).carryOut(nil), "-o")
	_, err = run(quick("paper"), t.TempDir())
	require.ErrorContains(t, err, "paper")
}
