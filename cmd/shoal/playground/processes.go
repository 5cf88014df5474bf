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

// processes are the parts as processes of their own.
type processes struct {
	p        *playground
	children []*child // the schedulers first
}

// runProcesses makes each part a process, and is over when the last of them has ended.
func (p *playground) runProcesses() error {
	// Children die with the thread that started them: this one, which therefore must not end before they have.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := p.writeCommands(); err != nil {
		return err
	}
	all := &processes{p: p}
	defer all.stopAll()
	p.members = all
	p.exits = make(chan *child, maxSchedulers+maxStores*maxStores) // more than will ever end unheard
	for _, s := range p.specs {
		if err := all.start(s); err != nil {
			return err
		}
	}
	if p.Verbose {
		for _, s := range p.specs {
			p.printf("# %s\n%s\n", s.name, commandLine(p.binary, s))
		}
	}
	p.printTable()
	return p.watch()
}

// start implements members.
func (m *processes) start(s *spec) error {
	c, err := startChild(m.p.binary, s, m.p.exits)
	if err == nil {
		m.children = append(m.children, c)
	}
	return err
}

// stop implements members.
func (m *processes) stop(s *spec) error {
	c := m.of(s)
	c.leaving = true
	stopAll([]*child{c}, storeGrace, m.p.signals)
	m.children = slices.DeleteFunc(m.children, func(other *child) bool { return other == c })
	return nil
}

// of is the child that a part is.
func (m *processes) of(s *spec) *child {
	return m.children[slices.IndexFunc(m.children, func(c *child) bool { return c.spec == s })]
}

func (m *processes) written() error       { return m.p.writeCommands() }
func (m *processes) pid(s *spec) int      { return m.of(s).pid() }
func (m *processes) running(s *spec) bool { return m.of(s).running() }

// writeCommands writes down how to start each process by hand.
func (p *playground) writeCommands() error {
	text := ""
	for _, s := range p.specs {
		text += fmt.Sprintf("# %s\n%s\n", s.name, commandLine(p.binary, s))
	}
	return errors.Annotate(os.WriteFile(filepath.Join(p.dir, commandsFile), []byte(text), 0o600), "cannot write the command lines")
}

// isOver tells that no store runs any more, neither a child nor one that was started by hand in its place.
func (p *playground) isOver() bool {
	for _, s := range p.specs {
		if !s.store {
			continue
		}
		if p.members.running(s) {
			return false
		}
		if conn, err := net.DialTimeout("tcp", s.addr, time.Second); err == nil {
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

// stopAll ends the stores, then the schedulers that they report to.
func (m *processes) stopAll() {
	first := slices.IndexFunc(m.children, func(c *child) bool { return c.store })
	if first < 0 {
		first = len(m.children)
	}
	stopAll(m.children[first:], storeGrace, m.p.signals)
	stopAll(m.children[:first], schedulerGrace, m.p.signals)
}
