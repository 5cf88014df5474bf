package playground

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/pingcap/errors"
)

// child is one running process.
type child struct {
	*spec
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone; state may be read from then on
	state  *os.ProcessState
	// leaving says that it was told to end, so that its end is no news.
	leaving bool
}

// startChild runs the binary and sends the child on exits when the process is gone. What it prints goes to its log.
func startChild(binary string, s *spec, exits chan<- *child) (*child, error) {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.WithStack(err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	c := &child{spec: s, cmd: exec.Command(binary, s.args...), exited: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = processAttributes()
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Annotatef(err, "cannot start %s", s.name)
	}
	go func() {
		_ = c.cmd.Wait() // the state says it all
		c.state = c.cmd.ProcessState
		close(c.exited)
		exits <- c
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

func (c *child) signal(s os.Signal) { _ = c.cmd.Process.Signal(s) } // it may be gone already

// stopAll ends children together: a friendly signal first, a hard one when the grace is over or somebody is in a hurry.
func stopAll(children []*child, grace time.Duration, hurry <-chan os.Signal) {
	for _, c := range children {
		c.signal(syscall.SIGTERM)
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for _, c := range children {
		select {
		case <-c.exited:
			continue
		case <-limit.C:
		case <-hurry:
		}
		for _, c := range children {
			c.signal(syscall.SIGKILL)
		}
		break
	}
	for _, c := range children {
		<-c.exited
	}
}

// lastLines returns the end of a file, or why it cannot be read.
func lastLines(file string, n int) []string {
	const most = 16 << 10
	f, err := os.Open(file)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = f.Close() }() // it was only read
	end, err := f.Seek(0, 2)
	if err != nil {
		return []string{err.Error()}
	}
	start := max(0, end-most)
	text := make([]byte, end-start)
	if _, err := f.ReadAt(text, start); err != nil {
		return []string{err.Error()}
	}
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	if start > 0 && len(lines) > 1 {
		lines = lines[1:]
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	var out []string
	for _, l := range lines {
		out = append(out, string(l))
	}
	return out
}
