package pebbledb

import "github.com/shoal-kv/shoal/kv/engine"

// A column family is one byte in front of the key: the families lie one after the other in pebble's one key space, and
// the byte after a family's own is its end.

func appendKey(dst []byte, cf engine.CF, key []byte) []byte {
	dst = append(dst, byte(cf))
	return append(dst, key...)
}

// appendEnd is appendKey for an exclusive upper bound, where empty means the end of the family.
func appendEnd(dst []byte, cf engine.CF, end []byte) []byte {
	if len(end) == 0 {
		return append(dst, byte(cf)+1)
	}
	return appendKey(dst, cf, end)
}
