package pebbledb_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

const (
	killDirEnv  = "SHOAL_TEST_KILL_DIR" // set: this process is the child
	killWriters = 4
	kills       = 20
)

func killOptions(dir string) pebbledb.Options {
	return pebbledb.Options{Dir: dir, MemTableBytes: 256 << 10, BlockCacheBytes: 4 << 20}
}

// S22: a process that is killed at any moment, over and over, loses nothing that it has acknowledged, and leaves no
// batch half done. The child runs this same test and writes "writer number" for each batch that is durable.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		killChild(t, dir)
		return
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(4, 2))
	var acked [killWriters]int
	for range kills {
		killOnce(t, dir, 1+rng.IntN(300), &acked)
		found := killFound(t, dir)
		for w := range acked {
			require.GreaterOrEqual(t, found[w], acked[w], "writer %d lost acknowledged batches", w)
		}
	}
}

// killOnce runs a child until it has acknowledged so many batches, and kills it. Lines that were already on their way count.
func killOnce(t *testing.T, dir string, after int, acked *[killWriters]int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var w, n int
		if _, err := fmt.Sscanf(scanner.Text(), "ack %d %d", &w, &n); err != nil {
			continue
		}
		acked[w] = max(acked[w], n)
		if lines++; lines == after {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	require.GreaterOrEqual(t, lines, after, "the child ended by itself: %s", stderr.String())
}

// killFound checks that every batch is whole and returns the last of each writer; none before it may be missing.
func killFound(t *testing.T, dir string) [killWriters]int {
	db, err := pebbledb.Open(killOptions(dir))
	require.NoError(t, err)
	s := db.NewSnapshot()
	var found [killWriters]int
	for _, cf := range engine.DataCFs {
		var count [killWriters]int
		it, err := s.NewIterator(cf, engine.IterOptions{})
		require.NoError(t, err)
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			w := int(it.Key()[0] - '0')
			n, err := strconv.Atoi(string(it.Key()[2:]))
			require.NoError(t, err)
			require.Equal(t, count[w]+1, n, "writer %d in %s", w, cf)
			count[w] = n
		}
		require.NoError(t, it.Close())
		if cf == engine.DataCFs[0] {
			found = count
		}
		require.Equal(t, found, count, "the families differ: a batch is half done")
	}
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())
	return found
}

// killChild writes until it is killed. Even writers sync their batches, odd ones call Sync after a few.
func killChild(t *testing.T, dir string) {
	last := killFound(t, dir)
	db, err := pebbledb.Open(killOptions(dir))
	require.NoError(t, err)
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			for n := last[w] + 1; ; n++ {
				synced := w%2 == 0
				b := db.NewBatch()
				for _, cf := range engine.DataCFs {
					b.Put(cf, fmt.Appendf(nil, "%d/%09d", w, n), bytes.Repeat([]byte{byte(n)}, 300+n%1500))
				}
				err := b.Commit(synced)
				if !synced && n%5 == 0 {
					err = db.Sync()
					synced = true
				}
				if err != nil {
					panic(err)
				}
				if synced {
					out.Lock()
					fmt.Printf("\nack %d %d\n", w, n)
					out.Unlock()
				}
				_ = b.Close()
			}
		})
	}
	wg.Wait()
}
