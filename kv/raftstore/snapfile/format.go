package snapfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/shoal-kv/shoal/kv/engine"
)

// The numbers of the file format; see the package comment.
const (
	magic = "SHOALSN2"

	kindRegion = 0x01
	kindFooter = 0x02
	kindData   = 0x10
	kindPacked = 0x20
	kindTable  = 0x30 // a part of a table, not its last
	kindLast   = 0x40 // a table's last part
	kindLane   = 0x04 // of tables: times the lane's number

	headerLen    = 1 + 4 + 4
	footerCFLen  = 1 + 8 + 8 + 8
	footerLen    = 8 + 8 + 8 + len(engine.DataCFs)*footerCFLen
	wholeFooter  = headerLen + footerLen
	blockTarget  = 64 << 10
	maxBlock     = 64 << 20
	minFile      = len(magic) + headerLen + wholeFooter
	maxPairSpace = maxBlock - blockTarget - 2*binary.MaxVarintLen64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header returns the header of a block at an offset of the file.
func header(offset int64, kind byte, payload []byte) (h [headerLen]byte) {
	h[0] = kind
	binary.BigEndian.PutUint32(h[1:], uint32(len(payload)))
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(offset))
	sum := crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, h[:5])
	binary.BigEndian.PutUint32(h[5:], crc32.Update(sum, castagnoli, payload))
	return h
}

// partHeader returns the header of a block that carries a part of a table, whose payload has that length and sum: the payload is summed first, as the
// length is known last.
func partHeader(offset int64, kind byte, length int, sum uint32) (h [headerLen]byte) {
	h[0] = kind
	binary.BigEndian.PutUint32(h[1:], uint32(length))
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(offset))
	sum = crc32.Update(crc32.Update(sum, castagnoli, at[:]), castagnoli, h[:5])
	binary.BigEndian.PutUint32(h[5:], sum)
	return h
}

// ofTable says whether a block of that kind carries a part of a table.
func ofTable(kind byte) bool { return kind >= kindTable }

// tableKind is the kind of a block that carries a part of a table, or its last.
func tableKind(cf engine.CF, lane int, last bool) byte {
	kind := byte(kindTable)
	if last {
		kind = kindLast
	}
	return kind + byte(lane)*kindLane + byte(cf)
}

// ofTableKind is what a block's kind says, if it carries a part of a table.
func ofTableKind(kind byte) (cf engine.CF, lane int, last bool) {
	last = kind >= kindLast
	if last {
		kind -= kindLast
	} else {
		kind -= kindTable
	}
	return engine.CF(kind % kindLane), int(kind / kindLane), last
}

// section is where a file keeps one column family.
type section struct {
	CFMeta
	start, end int64
}

// footer is the decoded footer of a file.
type footer struct {
	key      Key
	sections [len(engine.DataCFs)]section
}

func (f *footer) encode() []byte {
	b := make([]byte, 0, footerLen)
	b = binary.BigEndian.AppendUint64(b, f.key.RegionID)
	b = binary.BigEndian.AppendUint64(b, f.key.Term)
	b = binary.BigEndian.AppendUint64(b, f.key.Index)
	for _, s := range f.sections {
		b = append(b, byte(s.CF))
		b = binary.BigEndian.AppendUint64(b, uint64(s.start))
		b = binary.BigEndian.AppendUint64(b, s.Pairs)
		b = binary.BigEndian.AppendUint64(b, s.Bytes)
	}
	return b
}

// decodeFooter reads a footer that begins at an offset of the file; sections end where the next one begins.
func decodeFooter(b []byte, at int64) (f footer, err error) {
	f.key = Key{
		RegionID: binary.BigEndian.Uint64(b),
		Term:     binary.BigEndian.Uint64(b[8:]),
		Index:    binary.BigEndian.Uint64(b[16:]),
	}
	end := at
	for i := len(f.sections) - 1; i >= 0; i-- {
		c := b[24+i*footerCFLen:]
		start := int64(binary.BigEndian.Uint64(c[1:]))
		if engine.CF(c[0]) != engine.DataCFs[i] || start < int64(len(magic)) || start > end {
			return f, fmt.Errorf("the footer's entry %d does not describe column family %s", i, engine.DataCFs[i])
		}
		f.sections[i] = section{
			CFMeta: CFMeta{
				CF:    engine.CF(c[0]),
				Pairs: binary.BigEndian.Uint64(c[9:]),
				Bytes: binary.BigEndian.Uint64(c[17:]),
			},
			start: start,
			end:   end,
		}
		end = start
	}
	return f, nil
}

func (f *footer) cfs() []CFMeta {
	metas := make([]CFMeta, len(f.sections))
	for i, s := range f.sections {
		metas[i] = s.CFMeta
	}
	return metas
}
