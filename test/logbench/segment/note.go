package segment

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/errors"
)

const noteName = "SYNCED"

// noteFile keeps the number of the last batch that is known to be durable. It is not synced itself: after a power cut it may be old, never wrong.
type noteFile struct {
	file vfs.File
}

func (n *noteFile) open(opts Options) (err error) {
	n.file, err = opts.FS.OpenReadWrite(opts.FS.PathJoin(opts.Dir, noteName), vfs.WriteCategoryUnspecified)
	return errors.Trace(err)
}

func (n *noteFile) write(number uint64) error {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], number)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	_, err := n.file.WriteAt(b[:], 0)
	return errors.Trace(err)
}

// read returns 0 when there is no note that makes sense.
func (n *noteFile) read() uint64 {
	var b [12]byte
	_, err := n.file.ReadAt(b[:], 0)
	if err != nil || crc32.Checksum(b[:8], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (n *noteFile) close() error { return errors.Trace(n.file.Close()) }
