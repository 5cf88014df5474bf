package sim

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// rewrite makes the corpus anew: what a seed does changes with every change of the product, and only a person can say whether
// it should have.
var rewrite = flag.Bool("rewrite", false, "write the corpus' hashes as they are now")

const (
	seedsEnv  = "SHOAL_SIM_SEEDS"
	hashesEnv = "SHOAL_SIM_HASHES"
)

// seedCount is how many seeds a test plays.
func seedCount(t *testing.T, usual uint64) uint64 {
	env := os.Getenv(seedsEnv)
	if env == "" {
		return usual
	}
	n, err := strconv.ParseUint(env, 10, 64)
	require.NoError(t, err)
	return n
}

// eachSeed plays seeds 1 to n, two at a time.
func eachSeed(n uint64, visit func(seed uint64, r Result)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := uint64(0)
	for range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				next++
				seed := next
				mu.Unlock()
				if seed > n {
					return
				}
				r := Run(Draw(seed), nil)
				mu.Lock()
				visit(seed, r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// Lives of clusters with everything that a seed may draw: no violation, and right again within a minute of virtual time.
func TestSeeds(t *testing.T) {
	var answered, kills, snapshots, virtual int
	eachSeed(seedCount(t, 200), func(_ uint64, r Result) {
		for _, v := range r.Violations {
			t.Errorf("seed %d: %s\nto see it again: shoal sim --seed %d --html run.html", r.Seed, firstLine(r.Err()), r.Seed)
			_ = v
		}
		answered += r.Counts.Answered
		kills += r.Counts.Kills
		snapshots += r.Counts.Snapshots
		virtual += int(r.Virtual.Seconds())
	})
	t.Logf("%d virtual seconds, %d operations answered, %d kills, %d snapshots", virtual, answered, kills, snapshots)
	require.NotZero(t, kills)
	require.NotZero(t, snapshots)
}

// TestCorpus plays the seeds that once found something, or show something, and wants the very runs that are noted.
func TestCorpus(t *testing.T) {
	const name = "testdata/corpus.txt"
	file, err := os.Open(name)
	require.NoError(t, err)
	var lines []string
	for scan := bufio.NewScanner(file); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	require.NoError(t, file.Close())
	for i, line := range lines {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		var seed, hash uint64
		_, err := fmt.Sscanf(line, "%d %x", &seed, &hash)
		require.NoError(t, err, line)
		r := Run(Draw(seed), nil)
		require.NoError(t, r.Err())
		if *rewrite {
			fields := strings.SplitN(line, " ", 3)
			lines[i] = fmt.Sprintf("%d %016x %s", seed, r.Hash, fields[2])
			continue
		}
		require.Equal(t, fmt.Sprintf("%016x", hash), fmt.Sprintf("%016x", r.Hash),
			"seed %d is another run than it was: if the product was meant to change, `make sim-corpus` notes the new hash", seed)
	}
	if *rewrite {
		require.NoError(t, os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	}
}

// A seed is the same run in every process, whatever the number of threads.
func TestProcessesAgree(t *testing.T) {
	n := seedCount(t, 10)
	var first string
	for i, procs := range []string{"1", "2", "2"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestPrintHashes$", "-test.v")
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+procs, fmt.Sprintf("%s=%d", hashesEnv, n))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		var hashes []string
		for _, line := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(line, "HASH ") {
				hashes = append(hashes, line)
			}
		}
		require.Len(t, hashes, int(n))
		if got := strings.Join(hashes, "\n"); i == 0 {
			first = got
		} else {
			require.Equal(t, first, got)
		}
	}
	t.Logf("%d of %d seeds are the same run in three processes", n, n)
}

// TestPrintHashes is what the processes of TestProcessesAgree run; by itself it has nothing to do.
func TestPrintHashes(t *testing.T) {
	n, err := strconv.ParseUint(os.Getenv(hashesEnv), 10, 64)
	if err != nil {
		return
	}
	for seed := uint64(1); seed <= n; seed++ {
		r := Run(Draw(seed), nil)
		fmt.Printf("HASH %d %016x\n", seed, r.Hash)
	}
}
