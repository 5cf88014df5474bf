// Package keys is the one place that knows how things are laid out in bytes: the store's own keys, and the memcomparable
// form of byte strings.
//
// The store's own keys live in engine.Local and begin with 0x01, so that an operator who dumps an engine can tell them apart.
// A region id and a log index are eight bytes, big-endian, so that keys sort by region, then by kind, then by index:
//
//	0x01 0x01                           a bootstrap that was begun              (state engine)
//	0x01 0x02                           the store's identity                    (state engine)
//	0x01 0x02 region 0x01 index         an entry of the region's raft log       (log engine)
//	0x01 0x02 region 0x02               RaftLocalState: hard state, last index  (log engine)
//	0x01 0x03 region 0x01               RegionLocalState                        (state engine)
//	0x01 0x03 region 0x02               a snapshot that is being installed      (state engine)
//	0x01 0x02 region 0x03               RaftApplyState                          (state engine)
//
// The layout is that of the TinyKV course; only the install marker is ours. The package is arithmetic on byte slices: it
// keeps nothing and leans on nothing.
package keys

import (
	"encoding/binary"
	"fmt"
)

const (
	localPrefix  = 0x01
	bootstrapTag = 0x01
	identTag     = 0x02
	raftTag      = 0x02 // followed by a region id: what raft and apply keep about it
	metaTag      = 0x03 // followed by a region id: what the region is

	raftLogSuffix    = 0x01
	raftStateSuffix  = 0x02
	applyStateSuffix = 0x03

	regionKeyLen  = 2 + 8            // prefix, tag, region
	suffixKeyLen  = regionKeyLen + 1 // …, suffix
	raftLogKeyLen = suffixKeyLen + 8 // …, index
)

// MetaKind says which of a region's meta keys a key is; see DecodeRegionMeta.
type MetaKind byte

// The keys that a region has below 0x01 0x03.
const (
	MetaRegionState   MetaKind = 0x01
	MetaInstallMarker MetaKind = 0x02
)

// DecodeError says that bytes do not have the layout that was asked for.
type DecodeError struct {
	// Want names the layout, such as "raft log key".
	Want string
	// Got is what was to be decoded.
	Got []byte
	// Reason says what is wrong with it.
	Reason string
}

func (e *DecodeError) Error() string {
	const shown = 64
	if len(e.Got) > shown {
		return fmt.Sprintf("malformed %s %X… (%d bytes): %s", e.Want, e.Got[:shown], len(e.Got), e.Reason)
	}
	return fmt.Sprintf("malformed %s %X: %s", e.Want, e.Got, e.Reason)
}

// PrepareBootstrap is the key of the first region while the cluster is being bootstrapped.
func PrepareBootstrap() []byte { return []byte{localPrefix, bootstrapTag} }

// StoreIdent is the key of the store's identity.
func StoreIdent() []byte { return []byte{localPrefix, identTag} }

// RaftLog is the key of one entry of a region's raft log.
func RaftLog(region, index uint64) []byte {
	return AppendRaftLog(make([]byte, 0, raftLogKeyLen), region, index)
}

// AppendRaftLog appends RaftLog(region, index) to dst: for loops that reuse a buffer.
func AppendRaftLog(dst []byte, region, index uint64) []byte {
	dst = appendRegionKey(dst, raftTag, region)
	dst = append(dst, raftLogSuffix)
	return binary.BigEndian.AppendUint64(dst, index)
}

// RaftState is the key of a region's RaftLocalState.
func RaftState(region uint64) []byte {
	return suffixed(raftTag, region, raftStateSuffix)
}

// AppendRaftState appends RaftState(region) to dst: for loops that reuse a buffer.
func AppendRaftState(dst []byte, region uint64) []byte {
	return append(appendRegionKey(dst, raftTag, region), raftStateSuffix)
}

// ApplyState is the key of a region's RaftApplyState.
func ApplyState(region uint64) []byte {
	return suffixed(raftTag, region, applyStateSuffix)
}

// RegionState is the key of a region's RegionLocalState.
func RegionState(region uint64) []byte {
	return suffixed(metaTag, region, byte(MetaRegionState))
}

// InstallMarker is the key that exists while a snapshot's data is in the state engine and the raft log may not know of it yet.
func InstallMarker(region uint64) []byte {
	return suffixed(metaTag, region, byte(MetaInstallMarker))
}

// RaftLogRange is the key range [start, end) of a region's entries with an index in [lo, hi).
func RaftLogRange(region, lo, hi uint64) (start, end []byte) {
	return RaftLog(region, lo), RaftLog(region, hi)
}

// RaftLogAll is the key range of all entries of a region.
func RaftLogAll(region uint64) (start, end []byte) {
	return suffixed(raftTag, region, raftLogSuffix), suffixed(raftTag, region, raftLogSuffix+1)
}

// RegionRaftRange is the key range of all that raft and apply keep about a region: entries, raft state, apply state.
func RegionRaftRange(region uint64) (start, end []byte) {
	return regionRange(raftTag, region)
}

// AllRaftRange is the key range of RegionRaftRange of every region. It holds no StoreIdent.
func AllRaftRange() (start, end []byte) {
	return appendRegionKey(nil, raftTag, 0), []byte{localPrefix, raftTag + 1}
}

// RegionMetaRange is the key range of a region's RegionState and InstallMarker.
func RegionMetaRange(region uint64) (start, end []byte) {
	return regionRange(metaTag, region)
}

// AllRegionMetaRange is the key range of RegionMetaRange of every region; DecodeRegionMeta tells its keys apart.
func AllRegionMetaRange() (start, end []byte) {
	return []byte{localPrefix, metaTag}, []byte{localPrefix, metaTag + 1}
}

// DecodeRaftLog returns the region and the index of a RaftLog key, or a *DecodeError.
func DecodeRaftLog(key []byte) (region, index uint64, err error) {
	const want = "raft log key"
	region, suffix, err := decodeRegionKey(want, raftTag, key)
	switch {
	case err != nil:
		return 0, 0, err
	case suffix != raftLogSuffix:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("has the suffix %#02x", suffix)}
	case len(key) != raftLogKeyLen:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("must be %d bytes long", raftLogKeyLen)}
	}
	return region, binary.BigEndian.Uint64(key[suffixKeyLen:]), nil
}

// DecodeRaftRegion returns the region of any key in AllRaftRange, or a *DecodeError.
func DecodeRaftRegion(key []byte) (region uint64, err error) {
	region, _, err = decodeRegionKey("raft key", raftTag, key)
	return region, err
}

// DecodeRegionMeta returns the region of a key in AllRegionMetaRange and which of the region's keys it is, or a *DecodeError.
func DecodeRegionMeta(key []byte) (region uint64, kind MetaKind, err error) {
	const want = "region meta key"
	region, suffix, err := decodeRegionKey(want, metaTag, key)
	if err != nil {
		return 0, 0, err
	}
	kind = MetaKind(suffix)
	switch {
	case kind != MetaRegionState && kind != MetaInstallMarker:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("has the suffix %#02x", suffix)}
	case len(key) != suffixKeyLen:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("must be %d bytes long", suffixKeyLen)}
	}
	return region, kind, nil
}

// DecodeRegionState returns the region of a RegionState key, or a *DecodeError.
func DecodeRegionState(key []byte) (region uint64, err error) {
	region, kind, err := DecodeRegionMeta(key)
	if err == nil && kind != MetaRegionState {
		return 0, &DecodeError{Want: "region state key", Got: key, Reason: fmt.Sprintf("has the suffix %#02x", byte(kind))}
	}
	return region, err
}

func appendRegionKey(dst []byte, tag byte, region uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, localPrefix, tag), region)
}

func suffixed(tag byte, region uint64, suffix byte) []byte {
	return append(appendRegionKey(make([]byte, 0, suffixKeyLen), tag, region), suffix)
}

func regionRange(tag byte, region uint64) (start, end []byte) {
	start = appendRegionKey(nil, tag, region)
	if region+1 == 0 {
		return start, []byte{localPrefix, tag + 1}
	}
	return start, appendRegionKey(nil, tag, region+1)
}

func decodeRegionKey(want string, tag byte, key []byte) (region uint64, suffix byte, err error) {
	switch {
	case len(key) < suffixKeyLen:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("must be at least %d bytes long", suffixKeyLen)}
	case key[0] != localPrefix || key[1] != tag:
		return 0, 0, &DecodeError{Want: want, Got: key, Reason: fmt.Sprintf("must begin with %02X%02X", localPrefix, tag)}
	}
	return binary.BigEndian.Uint64(key[2:]), key[regionKeyLen], nil
}
