package keys

import (
	"encoding/binary"
	"math"
)

// In TTL mode (storage.enable-ttl) a raw value is stored with the time at which it expires behind it, as kvproto defines it for
// APIVersion.V1TTL:
//
//	value  expiry:8     big-endian, seconds since 1970; 0 means never
//
// Without the mode a raw value is stored as it is. Which of the two holds is the store's ident's to say, never the value's.

// expiryLen is the length of what TTL mode adds to a value.
const expiryLen = 8

// AppendRawValue appends the stored form of a value that expires at the given second, or never if that is 0, to dst.
func AppendRawValue(dst, value []byte, expiry uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, value...), expiry)
}

// SplitRawValue takes a stored value apart; the value aliases stored and is not nil.
func SplitRawValue(stored []byte) (value []byte, expiry uint64, err error) {
	n := len(stored) - expiryLen
	if n < 0 {
		return nil, 0, &DecodeError{Want: "raw value with an expiry", Got: stored, Reason: "shorter than the expiry alone"}
	}
	return stored[:n:n], binary.BigEndian.Uint64(stored[n:]), nil
}

// Expiry is when a value that is written now, with that time to live, expires: both in seconds. A ttl of 0 is none, and one beyond the
// end of time ends there.
func Expiry(now, ttl uint64) uint64 {
	switch {
	case ttl == 0:
		return 0
	case ttl > math.MaxUint64-now:
		return math.MaxUint64
	}
	return now + ttl
}

// AppendBound appends the second by which a conditional deletion holds a value for expired.
func AppendBound(dst []byte, second uint64) []byte { return binary.BigEndian.AppendUint64(dst, second) }

// DecodeBound reads what AppendBound wrote.
func DecodeBound(b []byte) (second uint64, err error) {
	if len(b) != expiryLen {
		return 0, &DecodeError{Want: "bound of an expiry", Got: b, Reason: "not 8 bytes"}
	}
	return binary.BigEndian.Uint64(b), nil
}

// Expired reports whether a value that expires at expiry is gone at now. It is from the very second on.
func Expired(expiry, now uint64) bool { return expiry != 0 && expiry <= now }
