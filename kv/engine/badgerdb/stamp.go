package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/Connor1996/badger"
)

// Every commit carries a stamp, one more than the last. The newest that was acknowledged is written down beside the database,
// after the commit was synced and before anybody is told. The note itself is not synced: after a power cut it may be
// old or torn, which its checksum shows, but never ahead of the log.

const notesName = "ACKNOWLEDGED"

// LostWritesError is what Open answers when commits are gone that were synced and acknowledged.
type LostWritesError struct {
	// Acknowledged is the number of the last commit that was, Found that of the last that is there.
	Acknowledged, Found uint64
}

// Error says what is lost and what to do.
func (e *LostWritesError) Error() string {
	return fmt.Sprintf("badgerdb: the log is damaged: %d commits were acknowledged, and only the first %d are found: "+
		"restore this store from its peers", e.Acknowledged, e.Found)
}

func encodeStamp(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// readStamp returns the stamp of the last commit that shows, 0 in a new database. Nothing newer is there, so badger's point read will do (see snapshot.Get).
func (d *DB) readStamp() (uint64, error) {
	txn := d.beginTxn(false)
	defer txn.Discard()
	item, err := txn.Get(stampKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the last stamp: %w", err)
	}
	value, err := item.Value()
	if err != nil {
		return 0, fmt.Errorf("reading the last stamp: %w", err)
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("reading the last stamp: it has %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// notes is the file beside the database: a stamp and its checksum.
type notes struct{ file *os.File }

const noteSize = 12

// openNotes returns the file and the stamp in it, 0 when there is none that makes sense.
func openNotes(path string) (*notes, uint64, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err
	}
	var note [noteSize]byte
	switch _, err := file.ReadAt(note[:], 0); {
	case errors.Is(err, io.EOF):
		return &notes{file}, 0, nil
	case err != nil:
		_ = file.Close()
		return nil, 0, err
	case binary.BigEndian.Uint32(note[8:]) != crc32.Checksum(note[:8], crc32.MakeTable(crc32.Castagnoli)):
		return &notes{file}, 0, nil
	}
	return &notes{file}, binary.BigEndian.Uint64(note[:]), nil
}

func (n *notes) note(stamp uint64) error {
	note := encodeStamp(stamp)
	note = binary.BigEndian.AppendUint32(note, crc32.Checksum(note, crc32.MakeTable(crc32.Castagnoli)))
	_, err := n.file.WriteAt(note, 0)
	return err
}

func (n *notes) close() error { return n.file.Close() }
