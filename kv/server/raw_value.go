package server

import (
	"context"
	"time"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// Raw values, as they are stored and as clients see them. Every raw read and write goes through here. In TTL mode a stored value ends in
// its expiry (package keys), which the server that takes the write computes: what is replicated is an absolute time, so
// replicas are equal and nothing below reads a clock. A read judges at the one moment at which it got its snapshot: what has
// expired by then does not exist.

// rawClock is the wall clock of TTL mode; nil without the mode.
type rawClock func() time.Time

// now is in seconds since 1970, 0 before that.
func (c rawClock) now() uint64 { return uint64(max(0, c().Unix())) }

// store returns the stored form of a value that is written now.
func (c rawClock) store(value []byte, ttl uint64) []byte {
	if c == nil {
		return value
	}
	return keys.AppendRawValue(nil, value, keys.Expiry(c.now(), ttl))
}

// check refuses a ttl that would silently never come.
func (c rawClock) check(ttls ...uint64) error {
	for _, ttl := range ttls {
		if c == nil && ttl != 0 {
			return errNoTTL
		}
	}
	return nil
}

// errNoTTL begins as clients of the family know it.
var errNoTTL = &InvalidError{
	Reason: "ttl is not enabled, but get put request with ttl: values expire only in a cluster whose stores were made with storage.enable-ttl = true",
}

// rawSnapshot shows a snapshot's raw values as of one moment.
type rawSnapshot struct {
	storage.Snapshot
	expire bool
	now    uint64
}

func (c rawClock) at(snap storage.Snapshot) rawSnapshot {
	if c == nil {
		return rawSnapshot{Snapshot: snap}
	}
	return rawSnapshot{Snapshot: snap, expire: true, now: c.now()}
}

// get reads one key, which must be the region's; a nil value means that it does not exist. Expiry is 0 for what never expires.
func (s *rawSnapshot) get(cf engine.CF, key []byte) (value []byte, expiry uint64, err error) {
	if !region.Contains(s.Region(), key) {
		return nil, 0, &region.KeyNotInRegionError{Key: key, Region: s.Region()}
	}
	stored, err := s.Snapshot.Get(cf, key)
	if err != nil {
		return nil, 0, internal(err, "reading a key")
	}
	if stored == nil {
		return nil, 0, nil
	}
	return s.see(stored)
}

// see takes a stored value apart; nil when it has expired.
func (s *rawSnapshot) see(stored []byte) (value []byte, expiry uint64, err error) {
	if !s.expire {
		return stored, 0, nil
	}
	value, expiry, err = keys.SplitRawValue(stored)
	if err != nil {
		return nil, 0, internal(err, "reading a value")
	}
	if keys.Expired(expiry, s.now) {
		return nil, 0, nil
	}
	return value, expiry, nil
}

// deadlineStride is how many rows are read between two looks at a deadline.
const deadlineStride = 128

// each calls visit for the pairs of a range, in ascending or descending order, until it answers false or an error. Keys and values are
// valid until visit returns; the value is nil with opts.KeyOnly.
func (s *rawSnapshot) each(
	ctx context.Context, cf engine.CF, opts engine.IterOptions, reverse bool, visit func(key, value []byte) (more bool, err error),
) (err error) {
	keyOnly := opts.KeyOnly
	opts.KeyOnly = keyOnly && !s.expire
	it, err := s.NewIterator(cf, opts)
	if err != nil {
		return internal(err, "opening an iterator")
	}
	defer func() {
		// A failed iterator looks like an exhausted one until it is closed.
		if closeErr := it.Close(); err == nil && closeErr != nil {
			err = internal(closeErr, "scanning")
		}
	}()
	first, next := func() bool { return it.SeekGE(nil) }, it.Next
	if reverse {
		first, next = func() bool { return it.SeekLT(nil) }, it.Prev
	}
	rows := 0
	for ok := first(); ok; ok = next() {
		if rows++; rows%deadlineStride == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var value []byte
		if !opts.KeyOnly {
			if value, _, err = s.see(it.Value()); err != nil {
				return err
			}
			if value == nil && s.expire {
				continue
			}
		}
		if keyOnly {
			value = nil
		}
		if more, err := visit(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}
