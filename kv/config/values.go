package config

import (
	"fmt"
	"math"
	"time"

	"github.com/docker/go-units"
	"github.com/pingcap/errors"
)

// Size is a number of bytes that is written "512B", "96MB" or "8MiB"; KB and KiB are the same 1024 bytes.
type Size uint64

// Sizes to build others of.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
)

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := units.RAMInBytes(string(text))
	if err != nil || n < 0 || n == math.MaxInt64 {
		return errors.Errorf("%q is not a size; write it as 512B, 96MB or 8MiB", text)
	}
	*s = Size(n)
	return nil
}

// MarshalText writes a size so that it reads back as the same number.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String uses the largest unit that divides the size.
func (s Size) String() string {
	unit := ""
	n := uint64(s)
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	if unit == "" {
		unit = "B"
	}
	return fmt.Sprintf("%d%s", n, unit)
}

// Duration is a time.Duration that is written "10s" or "1m30s".
type Duration struct{ time.Duration }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.Errorf("%q is not a duration; write it as 100ms, 10s or 1m30s", text)
	}
	d.Duration = v
	return nil
}

// MarshalText writes a duration so that it reads back as the same time.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
