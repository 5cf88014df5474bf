package snapfile

import (
	"hash/crc32"
	"sync"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
)

const (
	// partSize is the length of a block that carries a part of a table, but for a table's last: a message of its own.
	partSize = 1 << 20
	// partsAhead is how many parts may wait to be sent.
	partsAhead = 16
)

// packing makes a snapshot's tables, beside the stream that sends them.
type packing struct {
	// parts is closed behind the last, and when err has ended them early. Their memory goes back by spare.
	parts chan []byte
	spare chan []byte
	quit  chan struct{}
	err   error
	// sections are complete when parts is closed; section is the one that is packed.
	sections [len(engine.DataCFs)]section
	section  int
	lanes    [engine.TableLanes]lane
	// next is held by the lane that hands on the file's next block, which begins at offset.
	next   sync.Mutex
	offset int64
}

// lane is the sink of what the engine packs in one lane: a goroutine's, until parts is closed.
type lane struct {
	*packing
	number int
	// block is nil before its first byte. sum is its payload's checksum: what has just been written is still at hand.
	block []byte
	sum   uint32
}

// SendTables makes the stream send tables in place of pairs, to a receiver that takes them in that form, if the held snapshot's engine makes such. To be
// called before the first Next, once.
func (s *Stream) SendTables(form string) {
	packer, ok := s.held.snap.(engine.Packer)
	if !ok || packer.TableForm() != form {
		return
	}
	p := newPacking(int64(len(magic) + headerLen + len(s.held.encoded)))
	s.packing = p
	region := s.held.region
	go func() { // joined by stop
		defer close(p.parts)
		p.err = p.pack(packer, engine.Range{Start: region.StartKey, End: region.EndKey})
	}()
}

func newPacking(offset int64) *packing {
	p := &packing{
		parts: make(chan []byte, partsAhead), spare: make(chan []byte, partsAhead+engine.TableLanes+1), quit: make(chan struct{}), offset: offset,
	}
	for i := range p.lanes {
		p.lanes[i] = lane{packing: p, number: i}
	}
	return p
}

func (p *packing) pack(packer engine.Packer, all engine.Range) error {
	var sinks [engine.TableLanes]engine.TableSink
	for i := range p.lanes {
		sinks[i] = &p.lanes[i]
	}
	for i, cf := range engine.DataCFs {
		at := &p.sections[i]
		p.section, at.CF, at.start = i, cf, p.offset
		packed, err := packer.Pack(cf, all, sinks)
		if err != nil {
			return err
		}
		at.Pairs, at.Bytes = packed.Pairs, packed.Bytes
	}
	return nil
}

// Write puts a table's next bytes into blocks.
func (l *lane) Write(b []byte) error {
	for len(b) > 0 {
		if len(l.block) == partSize {
			if err := l.hand(false); err != nil {
				return err
			}
		}
		l.begin()
		n := min(len(b), partSize-len(l.block))
		l.block = append(l.block, b[:n]...)
		l.sum = crc32.Update(l.sum, castagnoli, b[:n])
		b = b[n:]
	}
	return nil
}

// EndTable hands on the table's last part.
func (l *lane) EndTable() error {
	l.begin()
	return l.hand(true)
}

// begin makes sure that there is a block to write to.
func (l *lane) begin() {
	if l.block != nil {
		return
	}
	l.sum = 0
	select {
	case b := <-l.spare:
		l.block = b[:headerLen]
	default:
		l.block = make([]byte, headerLen, partSize)
	}
}

// hand hands the block on: its place in the file is known now.
func (l *lane) hand(last bool) error {
	block := l.block
	l.block = nil
	l.next.Lock()
	defer l.next.Unlock()
	h := partHeader(l.offset, tableKind(engine.DataCFs[l.section], l.number, last), len(block)-headerLen, l.sum)
	copy(block, h[:])
	select {
	case l.parts <- block:
		l.offset += int64(len(block))
		return nil
	case <-l.quit:
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
