package snapfile

import (
	"hash/crc32"

	"github.com/shoal-kv/shoal/kv/engine"
)

// What comes of a table is passed on at once, in the pieces in which it comes, so that nobody gathers a block only to copy it into a file. Whoever takes
// it can use none of it before the table's end, and that is told when the block that says so has been verified, as all before it have been.

// tablePart is a block of which the header has come.
type tablePart struct {
	header [headerLen]byte
	cf     engine.CF
	lane   int
	end    bool // of the table
	left   int  // bytes of its payload that have not come
	sum    uint32
}

// beginPart takes the header of a part of a table.
func (in *incoming) beginPart(header [headerLen]byte) error {
	kind := header[0]
	part := &tablePart{header: header, left: length(header[:])}
	part.cf, part.lane, part.end = ofTableKind(kind)
	switch {
	case in.region == nil:
		return in.corrupt(in.at, "block of kind %#x in the region's place", kind)
	case part.lane >= engine.TableLanes:
		return in.corrupt(in.at, "unexpected block of kind %#x", kind)
	}
	if err := in.turn(in.at, kind, part.cf); err != nil {
		return err
	}
	if in.takePart == nil || in.pairs.count > 0 {
		return in.corrupt(in.at, "a table of column family %s where pairs are due", part.cf)
	}
	in.packed[in.section] = true
	in.table = part
	if part.left == 0 {
		return in.endPart()
	}
	return nil
}

// passOn passes on what has come of the part's payload, and returns what of p is left.
func (in *incoming) passOn(p []byte) ([]byte, error) {
	part := in.table
	n := min(len(p), part.left)
	part.sum = crc32.Update(part.sum, castagnoli, p[:n])
	if err := in.takePart(part.cf, part.lane, p[:n], false); err != nil {
		return nil, err
	}
	if part.left -= n; part.left == 0 {
		return p[n:], in.endPart()
	}
	return p[n:], nil
}

// endPart verifies the part.
func (in *incoming) endPart() error {
	part := in.table
	n := length(part.header[:])
	if h := partHeader(in.at, part.header[0], n, part.sum); h != part.header {
		return in.corrupt(in.at, "block header is %x, must be %x", part.header, h)
	}
	in.at += int64(headerLen + n)
	in.table = nil
	if part.end {
		return in.takePart(part.cf, part.lane, nil, true)
	}
	return nil
}
