package snapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/golang/snappy"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// pairs takes the data blocks of one column family apart, and checks what is in them. Its errors are reasons, for a *CorruptError.
type pairs struct {
	region     *metapb.Region
	unpacked   []byte
	rest       []byte // what of the block has not been read
	key, value []byte
	last       []byte // copy of the key that ended the block before, whose memory may be another's by now
	begun      bool   // the block's first pair has been read
	count      uint64
	bytes      uint64
}

// load takes the next block, which must not change until its last pair is read and used.
func (p *pairs) load(payload []byte, packed bool) error {
	p.rest, p.begun = payload, false
	if packed {
		n, err := snappy.DecodedLen(payload)
		if err != nil {
			return fmt.Errorf("block of unknown length: %w", err)
		}
		if n > maxBlock {
			return fmt.Errorf("block that unpacks to %d bytes; the limit is %d", n, maxBlock)
		}
		if n > cap(p.unpacked) {
			p.unpacked = make([]byte, n)
		}
		if p.rest, err = snappy.Decode(p.unpacked[:cap(p.unpacked)], payload); err != nil {
			return fmt.Errorf("block cannot be unpacked: %w", err)
		}
	}
	if len(p.rest) == 0 {
		return errEmpty
	}
	return nil
}

var (
	errEmpty     = fmt.Errorf("empty block")
	errMalformed = fmt.Errorf("a length in the block is malformed")
	errCut       = fmt.Errorf("the block ends within a pair")
)

// next moves to the block's next pair; the block must not be at its end.
func (p *pairs) next() error {
	keyLen, n := binary.Uvarint(p.rest)
	if n <= 0 {
		return errMalformed
	}
	valueLen, m := binary.Uvarint(p.rest[n:])
	if m <= 0 {
		return errMalformed
	}
	rest := p.rest[n+m:]
	if keyLen > uint64(len(rest)) || valueLen > uint64(len(rest))-keyLen {
		return errCut
	}
	before := p.key
	if !p.begun {
		p.begun, before = true, p.last
	}
	p.key, p.value, p.rest = rest[:keyLen:keyLen], rest[keyLen:keyLen+valueLen:keyLen+valueLen], rest[keyLen+valueLen:]
	if p.count > 0 && bytes.Compare(before, p.key) >= 0 {
		return fmt.Errorf("key %X does not come after %X", p.key, before)
	}
	if !region.Contains(p.region, p.key) {
		return fmt.Errorf("key %X is not in the region", p.key)
	}
	p.count++
	p.bytes += keyLen + valueLen
	if len(rest) == int(keyLen+valueLen) {
		p.last = append(p.last[:0], p.key...)
	}
	return nil
}

// complete compares what was counted with what the footer says.
func (p *pairs) complete(want CFMeta) error {
	if p.count != want.Pairs || p.bytes != want.Bytes {
		return fmt.Errorf("column family %s has %d pairs of %d bytes, the footer promises %d of %d", want.CF, p.count, p.bytes, want.Pairs, want.Bytes)
	}
	return nil
}
