package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"
)

// A bug is one small change that breaks the product. The simulator is worth what it catches of them. The product has no switch for any: a test
// builds it with one file replaced (go build -overlay), so that a bug can be turned on by this test alone.
type bug struct {
	name string
	// pitfall is the trap that it stands for.
	pitfall string
	file    string
	// old must be in the file exactly once; what stands there with the bug is broken.
	old, broken string
	// also is a second change, for a bug that the product is protected from twice.
	also *bug
}

// Which bugs are tried: all with SHOAL_BUGS=all, some by their names, separated by commas; without it a sample. SHOAL_BUG_SEEDS
// is the budget of random runs for each, after the scripts.
const (
	bugsEnv     = "SHOAL_BUGS"
	bugSeedsEnv = "SHOAL_BUG_SEEDS"
	childEnv    = "SHOAL_SIM_CHILD"
)

// sample is what every run of the tests tries: one bug that a script catches, and one that chance does.
var sample = []string{"old-term-commit", "ack-before-sync"}

// TestSensitivity builds the product once for every bug and lets the scripts and the seeds look for it.
func TestSensitivity(t *testing.T) {
	chosen := chooseBugs(t)
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "bug\tpitfall\tcaught by\twhat was seen")
	caught := 0
	for _, b := range chosen {
		by, what := hunt(t, b)
		if by != "" {
			caught++
		} else {
			by = "NOT CAUGHT"
		}
		t.Logf("%s: %s: %.100s", b.name, by, what)
		fmt.Fprintf(w, "%s\t%s\t%s\t%.100s\n", b.name, b.pitfall, by, what)
	}
	require.NoError(t, w.Flush())
	t.Logf("%d of %d deliberate bugs caught\n%s", caught, len(chosen), table.String())
	require.GreaterOrEqual(t, caught*100, len(chosen)*95, "too much passes unseen")
}

func everyBug() []bug { return slices.Concat(bugs, regionBugs, pitfallBugs, schedulerBugs) }

func chooseBugs(t *testing.T) (chosen []bug) {
	names := sample
	switch env := os.Getenv(bugsEnv); env {
	case "":
	case "all":
		return everyBug()
	default:
		names = strings.Split(env, ",")
	}
	for _, name := range names {
		found := false
		for _, b := range everyBug() {
			if b.name == name {
				chosen, found = append(chosen, b), true
			}
		}
		require.True(t, found, "no bug is called %s", name)
	}
	return chosen
}

var (
	verdict = regexp.MustCompile(`(?m)^VERDICT (\S+ ?\S*): (.*)$`)
	played  = regexp.MustCompile(`(?m)^PLAYED .*$`)
)

// hunt builds the product with the bug and runs the budget; by is empty when nothing was seen.
func hunt(t *testing.T, b bug) (by, what string) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-c", "-overlay", b.overlay(t, dir), "-o", binary, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s does not build:\n%s", b.name, out)
	seeds := "200"
	if env := os.Getenv(bugSeedsEnv); env != "" {
		seeds = env
	}
	run := exec.Command(binary, "-test.run", "^TestBudget$", "-test.v", "-test.timeout", "1h")
	run.Env = append(os.Environ(), childEnv+"="+seeds, "GOGC=800") // lives are short: what they leave behind is collected seldom
	out, err = run.CombinedOutput()
	if m := verdict.FindStringSubmatch(string(out)); m != nil {
		return m[1], m[2]
	}
	if i := bytes.Index(out, []byte("panic: ")); i >= 0 {
		line, _, _ := strings.Cut(string(out[i:]), "\n")
		return "the product itself", line
	}
	require.NoError(t, err, "%s: %s", b.name, out)
	return "", string(played.Find(out))
}

// overlay writes the broken files and the go command's instruction to use them.
func (b *bug) overlay(t *testing.T, dir string) string {
	replace := map[string]string{}
	for c := b; c != nil; c = c.also {
		path, err := filepath.Abs(filepath.Join("../..", c.file))
		require.NoError(t, err)
		from := path
		if earlier, ok := replace[path]; ok {
			from = earlier
		}
		source, err := os.ReadFile(from)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), c.old), "%s: the place in %s has changed: mend the bug", b.name, c.file)
		replace[path] = filepath.Join(dir, filepath.Base(c.file))
		require.NoError(t, os.WriteFile(replace[path], []byte(strings.Replace(string(source), c.old, c.broken, 1)), 0o600))
	}
	instruction, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	overlay := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlay, instruction, 0o600))
	return overlay
}

// TestBugsFit holds every bug against the source, so that none goes stale unseen.
func TestBugsFit(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range everyBug() {
		require.False(t, seen[b.name], b.name)
		seen[b.name] = true
		b.overlay(t, t.TempDir())
	}
}

// TestBudget is what a build with a bug runs; by itself it has nothing to do.
func TestBudget(t *testing.T) {
	seeds, err := strconv.ParseUint(os.Getenv(childEnv), 10, 64)
	if err != nil {
		return
	}
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if _, err := RunScript(string(text), nil); err != nil {
			fmt.Printf("VERDICT script %s: %s\n", strings.TrimSuffix(filepath.Base(file), ".txt"), firstLine(err))
			return
		}
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		if r := Run(Draw(seed), nil); r.Err() != nil {
			fmt.Printf("VERDICT seed %d: %s\n", seed, firstLine(r.Err()))
			return
		}
	}
	fmt.Printf("PLAYED %d seeds\n", seeds)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
