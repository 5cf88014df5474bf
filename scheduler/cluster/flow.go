package cluster

import "math"

// Load is a region's estimated size and its traffic since the heartbeat before, in bytes and keys.
type Load struct {
	Size, Keys                uint64
	BytesWritten, KeysWritten uint64
	BytesRead, KeysRead       uint64
	// Seconds is how long the traffic took; 0 if the report does not say.
	Seconds uint64
}

// Rate is traffic per second.
type Rate struct {
	Bytes uint32 `json:"bytes"`
	Keys  uint32 `json:"keys"`
}

// Flow is a region's traffic as averages in which what is long ago counts little, and for how many reports it has been
// above what is worth moving.
type Flow struct {
	Read, Write         Rate
	ReadHeat, WriteHeat uint8
}

const (
	// usualInterval stands in for the interval that a report does not name, and memory is the time in which what was counts for a third.
	usualInterval = 60
	memory        = 120.0
	maxHeat       = 12
)

// From this much traffic on a region is worth being looked at as hot.
var (
	hotRead  = Rate{Bytes: 8 << 10, Keys: 128}
	hotWrite = Rate{Bytes: 1 << 10, Keys: 32}
)

func (f Flow) after(l Load) Flow {
	seconds := float64(l.Seconds)
	if seconds == 0 {
		if l.BytesRead|l.KeysRead|l.BytesWritten|l.KeysWritten == 0 && f == (Flow{}) {
			return f
		}
		seconds = usualInterval
	}
	fresh := 1 - math.Exp(-seconds/memory)
	f.Read = f.Read.blend(l.BytesRead, l.KeysRead, seconds, fresh)
	f.Write = f.Write.blend(l.BytesWritten, l.KeysWritten, seconds, fresh)
	f.ReadHeat = warm(f.ReadHeat, f.Read.reaches(hotRead))
	f.WriteHeat = warm(f.WriteHeat, f.Write.reaches(hotWrite))
	return f
}

func (r Rate) blend(bytes, keys uint64, seconds, fresh float64) Rate {
	mix := func(old uint32, count uint64) uint32 {
		return uint32(min(math.MaxUint32, float64(old)*(1-fresh)+float64(count)/seconds*fresh))
	}
	return Rate{Bytes: mix(r.Bytes, bytes), Keys: mix(r.Keys, keys)}
}

func (r Rate) reaches(least Rate) bool { return r.Bytes >= least.Bytes || r.Keys >= least.Keys }

func warm(heat uint8, hot bool) uint8 {
	switch {
	case hot:
		return min(maxHeat, heat+1)
	case heat > 0:
		return heat - 1
	}
	return 0
}

// Sum is the traffic of many regions per second.
type Sum struct{ Bytes, Keys int64 }

func (s *Sum) add(r Rate, sign int) {
	s.Bytes += int64(sign) * int64(r.Bytes)
	s.Keys += int64(sign) * int64(r.Keys)
}
