package daemon

import (
	"errors"
	"fmt"
	"syscall"
)

// advise adds what to do about it to what a start fails of most often.
func advise(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; stop what listens there, or choose another address", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; listen on an address that this machine has, and advertise the one that others reach", err)
	case errors.Is(err, syscall.EAGAIN): // a lock that another process holds
		return fmt.Errorf("%w; stop what uses this data directory, or choose another", err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; choose a data directory, and ports, that this user may use", err)
	}
	return err
}
