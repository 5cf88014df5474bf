package snapfile

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Receive begins to receive a file from another store. ErrExists when it is here and complete, ErrBusy while another Receiver of the
// same key is open.
func (m *Manager) Receive(key Key) (*Receiver, error) {
	name := fileName(key)
	if err := m.claim(name); err != nil {
		return nil, err
	}
	r := &Receiver{manager: m, in: incoming{name: name, key: key}}
	here, err := m.here(key)
	switch {
	case err != nil:
	case here:
		err = errors.Annotate(ErrExists, name)
	case m.stager != nil:
		r.in.begin, r.in.take = r.stage, r.put
		if r.TableForm() != "" {
			r.in.takePart = r.putPart
		}
	default:
		r.file, err = m.create(name)
	}
	if err != nil {
		m.release(name)
		return nil, err
	}
	return r, nil
}

// Receiver takes in the bytes of one file, and verifies each before it does anything with it. It must be ended by Commit or Abort. Not for
// concurrent use.
type Receiver struct {
	manager *Manager
	in      incoming
	// file is where the bytes go, or staged where the pairs go.
	file   *unfinished
	staged engine.Staged
	ended  bool
}

// Write takes the next bytes. A *CorruptError says that they are at fault.
func (r *Receiver) Write(p []byte) (int, error) {
	if err := r.in.feed(p); err != nil {
		return 0, errors.Annotatef(err, "receive snapshot file %s", r.in.name)
	}
	if r.file == nil {
		return len(p), nil
	}
	return r.file.Write(p)
}

// TableForm names the form in which tables may come, in place of pairs: see Stream.SendTables. Empty when none may.
func (r *Receiver) TableForm() string {
	if tables, ok := r.manager.stager.(engine.TableStager); ok {
		return tables.TableForm()
	}
	return ""
}

// stage follows when it is known which ranges will be replaced.
func (r *Receiver) stage(region *metapb.Region) (err error) {
	r.staged, err = r.manager.stager.Stage(replaced(region))
	return err
}

func (r *Receiver) put(cf engine.CF, key, value []byte) error { return r.staged.Put(cf, key, value) }

func (r *Receiver) putPart(cf engine.CF, lane int, part []byte, end bool) error {
	return r.staged.(engine.TableStaged).PutTable(cf, lane, part, end)
}

// finish makes what is staged durable, and checks that tables hold what was promised.
func (r *Receiver) finish() error {
	if err := r.staged.Finish(); err != nil {
		return err
	}
	if tables, ok := r.staged.(engine.TableStaged); ok {
		return r.in.tables(tables.Packed)
	}
	return nil
}

// Commit ends the reception of a file that has come whole, and keeps it for its installation. When it fails, nothing is left: the error is a
// *CorruptError when what was received is at fault.
func (r *Receiver) Commit() (_ Meta, err error) {
	r.ended = true
	defer func() {
		if err != nil {
			r.discard()
			err = errors.Annotatef(err, "receive snapshot file %s", r.in.name)
		}
	}()
	meta, err := r.in.meta()
	if err != nil {
		return Meta{}, err
	}
	if r.file != nil {
		if err := r.file.close(); err != nil {
			return Meta{}, err
		}
		err = r.file.publish()
	} else if err = r.finish(); err == nil {
		err = r.manager.keep(meta, r.staged)
	}
	if err != nil {
		return Meta{}, err
	}
	r.manager.release(r.in.name)
	return meta, nil
}

// Abort removes what was received. After Commit it does nothing.
func (r *Receiver) Abort() {
	if !r.ended {
		r.ended = true
		r.discard()
	}
}

// discard removes what there is. That this fails is no matter: the next start removes what is left.
func (r *Receiver) discard() {
	if r.file != nil {
		r.file.discard()
	}
	if r.staged != nil {
		r.staged.Discard()
	}
	r.manager.release(r.in.name)
}
