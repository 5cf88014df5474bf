package pebbledb

import "golang.org/x/sys/unix"

// setDirect makes writes to a file go past the page cache, or not any more. It answers whether the file system can.
func setDirect(fd uintptr, on bool) bool {
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	flags &^= unix.O_DIRECT
	if on {
		flags |= unix.O_DIRECT
	}
	_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
	return err == nil
}
