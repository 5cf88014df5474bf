// Package impure does everything that a deterministic package may not. Each line that must be refused ends in a comment
// that quotes a part of the complaint.
package impure

import (
	"maps"
	"math/rand"       // want "imports math/rand"
	v2 "math/rand/v2" // want "imports math/rand/v2"
	"net"             // want "imports net"
	"os"              // want "imports os"
	"slices"
	"sync" // want "imports sync"
	"sync/atomic"
	clock "time"
)

type lock struct {
	mu sync.Mutex
	n  atomic.Int64
	d  clock.Duration
	at clock.Time
}

type mail chan int // want "channel type"

type index map[uint64]string

func concurrent(m mail) {
	go concurrent(m) // want "goroutine"
	m <- 1           // want "sends"
	<-m              // want "receives"
	select {}        // want "selects"
}

func drain(m mail) {
	for range m { // want "ranges over a channel"
	}
}

func clocks() {
	_ = clock.Now()                      // want "time.Now"
	_ = clock.Since(clock.Unix(0, 0))    // want "time.Since"
	clock.Sleep(clock.Second)            // want "time.Sleep"
	_ = clock.After                      // want "time.After"
	_ = clock.NewTimer(clock.Nanosecond) // want "time.NewTimer"
	_ = clock.Local                      // want "time.Local"
	_ = clock.UnixMilli(7).Add(3 * clock.Second).After(clock.Unix(0, 0))
}

func chance() (int, int) {
	_, _ = os.Getpid(), net.IPv4len
	return rand.Int(), v2.Int()
}

func orders(m index) (out []string) {
	for _, s := range m { // want "ranges over a map"
		out = append(out, s)
	}
	for range m { // order-free:
		// want-above "ranges over a map"
	}
	n := 0
	for range m { // order-free: counts
		n++
	}
	// order-free: a sum does not depend on the order,
	// however it is written.
	for k := range m {
		n += int(k)
	}
	for k := range maps.Keys(m) { // want "maps.Keys"
		out = append(out, m[k])
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
