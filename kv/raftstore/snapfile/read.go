package snapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// OpenToInstall opens a received file. ErrNotFound when there is none, *CorruptError when it is damaged where Region and Meta are
// kept; damage elsewhere shows when a Source comes upon it.
func (m *Manager) OpenToInstall(key Key) (*Reader, error) {
	name := fileName(key)
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
	if r.region, err = decodeRegion(encoded, r.footer.key); err != nil {
		return r.corrupt(at, "%s", err)
	}
	return nil
}

// decodeRegion reads the region of the snapshot with that key.
func decodeRegion(b []byte, key Key) (*metapb.Region, error) {
	r := new(metapb.Region)
	if err := r.Unmarshal(b); err != nil {
		return nil, fmt.Errorf("region cannot be decoded: %w", err)
	}
	if r.Id != key.RegionID {
		return nil, fmt.Errorf("holds region %d", r.Id)
	}
	return r, nil
}

// Region is the region as of the snapshot.
func (r *Reader) Region() *metapb.Region { return r.region }

// Meta describes the file.
func (r *Reader) Meta() Meta {
	return Meta{
		Key:    r.footer.key,
		Region: r.region,
		Size:   uint64(r.file.Size()),
		CFs:    r.footer.cfs(),
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

func (r *Reader) source(s section) *source {
	return &source{reader: r, section: s, at: s.start, pairs: pairs{region: r.region}}
}

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
	reader  *Reader
	section section
	at      int64  // offset of the next block
	block   []byte // payload of the present block
	pairs   pairs
	err     error
}

// Next moves to the next pair.
func (s *source) Next() bool {
	if s.err != nil {
		return false
	}
	at := s.at
	if len(s.pairs.rest) == 0 {
		if at == s.section.end {
			if err := s.pairs.complete(s.section.CFMeta); err != nil {
				s.err = s.reader.corrupt(at, "%s", err)
			}
			return false
		}
		if s.err = s.nextBlock(); s.err != nil {
			return false
		}
	}
	if err := s.pairs.next(); err != nil {
		s.err = s.reader.corrupt(at, "%s", err)
	}
	return s.err == nil
}

// nextBlock reads the next block.
func (s *source) nextBlock() (err error) {
	at, cf := s.at, byte(s.section.CF)
	var kind [1]byte
	if err := s.reader.readAt(kind[:], at); err != nil {
		return err
	}
	packed := kind[0] == kindPacked+cf
	if !packed {
		kind[0] = kindData + cf
	}
	if s.block, s.at, err = s.reader.readBlock(s.block, at, s.section.end, kind[0]); err != nil {
		return err
	}
	if err := s.pairs.load(s.block, packed); err != nil {
		return s.reader.corrupt(at, "%s", err)
	}
	return nil
}

// Key and Value are valid until Next.
func (s *source) Key() []byte   { return s.pairs.key }
func (s *source) Value() []byte { return s.pairs.value }

// Close returns the error that ended the walk early, if any.
func (s *source) Close() error { return s.err }
