package snapfile

import "github.com/pingcap/errors"

// unfinished is a file that is being written and that will, or will not, get its name. It ends in publish or in discard.
type unfinished struct {
	manager *Manager
	name    string
	file    WriteFile // nil when closed
}

func (m *Manager) create(name string) (*unfinished, error) {
	u := &unfinished{manager: m, name: name}
	var err error
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
	return errors.Annotatef(u.manager.fs.Rename(u.tmp(), u.name), "rename snapshot file %s", u.name)
}

// discard removes what there is. That this fails is no matter: New removes what is left.
func (u *unfinished) discard() {
	if u.file != nil {
		_ = u.file.Close()
	}
	_ = u.manager.fs.Remove(u.tmp())
}

func (u *unfinished) tmp() string { return u.name + tmpSuffix }
