package pebbledb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log that cannot be read to its end was either cut short by a crash, which takes only what was never acknowledged, or
// damaged, which must not be mistaken for it (PITFALLS S22). pebble tells the two apart by what later records of the same
// log say about earlier ones; so it knows nothing about the last tens of kilobytes, and after large batches nothing about
// most of a log; and a manifest it always takes as cut short. Therefore the length that is known to be durable is noted
// beside the logs, after each sync, in a small file of slots, and Open refuses a log that ends before it.
//
// The notes are not synced themselves, except together with a manifest, which happens rarely: after a power cut a note
// may be missing or old, never wrong.
const (
	syncedName    = "SYNCED"
	logSlots      = 60
	manifestSlots = 4
	slotSize      = 32       // file number, length, checksum of both, padding
	blockSize     = 32 << 10 // of pebble's logs and manifests
)

// syncedLengths keeps a slot for each log and manifest; the slot is chosen by the number of the file, so that a
// newcomer takes the place of one that is gone. (Of an older log that is still needed pebble knows that it must be whole.)
type syncedLengths struct {
	fs   vfs.FS
	path string

	mu   sync.Mutex
	file vfs.File // opened by the first note
}

// note writes down that so many bytes of the file are durable.
func (s *syncedLengths) note(kind fileKind, num uint64, length int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		f, err := s.fs.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		s.file = f
	}
	var slot [slotSize]byte
	binary.LittleEndian.PutUint64(slot[0:], num)
	binary.LittleEndian.PutUint64(slot[8:], uint64(length))
	binary.LittleEndian.PutUint32(slot[16:], slotChecksum(slot[:]))
	at := num % logSlots
	if kind == manifestFile {
		at = logSlots + num%manifestSlots
	}
	if _, err := s.file.WriteAt(slot[:], int64(at)*slotSize); err != nil || kind != manifestFile {
		return err
	}
	return s.file.SyncData()
}

func (s *syncedLengths) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

func slotChecksum(slot []byte) uint32 {
	return crc32.Checksum(slot[:16], crc32.MakeTable(crc32.Castagnoli))
}

// read returns the noted length of each file number. Slots that make no sense are left out.
func (s *syncedLengths) read() (map[uint64]int64, error) {
	f, err := s.fs.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, (logSlots+manifestSlots)*slotSize))
	if err != nil {
		return nil, err
	}
	lengths := make(map[uint64]int64)
	for ; len(data) >= slotSize; data = data[slotSize:] {
		if binary.LittleEndian.Uint32(data[16:]) == slotChecksum(data) {
			lengths[binary.LittleEndian.Uint64(data)] = int64(binary.LittleEndian.Uint64(data[8:]))
		}
	}
	return lengths, nil
}

// check reads every log and the current manifest in dir as far as it is known to be durable.
func (s *syncedLengths) check(dir string) error {
	lengths, err := s.read()
	if err != nil || len(lengths) == 0 {
		return err
	}
	names, err := s.fs.List(dir)
	if err != nil {
		return err
	}
	db, err := pebble.Peek(dir, s.fs)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.fs.PathJoin(dir, name)
		kind, num := parseName(name)
		synced, noted := lengths[num]
		if kind == otherFile || !noted || kind == manifestFile && path != db.ManifestFilename {
			continue
		}
		if err := checkFile(s.fs, path, kind, num, synced); err != nil {
			return err
		}
	}
	return nil
}

// checkFile reads a file of records up to the first that is not whole, and compares where that is with what was synced.
func checkFile(fs vfs.FS, path string, kind fileKind, num uint64, synced int64) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	// What is synced beyond the last record is no loss while it is smaller than a record's header: a closed log ends with a mark of 11
	// bytes. And where no header fits any more, the rest of the block is padding, with the mark behind it.
	header := int64(19)
	if kind == manifestFile {
		header, num = 7, 0
	}
	intact, err := intactLength(f, num)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if left := blockSize - intact%blockSize; left < header {
		header += left
	}
	if synced-intact >= header {
		return fmt.Errorf("%s is damaged at byte %d, although %d bytes of it were synced: "+
			"acknowledged writes are lost, restore this store from its peers", path, intact, synced)
	}
	return nil
}

// intactLength is where the first chunk lies that is damaged, torn or not there.
func intactLength(f io.Reader, num uint64) (int64, error) {
	r := newRecordReader(record.NewReader, f, num)
	buf := make([]byte, 32<<10)
	var intact int64
	for {
		rec, err := r.Next()
		for err == nil { // each chunk of the record counts by itself: the synced length may lie between two of them
			intact = r.Offset()
			_, err = rec.Read(buf)
		}
		if rec != nil && errors.Is(err, io.EOF) {
			continue
		}
		if errors.Is(err, io.EOF) || isInvalidRecord(err) {
			return intact, nil
		}
		return intact, err
	}
}

func isInvalidRecord(err error) bool {
	return errors.Is(err, record.ErrInvalidChunk) || errors.Is(err, record.ErrZeroedChunk) ||
		errors.Is(err, record.ErrUnexpectedEOF)
}

// newRecordReader converts num to the type that pebble does not let one name.
func newRecordReader[N ~uint64](open func(io.Reader, N) *record.Reader, r io.Reader, num uint64) *record.Reader {
	return open(r, N(num))
}
