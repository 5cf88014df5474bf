package snapfile

import (
	"hash/crc32"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
)

const (
	// partSize is the length of a block that carries a part of a table, but for a table's last: a message of its own.
	partSize = 1 << 20
	// partsAhead is how many parts may wait to be sent.
	partsAhead = 4
)

// packing makes a snapshot's tables, beside the stream that sends them. It is the sink of what the engine packs: a goroutine's, until parts is
// closed.
type packing struct {
	// parts is closed behind the last, and when err has ended them early. Their memory goes back by spare.
	parts chan []byte
	spare chan []byte
	quit  chan struct{}
	err   error
	// sections are complete when parts is closed; section is the one that is packed.
	sections [len(engine.DataCFs)]section
	section  int
	// block begins at offset of the file; nil before its first byte. sum is its payload's checksum: what has just been written is still at hand.
	offset int64
	block  []byte
	sum    uint32
}

// SendTables makes the stream send tables in place of pairs, to a receiver that takes them in that form, if the held snapshot's engine makes such. To be
// called before the first Next, once.
func (s *Stream) SendTables(form string) {
	packer, ok := s.held.snap.(engine.Packer)
	if !ok || packer.TableForm() != form {
		return
	}
	p := &packing{
		parts: make(chan []byte, partsAhead), spare: make(chan []byte, partsAhead+2), quit: make(chan struct{}),
		offset: int64(len(magic) + headerLen + len(s.held.encoded)),
	}
	s.packing = p
	region := s.held.region
	go func() { // joined by stop
		defer close(p.parts)
		p.err = p.pack(packer, engine.Range{Start: region.StartKey, End: region.EndKey})
	}()
}

func (p *packing) pack(packer engine.Packer, all engine.Range) error {
	for i, cf := range engine.DataCFs {
		at := &p.sections[i]
		p.section, at.CF, at.start = i, cf, p.offset
		packed, err := packer.Pack(cf, all, p)
		if err != nil {
			return err
		}
		at.Pairs, at.Bytes = packed.Pairs, packed.Bytes
	}
	return nil
}

// Write puts a table's next bytes into blocks.
func (p *packing) Write(b []byte) error {
	for len(b) > 0 {
		if len(p.block) == partSize {
			if err := p.hand(kindTable); err != nil {
				return err
			}
		}
		p.begin()
		n := min(len(b), partSize-len(p.block))
		p.block = append(p.block, b[:n]...)
		p.sum = crc32.Update(p.sum, castagnoli, b[:n])
		b = b[n:]
	}
	return nil
}

// EndTable hands on the table's last part.
func (p *packing) EndTable() error {
	p.begin()
	return p.hand(kindLast)
}

// begin makes sure that there is a block to write to.
func (p *packing) begin() {
	if p.block != nil {
		return
	}
	p.sum = 0
	select {
	case b := <-p.spare:
		p.block = b[:headerLen]
	default:
		p.block = make([]byte, headerLen, partSize)
	}
}

// hand hands the block on.
func (p *packing) hand(kind byte) error {
	block := p.block
	h := partHeader(p.offset, kind+byte(engine.DataCFs[p.section]), len(block)-headerLen, p.sum)
	copy(block, h[:])
	p.block = nil
	p.offset += int64(len(block))
	select {
	case p.parts <- block:
		return nil
	case <-p.quit:
		return errStopped
	}
}

var errStopped = errors.New("the stream has been closed")

// reuse takes memory back.
func (p *packing) reuse(b []byte) {
	if cap(b) < partSize {
		return
	}
	select {
	case p.spare <- b:
	default:
	}
}

// stop ends the packing.
func (p *packing) stop() {
	close(p.quit)
	for range p.parts { // until it is closed
	}
}

// nextPart appends the next part of a table, or the footer behind the last. Where b is empty, the part's own memory takes its place.
func (s *Stream) nextPart(b []byte) ([]byte, error) {
	p := s.packing
	block, more := <-p.parts
	switch {
	case !more && p.err != nil:
		return b, errors.Trace(p.err)
	case !more:
		s.footer.sections, s.ended = p.sections, true
		return s.put(b, kindFooter, s.footer.encode())
	}
	if err := s.held.pace(len(block) - headerLen); err != nil {
		return b, err
	}
	s.offset += int64(len(block))
	if len(b) == 0 {
		p.reuse(b)
		return block, nil
	}
	b = append(b, block...)
	p.reuse(block)
	return b, nil
}
