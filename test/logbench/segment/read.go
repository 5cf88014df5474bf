package segment

import (
	"hash/crc32"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

var errChecksum = errors.New("checksum does not fit")

// readPlace reads what stands there into b, which has its length.
func readPlace(seg *segment, p place, b []byte) error {
	if _, err := seg.file.ReadAt(b, int64(p.at)); err != nil {
		return errors.Annotatef(err, "read %s at %d", seg.name, p.at)
	}
	if crc32.Checksum(b, castagnoli) != p.checksum {
		return errors.Annotatef(errChecksum, "read %s at %d", seg.name, p.at)
	}
	return nil
}

// State returns the group's hard state and last index as last written, nil when there is none.
func (l *Log) State(region uint64) (*raft_serverpb.RaftLocalState, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.index.groups[region]
	if g == nil || !g.hasState {
		return nil, nil
	}
	state := new(raft_serverpb.RaftLocalState)
	return state, errors.Trace(state.Unmarshal(g.state))
}

// Size is what the group's entries take.
func (l *Log) Size(region uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if g := l.index.groups[region]; g != nil {
		return uint64(g.bytes), nil
	}
	return 0, nil
}

// found is an entry's place, with the segment that the place's number means as long as files.reading is held.
type found struct {
	place
	seg *segment
}

// Entries returns the group's entries in [lo, hi), with the contract of logstore.Store.
func (l *Log) Entries(region, lo, hi, maxBytes uint64) ([]eraftpb.Entry, error) {
	if lo >= hi {
		return nil, nil
	}
	l.files.reading.RLock()
	defer l.files.reading.RUnlock()
	places, err := l.find(region, lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	entries := make([]eraftpb.Entry, len(places))
	var b []byte
	for i, p := range places {
		index := lo + uint64(i)
		b = extend(b[:0], int(p.length))
		err := readPlace(p.seg, p.place, b)
		if err == nil {
			err = entries[i].Unmarshal(b)
		}
		if err == nil && entries[i].Index != index {
			err = errors.New("entry says that it is another one")
		}
		if err != nil {
			return nil, &logstore.CorruptError{RegionID: region, Index: index, Reason: err.Error()}
		}
	}
	return entries, nil
}

// find looks up the places of the answer's entries.
func (l *Log) find(region, lo, hi, maxBytes uint64) ([]found, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var places []found
	size := uint64(0)
	g := l.index.groups[region]
	if g == nil {
		g = new(group)
	}
	for i := lo; i < hi; i++ {
		if i < g.first || i-g.first >= uint64(len(g.entries)) || g.entries[i-g.first].length == 0 {
			return nil, &logstore.GapError{RegionID: region, Lo: lo, Hi: hi, Missing: i}
		}
		p := g.entries[i-g.first]
		if size += uint64(p.length); maxBytes > 0 && size > maxBytes && len(places) > 0 {
			break
		}
		places = append(places, found{p, l.files.segment(p.seq)})
	}
	return places, nil
}
