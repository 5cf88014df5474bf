package keys

const timestampLen = 8

// SplitKey is where a region that has key may be split: in front of it, and never between the versions of one user key. A transaction's keys are the
// memcomparable form of a user key, and in the write family, and for large values in the default one, a timestamp of eight bytes behind it, which is cut
// off. Any other key is a raw one and stays whole. A raw key may look like a transaction's: then what is returned lies a little in front of
// it, which is as good. The answer aliases key.
func SplitKey(key []byte) []byte {
	_, rest, err := DecodeBytes(nil, key)
	if err != nil || len(rest) != timestampLen {
		return key
	}
	return key[:len(key)-timestampLen]
}
