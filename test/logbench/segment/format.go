package segment

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// A batch is a header and operations. The checksum covers all that follows it; the segment's number in it makes what an earlier life of the file
// left behind worthless, and the batch's own number shows that none is missing.
//
//	checksum u32 | bytes of operations u32 | segment u64 | batch u64 | oldest segment needed u64 | operations …
//
// An operation is a byte, the region, and what the kind asks for, all numbers as uvarints:
//
//	state      length, RaftLocalState
//	append     first index, count, count × (length, entry); whatever the log had from the first index on is replaced
//	move       the same, but nothing else changes: the entries have a new place
//	compact    the first index that is kept
//	reset      every entry goes
//	destroy    every entry goes, and the state
const (
	headerSize = 32
	pageSize   = 4096
)

type opKind byte

const (
	opState opKind = iota + 1
	opAppend
	opMove
	opCompact
	opReset
	opDestroy
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeros      [pageSize]byte
)

type header struct {
	length              uint32
	seq, number, oldest uint64
}

// begin empties a batch, all but room for the header.
func begin(b []byte) []byte { return append(b[:0], zeros[:headerSize]...) }

// seal fills in the header.
func seal(b []byte, h header) {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-headerSize))
	binary.LittleEndian.PutUint64(b[8:], h.seq)
	binary.LittleEndian.PutUint64(b[16:], h.number)
	binary.LittleEndian.PutUint64(b[24:], h.oldest)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// batchSize is how long the batch is that begins with a header, if it is one.
func batchSize(head []byte) int64 {
	return headerSize + int64(binary.LittleEndian.Uint32(head[4:]))
}

// unseal reads the batch at the beginning of data; false when there is no whole one.
func unseal(data []byte) (h header, ops []byte, ok bool) {
	if len(data) < headerSize {
		return h, nil, false
	}
	h = header{
		length: binary.LittleEndian.Uint32(data[4:]), seq: binary.LittleEndian.Uint64(data[8:]),
		number: binary.LittleEndian.Uint64(data[16:]), oldest: binary.LittleEndian.Uint64(data[24:]),
	}
	end := batchSize(data)
	if h.length == 0 || end > int64(len(data)) || crc32.Checksum(data[4:end], castagnoli) != binary.LittleEndian.Uint32(data) {
		return h, nil, false
	}
	return h, data[headerSize:end], true
}

func (l *Log) op(kind opKind, region uint64, numbers ...uint64) {
	l.batch = binary.AppendUvarint(append(l.batch, byte(kind)), region)
	for _, n := range numbers {
		l.batch = binary.AppendUvarint(l.batch, n)
	}
}

// addUpdate encodes an update in the order of effects that logstore.Update promises.
func (l *Log) addUpdate(u *logstore.Update) error {
	switch {
	case u.Destroy:
		l.op(opDestroy, u.RegionID)
	case u.Reset:
		l.op(opReset, u.RegionID)
	}
	if u.CompactTo > 0 {
		l.op(opCompact, u.RegionID, u.CompactTo)
	}
	if len(u.Entries) > 0 {
		l.op(opAppend, u.RegionID, u.Entries[0].Index, uint64(len(u.Entries)))
	}
	for i := range u.Entries {
		e := &u.Entries[i]
		if err := l.message(e, e.Size()); err != nil {
			return &logstore.UpdateError{RegionID: u.RegionID, Index: e.Index, Reason: "entry cannot be encoded: " + err.Error()}
		}
	}
	if u.State == nil {
		return nil
	}
	l.op(opState, u.RegionID)
	if err := l.message(u.State, u.State.Size()); err != nil {
		return &logstore.UpdateError{RegionID: u.RegionID, Reason: "state cannot be encoded: " + err.Error()}
	}
	return nil
}

func (l *Log) message(m interface {
	MarshalToSizedBuffer([]byte) (int, error)
}, size int,
) error {
	l.batch = binary.AppendUvarint(l.batch, uint64(size))
	at := len(l.batch)
	l.batch = extend(l.batch, size)
	_, err := m.MarshalToSizedBuffer(l.batch[at:])
	return err
}

// extend makes b longer by n bytes of any content.
func extend(b []byte, n int) []byte {
	if need := len(b) + n; need > cap(b) {
		grown := make([]byte, len(b), 2*need)
		copy(grown, b)
		b = grown
	}
	return b[:len(b)+n]
}

var errMalformed = errors.New("operations of a batch are malformed")

// operations reads what a batch has, number by number. After something malformed it reads zeros.
type operations struct {
	ops []byte
	at  int
	bad bool
}

func (o *operations) more() bool { return !o.bad && o.at < len(o.ops) }

func (o *operations) kind() opKind {
	k := opKind(o.ops[o.at])
	o.at++
	return k
}

func (o *operations) number() uint64 {
	n, size := binary.Uvarint(o.ops[o.at:])
	if size <= 0 {
		o.bad = true
		return 0
	}
	o.at += size
	return n
}

// bytes returns a length-prefixed string and where it begins.
func (o *operations) bytes() (b []byte, at int) {
	n := o.number()
	if n > uint64(len(o.ops)-o.at) {
		o.bad = true
		return nil, 0
	}
	at = o.at
	o.at += int(n)
	return o.ops[at:o.at], at
}
