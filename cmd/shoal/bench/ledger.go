package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pingcap/errors"
)

// ledger knows of each key which versions were tried and which was the last that was acknowledged. Versions of a key grow by
// one; a value carries the number of its key and its version. Without Check there are no versions to remember, and all are 1.
type ledger struct {
	prefix    string
	valueSize int
	entries   []entry
}

// entry is one key's. When checking, only the client that owns the key changes it, and others look when it is done.
type entry struct{ tried, acknowledged atomic.Uint64 }

func newLedger(o *Raw) *ledger {
	l := &ledger{prefix: o.Prefix, valueSize: o.ValueSize}
	if o.Check {
		l.entries = make([]entry, o.Keys)
	}
	return l
}

func (l *ledger) key(n int) []byte { return fmt.Appendf(nil, "%s%012d", l.prefix, n) }

// filler is a fresh value: half of it compresses, half does not.
func (l *ledger) filler() []byte {
	value := make([]byte, l.valueSize)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(value[:len(value)/2]) // never fails
	return value
}

// stamp puts key and version into a value.
func stamp(value []byte, key int, version uint64) {
	binary.BigEndian.PutUint64(value, uint64(key))
	binary.BigEndian.PutUint64(value[8:], version)
}

// begin returns the version that is about to be written.
func (l *ledger) begin(key int) uint64 {
	if l.entries == nil {
		return 1
	}
	return l.entries[key].tried.Add(1)
}

func (l *ledger) acknowledge(key int, version uint64) {
	if l.entries != nil {
		l.entries[key].acknowledged.Store(version)
	}
}

// judge says what is wrong with the value that was read, nothing when all is well: it must be the version that was
// acknowledged last, or a later one whose writer was not told the outcome.
func (l *ledger) judge(key int, value []byte) string {
	e := &l.entries[key]
	acknowledged, tried := e.acknowledged.Load(), e.tried.Load()
	name := string(l.key(key))
	if value == nil {
		if acknowledged == 0 {
			return ""
		}
		return fmt.Sprintf("%s: version %d was acknowledged, nothing is there", name, acknowledged)
	}
	if len(value) != l.valueSize || binary.BigEndian.Uint64(value) != uint64(key) {
		return fmt.Sprintf("%s: a value of %d bytes is there that was never written", name, len(value))
	}
	if found := binary.BigEndian.Uint64(value[8:]); found < acknowledged || found > tried {
		return fmt.Sprintf("%s: version %d was acknowledged and %d tried, %d is there", name, acknowledged, tried, found)
	}
	return ""
}

// Check is the outcome of --check; nil when it was not asked for.
type Check struct {
	// Keys were written and read back; Unread could not be read, for the reason Failure.
	Keys    int    `json:"keys"`
	Unread  int    `json:"unread"`
	Failure string `json:"failure,omitempty"`
	// Wrong counts violations, of which the first are listed.
	Wrong  int      `json:"wrong"`
	Listed []string `json:"listed,omitempty"`
}

// listed is how many violations are spelled out.
const listed = 10

// Err is an error unless every acknowledged write was found.
func (c *Check) Err() error {
	switch {
	case c == nil || c.Wrong+c.Unread == 0:
		return nil
	case c.Wrong > 0:
		return errors.Errorf("the check failed: %d violations", c.Wrong)
	}
	return errors.Errorf("the check is not complete: %d keys could not be read: %s", c.Unread, c.Failure)
}

// add puts in front what the clients saw while they ran.
func (c *Check) add(clients []*rawClient) {
	var seen []string
	for _, client := range clients {
		c.Wrong += client.violations
		seen = append(seen, client.wrong...)
	}
	seen = append(seen, c.Listed...)
	c.Listed = seen[:min(len(seen), listed)]
}

// verify reads every key back. The keys of an earlier run under the same prefix would be taken for wrong ones, so that a key which
// this run never tried is left out.
func (b *rawBench) verify(ctx context.Context) *Check {
	c := &Check{}
	var mu sync.Mutex
	_ = inBatches(b.batches(), func(first, end int) error {
		var numbers []int
		var keys [][]byte
		for n := first; n < end; n++ {
			if b.ledger.entries[n].tried.Load() > 0 {
				numbers, keys = append(numbers, n), append(keys, b.ledger.key(n))
			}
		}
		values, err := b.store.BatchGet(ctx, keys)
		mu.Lock()
		defer mu.Unlock()
		c.Keys += len(keys)
		if err != nil {
			c.Unread += len(keys)
			c.Failure = err.Error()
			return nil // the others still count
		}
		for i, n := range numbers {
			if problem := b.ledger.judge(n, values[i]); problem != "" {
				c.Wrong++
				if len(c.Listed) < listed {
					c.Listed = append(c.Listed, problem)
				}
			}
		}
		return nil
	}, nil)
	return c
}
