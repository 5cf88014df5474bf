//go:build !linux

package pebbledb

// setDirect is Linux's only.
func setDirect(uintptr, bool) bool { return false }
