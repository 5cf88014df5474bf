//go:build !linux

package playground

import "syscall"

// processAttributes keep a terminal's Ctrl-C from the child, which the playground stops in order.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
