package snapfile

import (
	"hash/crc32"

	"github.com/pingcap/errors"
)

// Receive begins to receive a file from another store. ErrExists when it is here and complete, ErrBusy while another Receiver of the
// same key is open.
func (m *Manager) Receive(key Key) (*Receiver, error) {
	file, err := m.create(fileName(key, true), false)
	if err != nil {
		return nil, err
	}
	return &Receiver{key: key, file: file}, nil
}

// Receiver takes in the bytes of one file. It must be ended by Commit or Abort. Not for concurrent use.
type Receiver struct {
	key      Key
	file     *unfinished
	checksum uint32
	// tail is the last bytes that came: they may be the footer, which the checksum does not cover.
	tail  []byte
	ended bool
}

// Write appends to the file.
func (r *Receiver) Write(p []byte) (int, error) {
	n, err := r.file.Write(p)
	r.sum(p[:n])
	return n, err
}

// sum counts p into the checksum, short of what may be the footer.
func (r *Receiver) sum(p []byte) {
	if over := len(r.tail) + len(p) - wholeFooter; over > 0 {
		old := min(over, len(r.tail))
		r.checksum = crc32.Update(r.checksum, castagnoli, r.tail[:old])
		r.tail = append(r.tail[:0], r.tail[old:]...)
		r.checksum = crc32.Update(r.checksum, castagnoli, p[:over-old])
		p = p[over-old:]
	}
	r.tail = append(r.tail, p...)
}

// Commit verifies that the file is the one that was sent, and gives it its name. When it fails, nothing is left: the error is a
// *CorruptError when what was received is at fault.
func (r *Receiver) Commit() (_ Meta, err error) {
	r.ended = true
	defer func() {
		if err != nil {
			r.file.discard()
			err = errors.Annotatef(err, "receive snapshot file %s", r.file.name)
		}
	}()
	if err := r.file.close(); err != nil {
		return Meta{}, err
	}
	meta, err := r.verify()
	if err != nil {
		return Meta{}, err
	}
	return meta, r.file.publish()
}

// verify compares the checksum of what went by. What the disk has made of it the one who installs will see, block by block.
func (r *Receiver) verify() (Meta, error) {
	file, err := r.file.manager.fs.Open(r.file.tmp())
	if err != nil {
		return Meta{}, errors.Trace(err)
	}
	reader, err := openReader(r.file.name, r.key, file)
	if err != nil {
		return Meta{}, err
	}
	defer reader.Close() // only read from
	if want := reader.footer.checksum; r.checksum != want {
		return Meta{}, reader.corrupt(file.Size()-int64(wholeFooter), "checksum of the whole is %08x, the footer says %08x", r.checksum, want)
	}
	return reader.Meta(), nil
}

// Abort removes what was received. After Commit it does nothing.
func (r *Receiver) Abort() {
	if !r.ended {
		r.ended = true
		r.file.discard()
	}
}
