package snapfile

import "github.com/pingcap/errors"

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
	key   Key
	file  *unfinished
	ended bool
}

// Write appends to the file.
func (r *Receiver) Write(p []byte) (int, error) { return r.file.Write(p) }

// Commit verifies the file from its first to its last byte and makes it durable under its name. When it fails, nothing is left: the
// error is a *CorruptError when what was received is at fault.
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
	file, err := r.file.manager.fs.Open(r.file.tmp())
	if err != nil {
		return Meta{}, errors.Trace(err)
	}
	meta, err := verify(r.file.name, r.key, file)
	if err != nil {
		return Meta{}, err
	}
	return meta, r.file.publish()
}

// Abort removes what was received. After Commit it does nothing.
func (r *Receiver) Abort() {
	if !r.ended {
		r.ended = true
		r.file.discard()
	}
}

// verify reads a whole file, twice: as bytes, for the checksum over all of them, and as blocks. It closes the file.
func verify(name string, key Key, file ReadFile) (Meta, error) {
	r, err := openReader(name, key, file)
	if err != nil {
		return Meta{}, err
	}
	defer r.Close() // only read from
	if err := r.verifyChecksum(); err != nil {
		return Meta{}, err
	}
	for _, s := range r.footer.sections {
		source := r.source(s)
		for source.Next() {
			continue // the walk is the verification
		}
		if err := source.Close(); err != nil {
			return Meta{}, err
		}
	}
	return r.Meta(), nil
}
