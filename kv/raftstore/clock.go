package raftstore

import (
	"github.com/pingcap/errors"
	"golang.org/x/sys/unix"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Boottime reads CLOCK_BOOTTIME, which, unlike the clock behind time.Now, goes on while the machine is suspended: a
// lease must not outlive a nap (R11).
func Boottime() machine.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(errors.Annotate(err, "raftstore: no CLOCK_BOOTTIME"))
	}
	return machine.Instant(ts.Nano())
}
