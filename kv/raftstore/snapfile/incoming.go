package snapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// incoming takes a file apart while it comes, in pieces of any size, and checks all of it: every block's checksum and place, every
// pair, and at the end the counts. Nothing is read twice, and neither tables nor what comes in whole blocks is copied.
type incoming struct {
	name string
	key  Key
	// at is where in the file the next block begins, part what has come of it, when the rest has not.
	at   int64
	part []byte
	// section is that of the column family whose blocks come.
	section  int
	sections [len(engine.DataCFs)]section
	packed   [len(engine.DataCFs)]bool // which come as tables
	pairs    pairs
	region   *metapb.Region // nil until its block has come
	footer   footer
	ended    bool
	// table is the part of a table that comes; nil between two.
	table *tablePart
	// begin is told of the region, take of every pair. takePart is given what comes of a table, piece by piece before its block is verified; that the table ends it
	// is told when all of it has been. Their errors end the reception. Each may be nil; without takePart tables are refused.
	begin    func(*metapb.Region) error
	take     func(cf engine.CF, key, value []byte) error
	takePart func(cf engine.CF, lane int, part []byte, end bool) error
}

// feed takes the file's next bytes.
func (in *incoming) feed(p []byte) error {
	for len(p) > 0 {
		var err error
		switch {
		case in.ended:
			return in.corrupt(in.at, "goes on behind its footer")
		case in.table != nil:
			p, err = in.passOn(p)
		default:
			p, err = in.block(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// block takes the next block, or what has come of it, and returns what of p is left.
func (in *incoming) block(p []byte) ([]byte, error) {
	need, err := in.need(p)
	if err != nil {
		return nil, err
	}
	block, rest := in.gather(p, need)
	switch {
	case block == nil:
		return nil, nil
	case in.at == 0:
		if string(block) != magic {
			return nil, in.corrupt(0, "does not begin with %q: no snapshot, or of another version", magic)
		}
		in.at = int64(len(magic))
	case ofTable(block[0]):
		err = in.beginPart([headerLen]byte(block))
	case len(block) == headerLen && length(block) > 0:
		return rest, nil // now that the header is whole, the block's length is known
	default:
		err = in.accept(block)
	}
	in.part = in.part[:0]
	return rest, err
}

// need is how many bytes what comes next has, as far as that is known.
func (in *incoming) need(p []byte) (int, error) {
	switch {
	case in.at == 0:
		return len(magic), nil
	case len(in.part) >= headerLen:
		p = in.part
	case len(in.part) > 0 || len(p) < headerLen:
		return headerLen, nil
	}
	if n := length(p); n > maxBlock {
		return 0, in.corrupt(in.at, "block of %d bytes, the limit is %d", n, maxBlock)
	}
	if ofTable(p[0]) {
		return headerLen, nil
	}
	return headerLen + length(p), nil
}

func length(header []byte) int { return int(binary.BigEndian.Uint32(header[1:])) }

// gather returns n bytes in one piece once they have come, and what of p is left.
func (in *incoming) gather(p []byte, n int) (whole, rest []byte) {
	if len(in.part) == 0 && len(p) >= n {
		return p[:n], p[n:]
	}
	m := min(max(0, n-len(in.part)), len(p))
	in.part = append(in.part, p[:m]...)
	if len(in.part) < n {
		return nil, nil
	}
	return in.part, p[m:]
}

// accept takes a whole block.
func (in *incoming) accept(block []byte) error {
	at, kind, payload := in.at, block[0], block[headerLen:]
	if h := header(at, kind, payload); !bytes.Equal(h[:], block[:headerLen]) {
		return in.corrupt(at, "block header is %x, must be %x", block[:headerLen], h)
	}
	in.at += int64(len(block))
	switch {
	case in.region == nil:
		return in.acceptRegion(at, kind, payload)
	case kind == kindFooter:
		return in.acceptFooter(at, payload)
	}
	return in.acceptPairs(at, kind, payload)
}

func (in *incoming) acceptRegion(at int64, kind byte, payload []byte) error {
	if kind != kindRegion {
		return in.corrupt(at, "block of kind %#x in the region's place", kind)
	}
	r, err := decodeRegion(payload, in.key)
	if err != nil {
		return in.corrupt(at, "%s", err)
	}
	in.region = r
	in.enter(0, in.at)
	if in.begin == nil {
		return nil
	}
	return in.begin(r)
}

// enter begins a column family, whose blocks come from at on.
func (in *incoming) enter(section int, at int64) {
	in.section = section
	in.sections[section].CF, in.sections[section].start = engine.DataCFs[section], at
	in.pairs = pairs{region: in.region, unpacked: in.pairs.unpacked, last: in.pairs.last}
}

// leave ends a column family.
func (in *incoming) leave() {
	s := &in.sections[in.section]
	s.Pairs, s.Bytes = in.pairs.count, in.pairs.bytes
}

func (in *incoming) acceptPairs(at int64, kind byte, payload []byte) error {
	packed := kind >= kindPacked
	cf := engine.CF(kind - kindData)
	if packed {
		cf = engine.CF(kind - kindPacked)
	}
	if err := in.turn(at, kind, cf); err != nil {
		return err
	}
	if in.packed[in.section] {
		return in.corrupt(at, "pairs and tables of column family %s", cf)
	}
	p := &in.pairs
	if err := p.load(payload, packed); err != nil {
		return in.corrupt(at, "%s", err)
	}
	for len(p.rest) > 0 {
		if err := p.next(); err != nil {
			return in.corrupt(at, "%s", err)
		}
		if in.take == nil {
			continue
		}
		if err := in.take(cf, p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// turn moves on to a column family.
func (in *incoming) turn(at int64, kind byte, cf engine.CF) error {
	for in.sections[in.section].CF != cf {
		if in.section == len(engine.DataCFs)-1 {
			return in.corrupt(at, "unexpected block of kind %#x", kind)
		}
		in.leave()
		in.enter(in.section+1, at)
	}
	return nil
}

// acceptFooter compares the footer with what has come.
func (in *incoming) acceptFooter(at int64, payload []byte) (err error) {
	if len(payload) != footerLen {
		return in.corrupt(at, "the footer has %d bytes, not %d", len(payload), footerLen)
	}
	if in.footer, err = decodeFooter(payload, at); err != nil {
		return in.corrupt(at, "%s", err)
	}
	if in.footer.key != in.key {
		return in.corrupt(at, "holds the snapshot %+v", in.footer.key)
	}
	for in.leave(); in.section < len(engine.DataCFs)-1; in.leave() {
		in.enter(in.section+1, at)
	}
	for i, want := range in.footer.sections {
		got := in.sections[i]
		if in.packed[i] { // what the tables hold is not known yet
			got.Pairs, got.Bytes = want.Pairs, want.Bytes
		}
		if got.CFMeta != want.CFMeta || got.start != want.start {
			return in.corrupt(at, "column family %s has %d pairs of %d bytes from byte %d on, the footer promises %d of %d from %d on",
				want.CF, got.Pairs, got.Bytes, got.start, want.Pairs, want.Bytes, want.start)
		}
	}
	in.ended = true
	return nil
}

// tables compares what the tables are found to hold with the footer.
func (in *incoming) tables(found func(engine.CF) engine.Packed) error {
	for i, want := range in.footer.sections {
		if got := found(want.CF); in.packed[i] && got != (engine.Packed{Pairs: want.Pairs, Bytes: want.Bytes}) {
			return in.corrupt(want.start, "the tables of column family %s hold %d pairs of %d bytes, the footer promises %d of %d",
				want.CF, got.Pairs, got.Bytes, want.Pairs, want.Bytes)
		}
	}
	return nil
}

// meta describes the file, or says that it has not come whole.
func (in *incoming) meta() (Meta, error) {
	if !in.ended {
		return Meta{}, in.corrupt(in.at+int64(len(in.part)), "ends before its footer")
	}
	return Meta{Key: in.key, Region: in.region, Size: uint64(in.at), CFs: in.footer.cfs()}, nil
}

func (in *incoming) corrupt(at int64, format string, args ...any) error {
	return &CorruptError{Name: in.name, Offset: at, Reason: fmt.Sprintf(format, args...)}
}
