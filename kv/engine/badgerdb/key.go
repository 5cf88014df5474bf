package badgerdb

import (
	"fmt"

	"github.com/shoal-kv/shoal/kv/engine"
)

const (
	// MaxKeySize bounds a key: what badger counts with 16 bits, less a table's entry header, the timestamp and the family's
	// letter. (Badger itself accepts a few bytes more, and panics in its memtable or, later, in its tables.)
	MaxKeySize = 1<<16 - 1 - 4 - 8 - 1
	// MaxBatchBytes bounds a batch, with the keys that its range deletes find, and so an ingest.
	MaxBatchBytes = 1 << 30
)

// A physical key is the family's letter and the key. The engine's own stamp follows the families.
const firstFamily = 'a'

var stampKey = []byte{firstFamily + byte(engine.NumCFs)}

func physicalKey(cf engine.CF, key []byte) []byte {
	p := make([]byte, 1+len(key))
	p[0] = firstFamily + byte(cf)
	copy(p[1:], key)
	return p
}

func physicalStart(cf engine.CF, start []byte) []byte { return physicalKey(cf, start) }

// physicalEnd is the next family's letter when the range is open.
func physicalEnd(cf engine.CF, end []byte) []byte {
	if len(end) == 0 {
		return physicalKey(cf+1, nil)
	}
	return physicalKey(cf, end)
}

// LimitError is the answer to a batch that badger cannot take. The batch is rejected whole, and the engine goes on.
type LimitError struct {
	// What is too large: "key", "pair" or "batch".
	What string
	// Size and Limit are in bytes.
	Size, Limit int64
}

// Error says what is too large, and what would not be.
func (e *LimitError) Error() string {
	return fmt.Sprintf("badgerdb: a %s of %d bytes is too large: the limit is %d bytes", e.What, e.Size, e.Limit)
}
