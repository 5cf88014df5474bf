package playground

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/pingcap/errors"
)

const (
	storeGrace     = 25 * time.Second // longer than a store's own graceful timeout
	schedulerGrace = 10 * time.Second
	toldLines      = 10
	commandsFile   = "commands.txt"
)

// runProcesses makes each part a process, and is over when the last of them has ended.
func (p *playground) runProcesses() error {
	// Children die with the thread that started them: this one, which therefore must not end before they have.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := p.writeCommands(); err != nil {
		return err
	}
	defer p.stopChildren()
	p.exits = make(chan *child, len(p.specs))
	for _, s := range p.specs {
		c, err := startChild(p.binary, s, p.exits)
		if err != nil {
			return err
		}
		p.children = append(p.children, c)
	}
	p.printTable(func(i int) int { return p.children[i].pid() })
	return p.watch()
}

// writeCommands writes down how to start each process by hand.
func (p *playground) writeCommands() error {
	text := ""
	for _, s := range p.specs {
		text += fmt.Sprintf("# %s\n%s\n", s.name, commandLine(p.binary, s))
	}
	if p.Verbose {
		p.printf("%s", text)
	}
	return errors.Annotate(os.WriteFile(filepath.Join(p.dir, commandsFile), []byte(text), 0o600), "cannot write the command lines")
}

// isOver tells that no store runs any more, neither a child nor one that was started by hand in its place.
func (p *playground) isOver() bool {
	for _, c := range p.children {
		if !c.store {
			continue
		}
		if c.running() {
			return false
		}
		if conn, err := net.DialTimeout("tcp", c.addr, time.Second); err == nil {
			_ = conn.Close() // it was only tried
			return false
		}
	}
	return true
}

func (p *playground) reportDeath(c *child) {
	p.printf("%s (pid %d) died: %v; the end of %s:\n", c.name, c.pid(), c.state, c.log)
	for _, line := range lastLines(c.log, toldLines) {
		p.printf("  | %s\n", line)
	}
	p.printf("start it again with: %s\n", commandLine(p.binary, c.spec))
}

// stopChildren ends the stores, then the schedulers that they report to.
func (p *playground) stopChildren() {
	first := slices.IndexFunc(p.children, func(c *child) bool { return c.store })
	if first < 0 {
		first = len(p.children)
	}
	stopAll(p.children[first:], storeGrace, p.signals)
	stopAll(p.children[:first], schedulerGrace, p.signals)
}
