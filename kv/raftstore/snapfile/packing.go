package snapfile

import (
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
)

const (
	// partSize is the length of a block that carries a part of a table, but for a table's last: with the message around it, it fits into the
	// largest buffer that grpc pools, of 1 MiB.
	partSize = 1<<20 - 4<<10
	// partsAhead is how many parts may wait to be sent.
	partsAhead = 2
)

// packing makes a snapshot's tables, beside the stream that sends them.
type packing struct {
	// parts is closed behind the last, and when err has ended them early. Their memory, which has room for a block's header in front, goes back by spare.
	parts  chan part
	spare  chan []byte
	quit   chan struct{}
	counts [len(engine.DataCFs)]engine.Packed
	err    error
}

type part struct {
	section int
	block   []byte // its header is not written yet
	end     bool
}

// SendTables makes the stream send tables in place of pairs, to a receiver that takes them in that form, if the held snapshot's engine makes such. To be
// called before the first Next, once.
func (s *Stream) SendTables(form string) {
	packer, ok := s.held.snap.(engine.Packer)
	if !ok || packer.TableForm() != form {
		return
	}
	p := &packing{parts: make(chan part, partsAhead), spare: make(chan []byte, partsAhead+2), quit: make(chan struct{})}
	s.packing = p
	region := s.held.region
	go func() { // joined by stop
		defer close(p.parts)
		for i, cf := range engine.DataCFs {
			take := func(block []byte, end bool) error { return p.hand(part{i, block, end}) }
			all := engine.Range{Start: region.StartKey, End: region.EndKey}
			if p.counts[i], p.err = packer.Pack(cf, all, p.buffer, take); p.err != nil {
				return
			}
		}
	}()
}

// buffer gives memory for a block, its header left out.
func (p *packing) buffer() []byte {
	select {
	case b := <-p.spare:
		return b[:headerLen]
	default:
		return make([]byte, headerLen, partSize)
	}
}

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

func (p *packing) hand(next part) error {
	select {
	case p.parts <- next:
		return nil
	case <-p.quit:
		return errStopped
	}
}

var errStopped = errors.New("the stream has been closed")

// stop ends the packing.
func (p *packing) stop() {
	close(p.quit)
	for range p.parts { // until it is closed
	}
}

// nextPart appends the next part of a table, or the footer behind the last. Where b is empty, the part's own memory takes its place.
func (s *Stream) nextPart(b []byte) ([]byte, error) {
	p := s.packing
	next, more := <-p.parts
	switch {
	case !more && p.err != nil:
		return b, errors.Trace(p.err)
	case !more:
		s.enterSections(len(engine.DataCFs) - 1)
		for i, n := range p.counts {
			s.footer.sections[i].Pairs, s.footer.sections[i].Bytes = n.Pairs, n.Bytes
		}
		s.ended = true
		return s.put(b, kindFooter, s.footer.encode())
	}
	s.enterSections(next.section)
	kind := kindTable + byte(engine.DataCFs[next.section])
	if next.end {
		kind = kindLast + byte(engine.DataCFs[next.section])
	}
	payload := next.block[headerLen:]
	if err := s.held.pace(len(payload)); err != nil {
		return b, err
	}
	h := header(s.offset, kind, payload)
	copy(next.block, h[:])
	s.offset += int64(len(next.block))
	if len(b) == 0 {
		p.reuse(b)
		return next.block, nil
	}
	b = append(b, next.block...)
	p.reuse(next.block)
	return b, nil
}

// enterSections notes where sections begin, up to this one.
func (s *Stream) enterSections(last int) {
	for ; s.section <= last; s.section++ {
		at := &s.footer.sections[s.section]
		at.CF, at.start = engine.DataCFs[s.section], s.offset
	}
}
