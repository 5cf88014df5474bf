package sim

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkLife plays lives of five stores and eight clients with every fault there is, each at a fifth of its usual frequency, and tells how many virtual
// seconds a second of CPU time is worth, garbage collection included, and how much the clients did.
func BenchmarkLife(b *testing.B) {
	var virtual time.Duration
	operations := 0
	before := cpuTime(b)
	for i := range b.N {
		cfg := Default(uint64(i + 1))
		cfg.LostAfter = 10 * time.Second
		cfg.Faults = make(map[string]float64)
		for _, name := range Nemeses() {
			cfg.Faults[name] = 0.2
		}
		r := Run(cfg, nil)
		if err := r.Err(); err != nil {
			b.Fatal(err)
		}
		virtual += r.Virtual
		operations += r.Counts.Operations
	}
	b.ReportMetric(virtual.Seconds()/(cpuTime(b)-before).Seconds(), "virtual-s/cpu-s")
	b.ReportMetric(float64(operations)/virtual.Seconds(), "ops/virtual-s")
	b.ReportMetric(0, "ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
