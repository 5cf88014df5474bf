//go:build !linux

package server

import "time"

// bootTime falls back on Go's monotonic clock, which may stand still while the machine is suspended.
func bootTime() time.Time { return time.Now() }
