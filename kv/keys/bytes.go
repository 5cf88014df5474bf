package keys

import "fmt"

// The memcomparable form cuts a byte string into groups of eight, pads the last one with zeros, and puts after each group a
// marker: 0xff means that more follows, anything else is 0xff minus the number of padding bytes. A string whose length is a
// multiple of eight (the empty one too) ends in a group that is all padding. Encoded strings sort as the plain ones do, also when
// something is appended to them: none is a prefix of another.
const (
	groupSize = 8
	marker    = 0xff
)

// EncodedLen is the length of the memcomparable form of a string of n bytes.
func EncodedLen(n int) int { return (n/groupSize + 1) * (groupSize + 1) }

// EncodeBytes appends the memcomparable form of b to dst.
func EncodeBytes(dst, b []byte) []byte {
	for len(b) >= groupSize {
		dst = append(dst, b[:groupSize]...)
		dst = append(dst, marker)
		b = b[groupSize:]
	}
	var last [groupSize + 1]byte
	n := copy(last[:], b)
	last[groupSize] = marker - byte(groupSize-n)
	return append(dst, last[:]...)
}

// DecodeBytes appends to dst the string whose memcomparable form encoded begins with, and returns it with what follows the form.
// It accepts exactly what EncodeBytes makes; else the error is a *DecodeError.
func DecodeBytes(dst, encoded []byte) (b, rest []byte, err error) {
	rest = encoded
	for {
		if len(rest) <= groupSize {
			return nil, nil, malformedBytes(encoded, "ends within a group")
		}
		group, mark := rest[:groupSize], rest[groupSize]
		rest = rest[groupSize+1:]
		if mark == marker {
			dst = append(dst, group...)
			continue
		}
		pad := int(marker - mark)
		if pad > groupSize {
			return nil, nil, malformedBytes(encoded, fmt.Sprintf("has the group marker %#02x", mark))
		}
		for _, c := range group[groupSize-pad:] {
			if c != 0 {
				return nil, nil, malformedBytes(encoded, "has padding that is not zero")
			}
		}
		return append(dst, group[:groupSize-pad]...), rest, nil
	}
}

func malformedBytes(encoded []byte, reason string) error {
	return &DecodeError{Want: "memcomparable bytes", Got: encoded, Reason: reason}
}
