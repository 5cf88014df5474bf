package playground

import "syscall"

// processAttributes keep a terminal's Ctrl-C from the child, which the playground stops in order, and let the child die with
// the thread that started it, so that nothing is left behind when the playground itself is killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
