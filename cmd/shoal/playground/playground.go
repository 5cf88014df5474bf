// Package playground is `shoal playground`: a whole cluster on this machine for whoever wants to try it.
//
// Schedulers and stores are child processes of the same binary, so that each can be killed, watched and restarted as in
// earnest (processes.go). The steps are: read the configuration files; choose the addresses and see that they are free; write the
// command lines down; start the schedulers and the stores; ask the schedulers until every region has all its replicas; say
// "ready:"; then wait for the user to leave, telling of each child that dies meanwhile, and adding and removing stores when another process
// asks for it (control.go, grow.go; scale.go has the commands that ask). At the end stores stop before the schedulers, and data that the
// user did not ask to keep is removed.
//
// With --in-process the same cluster lives in this process, on package local (inside.go): it takes less memory, and nothing
// of it can be killed alone. The steps are the same but for the command lines.
//
// One goroutine, which also started the children, does everything that is printed; others only bring it news.
package playground

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/local"
)

// Options are what the flags say.
type Options struct {
	Stores, Schedulers int
	// SchedulerPort and StorePort are the first of theirs, the usual ones if 0; PortOffset is added to all.
	SchedulerPort, StorePort, PortOffset int
	Host                                 string
	StoreConfig, SchedulerConfig         string // files
	DataDir, Tag                         string
	Engine                               string // the configuration's if empty
	// InProcess runs everything in this process.
	InProcess bool
	// ReadyWithin is in seconds; 0 means that there is no hurry.
	ReadyWithin int
	Mode        string
	Verbose     bool

	binary      string        // this one; tests have another
	nodeOptions []node.Option // what stores in this process have that others do not
}

// Command is `shoal playground`. The options are for stores in this process: the engines that package node does not know.
func Command(nodeOptions ...node.Option) *cobra.Command {
	opts := Options{nodeOptions: nodeOptions}
	cmd := &cobra.Command{
		Use:   "playground",
		Short: "Start a whole cluster on this machine",
		Long: `Start schedulers and stores on this machine, each a process of its own, and stop them with Ctrl-C.

When every region has all its replicas, a line beginning "ready:" names the address for --pd and for clients. Data is removed
at the end, unless --data-dir or --tag keeps it; with the same directory a later playground goes on where this one stopped.
The logs and the exact command lines of all processes are in the data directory, so that a process that was killed can be
started again by hand.

With --in-process the cluster is one process, which takes about a quarter of the memory; data directories are the same.

The files of --kv.config and --pd.config are those of "shoal store" and "shoal scheduler". Names, addresses, directories and log
files of the parts are the playground's own; what the file says of those does not count.`,
		Example: `  shoal playground
  shoal playground --pd 3
  shoal playground --kv 5 --data-dir ./cluster --port-offset 100
  shoal playground --kv 1 --in-process --engine mem
  shoal playground --kv.config store.toml --pd.config scheduler.toml
  shoal playground scale-out --kv 2
  shoal playground scale-in --store 4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return Run(&opts, cmd.OutOrStdout(), signals)
		},
	}
	opts.register(cmd.Flags())
	cmd.AddCommand(displayCommand(), scaleOutCommand(), scaleInCommand())
	return cmd
}

func (o *Options) register(f *pflag.FlagSet) {
	f.SortFlags = false
	f.IntVar(&o.Stores, "kv", 3, "`number` of stores")
	f.IntVar(&o.Schedulers, "pd", 1, "`number` of schedulers; 3 go on when one is lost")
	f.BoolVar(&o.InProcess, "in-process", false, "run everything in this one process, which takes less memory")
	f.StringVar(&o.DataDir, "data-dir", "", "`directory` to keep data and logs in (default: a temporary one)")
	f.StringVar(&o.Tag, "tag", "", "`name` under which data is kept: the same as --data-dir data/NAME")
	f.StringVar(&o.Engine, "engine", "", "`library` that keeps the stores' data: pebble, badger (can lose acknowledged writes) or mem (default: pebble)")
	f.StringVar(&o.StoreConfig, "kv.config", "", "configuration `file` of every store")
	f.StringVar(&o.SchedulerConfig, "pd.config", "", "configuration `file` of every scheduler")
	f.StringVar(&o.Host, "host", "127.0.0.1", "`host` to listen on")
	f.IntVar(&o.SchedulerPort, "pd.port", clientPort, "first `port` of the schedulers, which take two each")
	f.IntVar(&o.StorePort, "kv.port", storePort, "first `port` of the stores; their status pages are at 20180…")
	f.IntVar(&o.PortOffset, "port-offset", 0, "`number` added to all ports, for a second cluster beside the first")
	f.IntVar(&o.ReadyWithin, "db.timeout", 0, "`seconds` after which a cluster that is not ready is given up; 0 means never")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "print the command line of each process")
	f.StringVar(&o.Mode, "mode", "", "accepted for compatibility; only tikv-slim")
	f.Bool("without-monitor", true, "accepted for compatibility; there is no monitor")
}

// playground is one run.
type playground struct {
	*Options
	configs *configs
	out     io.Writer
	dir     string
	specs   []*spec // the schedulers first
	signals <-chan os.Signal

	members members      // how stores are started and stopped
	orders  <-chan order // what other processes ask for; nil if they cannot
	exits   chan *child  // those that ended, when each is a process
	fatal   <-chan error // why the cluster in this process cannot go on
}

// Run starts a cluster and returns when a signal has ended it (nil), or when it cannot go on.
func Run(opts *Options, out io.Writer, signals <-chan os.Signal) (err error) {
	if err := opts.validate(); err != nil {
		return err
	}
	p := &playground{Options: opts, out: out, signals: signals}
	if p.configs, err = opts.loadConfigs(); err != nil {
		return err
	}
	if opts.binary == "" {
		if opts.binary, err = os.Executable(); err != nil {
			return errors.Annotate(err, "cannot find this program's own file")
		}
	}
	remove, err := p.makeDir()
	if err != nil {
		return err
	}
	defer remove()
	lock, err := lockDir(p.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := opts.requireSameGroup(p.dir, p.configs.store.Storage.Engine); err != nil {
		return err
	}
	p.keepStores()
	p.specs = opts.plan(p.dir)
	if err := requireFree(p.specs); err != nil {
		return err
	}
	if opts.InProcess {
		return p.runInside()
	}
	return p.runProcesses()
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

// keepStores starts all stores that have data here, of which there may be more than by default: some were added while the last playground ran.
func (p *playground) keepStores() {
	for i := p.Stores; i < maxStores; i++ {
		if _, err := os.Stat(filepath.Join(p.dir, local.StoreName(i))); err == nil {
			p.printf("%s has data in %s, so it is started, too\n", local.StoreName(i), p.dir)
			p.Stores = i + 1
		}
	}
}

// watch prints what happens until it is over.
func (p *playground) watch() error {
	pd := addresses(p.specs)
	api, err := pdapi.New(pd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	missing := make(chan string)
	var poller sync.WaitGroup
	poller.Go(func() { waitReady(ctx, api, p.Stores, p.configs.scheduler.Replication.MaxReplicas, missing) })
	defer poller.Wait()
	defer cancel()
	var late <-chan time.Time
	if p.ReadyWithin > 0 {
		late = time.After(time.Duration(p.ReadyWithin) * time.Second)
	}
	if c, err := p.startControl(); err == nil {
		defer c.close()
	} else {
		p.printf("this playground cannot be scaled while it runs: %v\n", err)
	}
	ready := false
	for {
		select {
		case s := <-p.signals:
			p.printf("stopping (%v); once more to stop at once\n", s)
			return nil
		case err := <-p.fatal:
			return err
		case o := <-p.orders:
			value, err := o.do()
			o.done <- answer{value, err}
		case c := <-p.exits:
			if c.leaving {
				continue
			}
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
			ready, late = true, nil
			p.printf("ready: %s\n", pd)
			first, _, _ := strings.Cut(pd, ",")
			p.printf("  see  http://%s/dashboard\n  try  %s kv put hello world\n       %s store\n  stop with Ctrl-C\n", first, p.ctl(pd), p.ctl(pd))
		case <-late:
			return errors.Errorf("the cluster is not ready after %d s (--db.timeout): %s",
				p.ReadyWithin, whatIsMissing(ctx, api, p.Stores, p.configs.scheduler.Replication.MaxReplicas))
		}
	}
}

// printTable shows the parts.
func (p *playground) printTable() {
	t := table.NewWriter()
	t.SetOutputMirror(p.out)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"process", "pid", "address", "status", "log"})
	for _, s := range p.specs {
		status := "http://" + s.status + "/config" // /status answers with an empty page
		if !s.store {
			status = "http://" + s.status + "/pd/api/v1/stores"
		}
		t.AppendRow(table.Row{s.name, p.members.pid(s), s.addr, status, s.log})
	}
	t.Render()
}

func (p *playground) printf(format string, args ...any) { fmt.Fprintf(p.out, format, args...) }

// ctl is how to look at this cluster from a shell, without the address if it is the usual one.
func (p *playground) ctl(pd string) string {
	if pd == fmt.Sprintf("127.0.0.1:%d", clientPort) {
		return shortName(p.binary) + " ctl"
	}
	return shortName(p.binary) + " ctl --pd " + pd
}

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
