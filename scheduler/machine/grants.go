package machine

import (
	"encoding/binary"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/oracle"
)

// AllocIDs hands out count consecutive ids and returns the first.
func (t *Term) AllocIDs(count uint64, at Moment) (first uint64, save *Save, err error) {
	g := t.ids.Next(count, at.Now, at.LeaseEnd)
	switch g.Verdict {
	case oracle.Granted:
		return g.First, nil, nil
	case oracle.SaveFirst:
		return 0, t.saveIDs(g.Save), nil
	case oracle.TooMany:
		return 0, nil, ErrTooMany
	}
	return 0, nil, ErrNotLeader
}

// RenewIDs keeps ids in stock; nil while there are enough. It is to be asked now and then.
func (t *Term) RenewIDs(Moment) (*Save, error) {
	if bound := t.ids.Renew(); bound > 0 {
		return t.saveIDs(bound), nil
	}
	return nil, nil
}

func (t *Term) saveIDs(bound uint64) *Save {
	return &Save{Ops: []Op{{idKey, bigEndian(bound)}}, take: func(time.Time) { t.ids.Saved(bound) }}
}

// Timestamps hands out timestamps. It is a machine by itself.
type Timestamps struct{ oracle *oracle.Timestamps }

// Next hands out count timestamps and returns the last; the others are just below it, with the same physical part, which is
// in milliseconds since the epoch.
func (ts *Timestamps) Next(count uint32, at Moment) (physical, logical int64, save *Save, err error) {
	g := ts.oracle.Next(count, at.Wall.UnixMilli(), at.Now, at.LeaseEnd)
	switch g.Verdict {
	case oracle.Granted:
		return g.Physical, g.Logical, nil, nil
	case oracle.SaveFirst:
		return 0, 0, ts.save(g.Save), nil
	case oracle.TooMany:
		return 0, 0, nil, ErrTooMany
	}
	return 0, 0, nil, ErrNotLeader
}

// Renew keeps the saved bound ahead of the clock, so that requests need not wait for it; nil while it is far enough. It is to be
// asked several times in a window.
func (ts *Timestamps) Renew(at Moment) (*Save, error) {
	if bound := ts.oracle.Renew(at.Wall.UnixMilli()); bound > 0 {
		return ts.save(bound), nil
	}
	return nil, nil
}

// Ahead is by how much timestamps are ahead of the wall clock, which stands still for them until it has caught up.
func (ts *Timestamps) Ahead(wall time.Time) time.Duration {
	return time.Duration(ts.oracle.Physical()-wall.UnixMilli()) * time.Millisecond
}

func (ts *Timestamps) save(bound int64) *Save {
	return &Save{Ops: []Op{{timestampKey, bigEndian(uint64(bound))}}, take: func(time.Time) { ts.oracle.Saved(bound) }}
}

func bigEndian(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func decodeBound(what string, value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, errors.Errorf("the persisted bound of %s has %d bytes, want 8", what, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
