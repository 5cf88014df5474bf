package snapfile

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/golang/snappy"
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Stream writes a held snapshot, block by block, for one receiver: no byte of it has been on the sender's disk. Not for concurrent use.
type Stream struct {
	manager *Manager
	held    *held
	// offset is where in the file the next block begins.
	offset int64
	footer footer
	// section is that of the column family that is being read, it its iterator, more whether that stands on a pair.
	section int
	it      engine.Iterator
	more    bool
	block   []byte // pairs, before they are packed
	read    []byte // what Read has got and not yet given
	packing *packing
	ended   bool
	closed  bool
}

// OpenToSend begins to write the snapshot that is held under that key. The caller closes the stream; the snapshot may be deleted meanwhile.
// ErrNotFound when there is none.
func (m *Manager) OpenToSend(key Key) (*Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.held[key]
	if h == nil {
		return nil, errors.Annotatef(ErrNotFound, "%+v", key)
	}
	h.users++
	return &Stream{manager: m, held: h, footer: footer{key: key}}, nil
}

// Next appends the next block to b, which may move, so that b is the stream's from then on, with what belongs to the file's begin; io.EOF, and nothing appended, when the file is complete.
// It waits as the snapshot's pace wants it, and what pace or the engine answers is its error.
func (s *Stream) Next(b []byte) ([]byte, error) {
	switch {
	case s.ended:
		return b, io.EOF
	case s.offset == 0:
		s.offset = int64(len(magic))
		return s.put(append(b, magic...), kindRegion, s.held.encoded)
	case s.packing != nil:
		return s.nextPart(b)
	}
	for ; s.section < len(engine.DataCFs); s.section++ {
		if err := s.enter(); err != nil {
			return b, err
		}
		if s.more {
			return s.putPairs(b)
		}
		if err := s.leave(); err != nil {
			return b, err
		}
	}
	s.ended = true
	return s.put(b, kindFooter, s.footer.encode())
}

// enter opens the section's column family, unless it is open.
func (s *Stream) enter() (err error) {
	if s.it != nil {
		return nil
	}
	region := s.held.region
	opts := engine.IterOptions{Lower: region.StartKey}
	if len(region.EndKey) > 0 {
		opts.Upper = region.EndKey
	}
	at := &s.footer.sections[s.section]
	at.CF, at.start = engine.DataCFs[s.section], s.offset
	if s.it, err = s.held.snap.NewIterator(at.CF, opts); err != nil {
		return errors.Trace(err)
	}
	s.more = s.it.SeekGE(nil)
	return nil
}

// leave closes the column family; the error is what ended its pairs early.
func (s *Stream) leave() error {
	it := s.it
	s.it = nil
	return errors.Trace(it.Close())
}

// putPairs appends a block of the next pairs, packed if that makes it a good deal smaller.
func (s *Stream) putPairs(b []byte) ([]byte, error) {
	if err := s.fill(); err != nil {
		return b, err
	}
	cf := byte(s.footer.sections[s.section].CF)
	begin := len(b)
	b = slices.Grow(b, headerLen+snappy.MaxEncodedLen(len(s.block)))
	packed := snappy.Encode(b[begin+headerLen:cap(b)], s.block)
	if len(packed) >= len(s.block)/8*7 {
		return s.put(b, kindData+cf, s.block)
	}
	if err := s.held.pace(len(packed)); err != nil {
		return b, err
	}
	h := header(s.offset, kindPacked+cf, packed)
	s.offset += int64(headerLen + len(packed))
	copy(b[begin:begin+headerLen], h[:])
	return b[:begin+headerLen+len(packed)], nil
}

// fill takes a block's worth of pairs from the iterator, one at least.
func (s *Stream) fill() error {
	s.block = s.block[:0]
	count := &s.footer.sections[s.section].CFMeta
	for s.more && len(s.block) < blockTarget {
		key, value := s.it.Key(), s.it.Value()
		if len(key)+len(value) > maxPairSpace {
			return errors.Errorf("key %X has %d bytes with its value, the limit is %d", key, len(key)+len(value), maxPairSpace)
		}
		s.block = binary.AppendUvarint(s.block, uint64(len(key)))
		s.block = binary.AppendUvarint(s.block, uint64(len(value)))
		s.block = append(append(s.block, key...), value...)
		count.Pairs++
		count.Bytes += uint64(len(key) + len(value))
		s.more = s.it.Next()
	}
	return nil
}

// put appends a block.
func (s *Stream) put(b []byte, kind byte, payload []byte) ([]byte, error) {
	if err := s.held.pace(len(payload)); err != nil {
		return b, err
	}
	h := header(s.offset, kind, payload)
	s.offset += int64(headerLen + len(payload))
	return append(append(b, h[:]...), payload...), nil
}

// Read gives the file as plain bytes.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.read) == 0 {
		var err error
		if s.read, err = s.Next(s.read[:0]); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.read)
	s.read = s.read[n:]
	return n, nil
}

// Meta describes the file, once all of it has been read.
func (s *Stream) Meta() Meta {
	return Meta{Key: s.held.key, Region: s.held.region, Size: uint64(s.offset), CFs: s.footer.cfs()}
}

// Close gives the snapshot back. It may be called twice.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed, s.ended = true, true
	var err error
	if s.it != nil {
		err = s.leave()
	}
	if s.packing != nil {
		s.packing.stop()
	}
	if given := s.manager.giveBack(s.held); err == nil {
		err = given
	}
	return err
}
