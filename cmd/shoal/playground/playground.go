// Package playground is `shoal playground`: a whole cluster on this machine for whoever wants to try it.
//
// Schedulers and stores are child processes of the same binary, so that each can be killed, watched and restarted as in
// earnest. The steps are: choose the addresses and see that they are free; write the command lines down; start the schedulers
// and the stores; ask the schedulers until every region has all its replicas; say "ready:"; then wait for the user to
// leave, telling of each child that dies meanwhile. At the end stores stop before the schedulers, and data that the user did not
// ask to keep is removed.
//
// One goroutine, which also started the children, does everything that is printed; others only bring it news.
package playground

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/kv/config"
)

// Options are what the flags say.
type Options struct {
	Stores, Schedulers int
	Host               string
	PortOffset         int
	DataDir, Tag       string
	Mode               string
	Engine             string
	Verbose            bool
	withoutMonitor     bool // accepted, as there is no monitor

	binary string // this one; tests have another
}

const (
	storeGrace     = 25 * time.Second // longer than a store's own graceful timeout
	schedulerGrace = 10 * time.Second
	toldLines      = 10
	commandsFile   = "commands.txt"
)

// Command is `shoal playground`.
func Command() *cobra.Command {
	var opts Options
	cmd := &cobra.Command{
		Use:   "playground",
		Short: "Start a whole cluster on this machine",
		Long: `Start schedulers and stores on this machine, each a process of its own, and stop them with Ctrl-C.

When every region has all its replicas, a line beginning "ready:" names the address for --pd and for clients. Data is removed
at the end, unless --data-dir or --tag keeps it; with the same directory a later playground goes on where this one stopped.
The logs and the exact command lines of all processes are in the data directory, so that a process that was killed can be
started again by hand.`,
		Example: `  shoal playground
  shoal playground --pd 3
  shoal playground --kv 5 --data-dir ./cluster --port-offset 100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return Run(&opts, cmd.OutOrStdout(), signals)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&opts.Stores, "kv", 3, "`number` of stores")
	f.StringVar(&opts.DataDir, "data-dir", "", "`directory` to keep data and logs in (default: a temporary one)")
	f.StringVar(&opts.Tag, "tag", "", "`name` under which data is kept: the same as --data-dir data/NAME")
	f.StringVar(&opts.Host, "host", "127.0.0.1", "`host` to listen on")
	f.IntVar(&opts.PortOffset, "port-offset", 0, "`number` added to all ports: schedulers have 2379 and 2380, 2381 and 2382, …; stores 20160…, 20180…")
	f.StringVar(&opts.Engine, "engine", config.EnginePebble, "`library` that keeps the stores' data: pebble, badger (can lose acknowledged writes) or mem")
	f.BoolVarP(&opts.Verbose, "verbose", "v", false, "print the command line of each process")
	f.IntVar(&opts.Schedulers, "pd", 1, "`number` of schedulers; 3 go on when one is lost")
	f.StringVar(&opts.Mode, "mode", "", "accepted for compatibility; only tikv-slim")
	f.BoolVar(&opts.withoutMonitor, "without-monitor", true, "accepted for compatibility; there is no monitor")
	return cmd
}

// playground is one run.
type playground struct {
	*Options
	out      io.Writer
	dir      string
	children []*child // the schedulers first
	exits    chan *child
	signals  <-chan os.Signal
}

// Run starts a cluster and returns when a signal has ended it (nil), or when it cannot go on.
func Run(opts *Options, out io.Writer, signals <-chan os.Signal) (err error) {
	if err := opts.validate(); err != nil {
		return err
	}
	if opts.binary == "" {
		if opts.binary, err = os.Executable(); err != nil {
			return errors.Annotate(err, "cannot find this program's own file")
		}
	}
	// Children die with the thread that started them: this one, which therefore must not end before they have.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	p := &playground{Options: opts, out: out, signals: signals}
	remove, err := p.makeDir()
	if err != nil {
		return err
	}
	defer remove()
	if err := opts.requireSameGroup(p.dir); err != nil {
		return err
	}
	specs := opts.plan(p.dir)
	if err := requireFree(specs); err != nil {
		return err
	}
	if err := p.writeCommands(specs); err != nil {
		return err
	}
	defer p.stop()
	p.exits = make(chan *child, len(specs))
	for _, s := range specs {
		c, err := startChild(opts.binary, s, p.exits)
		if err != nil {
			return err
		}
		p.children = append(p.children, c)
	}
	p.printTable()
	return p.watch(addresses(specs))
}

// makeDir finds the data directory and returns what becomes of it at the end.
func (p *playground) makeDir() (remove func(), err error) {
	p.dir = p.DataDir
	if p.Tag != "" {
		p.dir = filepath.Join("data", p.Tag)
	}
	if p.dir != "" {
		if p.dir, err = filepath.Abs(p.dir); err != nil {
			return nil, errors.WithStack(err)
		}
		return func() {}, errors.Annotate(os.MkdirAll(p.dir, 0o755), "cannot make the data directory")
	}
	if p.dir, err = os.MkdirTemp("", "shoal-playground-"); err != nil {
		return nil, errors.Annotate(err, "cannot make a temporary directory")
	}
	return func() {
		if err := os.RemoveAll(p.dir); err != nil {
			p.printf("cannot remove %s: %v\n", p.dir, err)
		}
	}, nil
}

// writeCommands writes down how to start each process by hand.
func (p *playground) writeCommands(specs []*spec) error {
	text := ""
	for _, s := range specs {
		text += fmt.Sprintf("# %s\n%s\n", s.name, commandLine(p.binary, s))
	}
	if p.Verbose {
		p.printf("%s", text)
	}
	return errors.Annotate(os.WriteFile(filepath.Join(p.dir, commandsFile), []byte(text), 0o600), "cannot write the command lines")
}

// watch prints what happens until it is over.
func (p *playground) watch(pd string) error {
	api, err := pdapi.New(pd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	missing := make(chan string)
	var poller sync.WaitGroup
	poller.Go(func() { waitReady(ctx, api, p.Stores, missing) })
	defer poller.Wait()
	defer cancel()
	ready := false
	for {
		select {
		case s := <-p.signals:
			p.printf("stopping (%v); once more to stop at once\n", s)
			return nil
		case c := <-p.exits:
			p.reportDeath(c)
			switch {
			case !ready && !c.store:
				return errors.Errorf("the %s did not come up", c.name)
			case p.isOver():
				return errors.New("no store is left")
			}
		case what := <-missing:
			if what != "" {
				p.printf("waiting: %s\n", what)
				continue
			}
			ready = true
			p.printf("ready: %s\n", pd)
			p.printf("  try  %s ctl --pd %s kv put hello world\n  stop with Ctrl-C\n", shortName(p.binary), pd)
		}
	}
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

func (p *playground) printTable() {
	t := table.NewWriter()
	t.SetOutputMirror(p.out)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"process", "pid", "address", "status", "log"})
	for _, c := range p.children {
		status := "http://" + c.status + "/status"
		if !c.store {
			status = "http://" + c.status + "/pd/api/v1/stores"
		}
		t.AppendRow(table.Row{c.name, c.pid(), c.addr, status, c.log})
	}
	t.Render()
}

// stop ends the stores, then the schedulers that they report to.
func (p *playground) stop() {
	first := slices.IndexFunc(p.children, func(c *child) bool { return c.store })
	if first < 0 {
		first = len(p.children)
	}
	stopAll(p.children[first:], storeGrace, p.signals)
	stopAll(p.children[:first], schedulerGrace, p.signals)
}

func (p *playground) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

// shortName is how the user is likely to call the program.
func shortName(binary string) string {
	wd, err := os.Getwd()
	if err != nil {
		return binary
	}
	if rel, err := filepath.Rel(wd, binary); err == nil && len(rel) < len(binary) {
		return rel
	}
	return binary
}
