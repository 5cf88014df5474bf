package snapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/golang/snappy"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/proto/region"
)

// OpenToInstall opens a received file. ErrNotFound when there is none, *CorruptError when it is damaged where Region and Meta are
// kept; damage elsewhere shows when a Source comes upon it.
func (m *Manager) OpenToInstall(key Key) (*Reader, error) {
	name := fileName(key, true)
	file, err := m.open(name)
	if err != nil {
		return nil, err
	}
	return openReader(name, key, file)
}

// Reader reads one file. Its sources are independent of each other.
type Reader struct {
	name   string
	file   ReadFile
	region *metapb.Region
	footer footer
}

// openReader reads and checks what is needed to find everything else. It owns the file: Close, or an error, closes it.
func openReader(name string, key Key, file ReadFile) (_ *Reader, err error) {
	r := &Reader{name: name, file: file}
	defer func() {
		if err != nil {
			_ = file.Close() // only read from
		}
	}()
	if file.Size() < int64(minFile) {
		return nil, r.corrupt(0, "%d bytes are too few", file.Size())
	}
	var start [len(magic)]byte
	if err := r.readAt(start[:], 0); err != nil {
		return nil, err
	}
	if string(start[:]) != magic {
		return nil, r.corrupt(0, "does not begin with %q: no snapshot, or of another version", magic)
	}
	footerAt := file.Size() - int64(wholeFooter)
	encoded, _, err := r.readBlock(nil, footerAt, file.Size(), kindFooter)
	if err != nil {
		return nil, err
	}
	if len(encoded) != footerLen {
		return nil, r.corrupt(footerAt, "the footer has %d bytes, not %d", len(encoded), footerLen)
	}
	if r.footer, err = decodeFooter(encoded, footerAt); err != nil {
		return nil, r.corrupt(footerAt, "%s", err)
	}
	if r.footer.key != key {
		return nil, r.corrupt(footerAt, "holds the snapshot %+v", r.footer.key)
	}
	return r, r.readRegion()
}

func (r *Reader) readRegion() error {
	at := int64(len(magic))
	encoded, next, err := r.readBlock(nil, at, r.footer.sections[0].start, kindRegion)
	if err != nil {
		return err
	}
	if next != r.footer.sections[0].start {
		return r.corrupt(next, "unexpected data behind the region")
	}
	r.region = new(metapb.Region)
	if err := r.region.Unmarshal(encoded); err != nil {
		return r.corrupt(at, "region cannot be decoded: %s", err)
	}
	if r.region.Id != r.footer.key.RegionID {
		return r.corrupt(at, "holds region %d", r.region.Id)
	}
	return nil
}

// Region is the region as of the snapshot.
func (r *Reader) Region() *metapb.Region { return r.region }

// Meta describes the file.
func (r *Reader) Meta() Meta {
	return Meta{
		Key:      r.footer.key,
		Region:   r.region,
		Size:     uint64(r.file.Size()),
		Checksum: r.footer.checksum,
		CFs:      r.footer.cfs(),
	}
}

// Source returns the pairs of one of engine.DataCFs, in order. When the file does not hold what its footer promises, Next answers false and
// Close returns a *CorruptError: whoever reads a source to its end must not keep what it gave before Close returned nil.
func (r *Reader) Source(cf engine.CF) (engine.Source, error) {
	for _, s := range r.footer.sections {
		if s.CF == cf {
			return r.source(s), nil
		}
	}
	return nil, errors.Errorf("snapshot files do not hold column family %s", cf)
}

// Close releases the file. Its sources must be closed before.
func (r *Reader) Close() error { return errors.Trace(r.file.Close()) }

func (r *Reader) source(s section) *source { return &source{reader: r, section: s, at: s.start} }

// readBlock reads into buf the block at an offset, which must be of that kind and end at or before limit, and returns its
// payload and where it ends.
func (r *Reader) readBlock(buf []byte, at, limit int64, kind byte) (payload []byte, next int64, err error) {
	if limit-at < headerLen {
		return nil, 0, r.corrupt(at, "ends within a block")
	}
	var stored [headerLen]byte
	if err := r.readAt(stored[:], at); err != nil {
		return nil, 0, err
	}
	length := int64(binary.BigEndian.Uint32(stored[1:]))
	if length > maxBlock || length > limit-at-headerLen {
		return nil, 0, r.corrupt(at, "block of %d bytes does not fit", length)
	}
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	payload = buf[:length]
	if err := r.readAt(payload, at+headerLen); err != nil {
		return nil, 0, err
	}
	if h := header(at, kind, payload); !bytes.Equal(h[:], stored[:]) {
		return nil, 0, r.corrupt(at, "block header is %x, must be %x", stored, h)
	}
	return payload, at + headerLen + length, nil
}

func (r *Reader) readAt(b []byte, at int64) error {
	n, err := r.file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return errors.Annotatef(err, "read snapshot file %s at byte %d", r.name, at)
}

func (r *Reader) corrupt(at int64, format string, args ...any) error {
	return &CorruptError{Name: r.name, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// source reads one column family of a file; it implements engine.Source.
type source struct {
	reader   *Reader
	section  section
	at       int64  // offset of the next block
	block    []byte // payload of the present block
	unpacked []byte
	rest     []byte // what of it has not been read
	key      []byte
	value    []byte
	last     []byte // copy of the key before
	pairs    uint64
	bytes    uint64
	err      error
}

// Next moves to the next pair.
func (s *source) Next() bool {
	if s.err != nil {
		return false
	}
	s.last = append(s.last[:0], s.key...) // the next block takes the place of this one
	if len(s.rest) == 0 {
		if s.at == s.section.end {
			s.err = s.checkCounts()
			return false
		}
		at := s.at
		if s.rest, s.err = s.nextBlock(); s.err != nil {
			return false
		}
		if len(s.rest) == 0 {
			s.err = s.reader.corrupt(at, "empty block")
			return false
		}
	}
	s.err = s.decodePair()
	return s.err == nil
}

// nextBlock reads the next block and unpacks it.
func (s *source) nextBlock() (payload []byte, err error) {
	at, cf := s.at, byte(s.section.CF)
	var kind [1]byte
	if err := s.reader.readAt(kind[:], at); err != nil {
		return nil, err
	}
	if kind[0] != kindPacked+cf {
		kind[0] = kindData + cf
	}
	if s.block, s.at, err = s.reader.readBlock(s.block, at, s.section.end, kind[0]); err != nil || kind[0] == kindData+cf {
		return s.block, err
	}
	n, err := snappy.DecodedLen(s.block)
	if err != nil || n > maxBlock {
		return nil, s.reader.corrupt(at, "block that unpacks to %d bytes (%v)", n, err)
	}
	if n > cap(s.unpacked) {
		s.unpacked = make([]byte, n)
	}
	if payload, err = snappy.Decode(s.unpacked[:cap(s.unpacked)], s.block); err != nil {
		return nil, s.reader.corrupt(at, "block cannot be unpacked: %s", err)
	}
	return payload, nil
}

func (s *source) decodePair() error {
	keyLen, n := binary.Uvarint(s.rest)
	if n <= 0 {
		return s.reader.corrupt(s.at, "a length in the block before is malformed")
	}
	valueLen, m := binary.Uvarint(s.rest[n:])
	if m <= 0 {
		return s.reader.corrupt(s.at, "a length in the block before is malformed")
	}
	rest := s.rest[n+m:]
	if keyLen > uint64(len(rest)) || valueLen > uint64(len(rest))-keyLen {
		return s.reader.corrupt(s.at, "the block before ends within a pair")
	}
	s.key, s.value, s.rest = rest[:keyLen:keyLen], rest[keyLen:keyLen+valueLen:keyLen+valueLen], rest[keyLen+valueLen:]
	if s.pairs > 0 && bytes.Compare(s.last, s.key) >= 0 {
		return s.reader.corrupt(s.at, "key %X does not come after %X", s.key, s.last)
	}
	if !region.Contains(s.reader.region, s.key) {
		return s.reader.corrupt(s.at, "key %X is not in the region", s.key)
	}
	s.pairs++
	s.bytes += keyLen + valueLen
	return nil
}

func (s *source) checkCounts() error {
	if s.pairs != s.section.Pairs || s.bytes != s.section.Bytes {
		return s.reader.corrupt(s.at, "column family %s has %d pairs of %d bytes, the footer promises %d of %d",
			s.section.CF, s.pairs, s.bytes, s.section.Pairs, s.section.Bytes)
	}
	return nil
}

// Key and Value are valid until Next.
func (s *source) Key() []byte   { return s.key }
func (s *source) Value() []byte { return s.value }

// Close returns the error that ended the walk early, if any.
func (s *source) Close() error { return s.err }
