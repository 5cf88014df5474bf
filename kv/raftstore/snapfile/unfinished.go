package snapfile

import "github.com/pingcap/errors"

// unfinished is a file that is being written and that will, or will not, get its name. It ends in publish or in discard; until then its
// name is taken.
type unfinished struct {
	manager *Manager
	name    string
	file    WriteFile // nil when closed
}

// create begins a file of that name. ErrBusy when it has been begun and not ended; unless replace, ErrExists when it is complete.
func (m *Manager) create(name string, replace bool) (_ *unfinished, err error) {
	m.mu.Lock()
	busy := m.busy[name]
	m.busy[name] = true
	m.mu.Unlock()
	if busy {
		return nil, errors.Annotate(ErrBusy, name)
	}
	u := &unfinished{manager: m, name: name}
	defer func() {
		if err != nil {
			u.release()
		}
	}()
	if !replace {
		exists, err := m.exists(name)
		if err != nil {
			return nil, err
		}
		if exists {
			return nil, errors.Annotate(ErrExists, name)
		}
	}
	u.file, err = m.fs.Create(u.tmp())
	return u, errors.Annotatef(err, "create snapshot file %s", name)
}

// Write appends to the file.
func (u *unfinished) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	return n, errors.Annotatef(err, "write snapshot file %s", u.name)
}

// close ends the writing. Nothing of it is durable: see the package comment.
func (u *unfinished) close() error {
	file := u.file
	u.file = nil
	return errors.Annotatef(file.Close(), "close snapshot file %s", u.name)
}

// publish gives the closed file its name. After an error discard must still be called.
func (u *unfinished) publish() error {
	if err := u.manager.fs.Rename(u.tmp(), u.name); err != nil {
		return errors.Annotatef(err, "rename snapshot file %s", u.name)
	}
	u.release()
	return nil
}

// discard removes what there is. That this fails is no matter: New removes what is left.
func (u *unfinished) discard() {
	if u.file != nil {
		_ = u.file.Close()
	}
	_ = u.manager.fs.Remove(u.tmp())
	u.release()
}

func (u *unfinished) tmp() string { return u.name + tmpSuffix }

func (u *unfinished) release() {
	u.manager.mu.Lock()
	delete(u.manager.busy, u.name)
	u.manager.mu.Unlock()
}
