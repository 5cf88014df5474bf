//go:build unix

package playground

import (
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pingcap/errors"
)

// lockDir keeps other playgrounds away from a data directory, until what it returns is closed or this process ends.
func lockDir(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Annotate(err, "cannot lock the data directory")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, errors.Errorf("another playground runs on %s; stop it, or choose another directory", dir)
	}
	return f, nil
}
