package playground

import (
	"context"
	"os"
	"path/filepath"

	"github.com/pingcap/errors"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/cmd/shoal/version"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/log"
)

// runInside runs all parts in this process. Each has its own log file, as a process would.
func (p *playground) runInside() error {
	logs, err := p.openLogs()
	defer logs.close()
	if err != nil {
		return err
	}
	scheduler := p.configs.scheduler.Server()
	scheduler.Version = version.Release
	c, err := p.startInside(local.Options{
		Stores: p.Stores, Schedulers: p.Schedulers, Dir: p.dir, Config: p.configs.store, Scheduler: scheduler,
		Logger: func(part string) *zap.Logger { return logs[part].Logger }, Listen: p.listen, NodeOptions: p.nodeOptions,
	})
	if c == nil || err != nil {
		return err
	}
	p.fatal, p.members = c.Fatal(), &insiders{p, c, logs}
	p.printTable()
	failure := p.watch()
	if err := p.hurried(c.Close); failure == nil {
		return err
	}
	return failure
}

// startInside returns nothing when the user left before the cluster stood.
func (p *playground) startInside(opts local.Options) (*local.Cluster, error) {
	type outcome struct {
		cluster *local.Cluster
		err     error
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan outcome, 1)
	go func() {
		c, err := local.Start(ctx, opts)
		started <- outcome{c, err}
	}()
	select {
	case o := <-started:
		return o.cluster, o.err
	case s := <-p.signals:
		p.printf("stopping (%v); once more to stop at once\n", s)
		cancel()
	}
	return nil, p.hurried(func() {
		if o := <-started; o.err == nil {
			o.cluster.Close()
		}
	})
}

// hurried runs stop, but does not wait for its end when a signal comes: then this process is over, and stop with it.
func (p *playground) hurried(stop func()) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	select {
	case <-stopped:
		return nil
	case <-p.signals:
		return errors.New("stopped at once, before everything was closed")
	}
}

// listen looks up where a part was planned to be.
func (p *playground) listen(part string) local.Listen {
	for _, s := range p.specs {
		if s.name == part {
			return local.Listen{Addr: s.ports[0], Other: s.ports[1]}
		}
	}
	panic("playground: no plan for " + part)
}

// logs are the parts' loggers by name.
type logs map[string]*log.Logger

func (p *playground) openLogs() (logs, error) {
	all := logs{}
	for _, s := range p.specs {
		if err := p.openLog(all, s); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (p *playground) openLog(all logs, s *spec) error {
	cfg := p.configs.store.Log
	if !s.store {
		cfg = p.configs.scheduler.Log
	}
	cfg.File.Filename = filepath.Join(p.dir, s.name+".log")
	l, err := log.New(cfg)
	if err != nil {
		return errors.Annotate(err, s.name)
	}
	all[s.name] = l
	return nil
}

// insiders are the parts in this process.
type insiders struct {
	p       *playground
	cluster *local.Cluster
	logs    logs
}

// start implements members.
func (m *insiders) start(s *spec) error {
	if m.logs[s.name] == nil {
		if err := m.p.openLog(m.logs, s); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), upWithin)
	defer cancel()
	return m.cluster.AddStore(ctx, s.name, local.Listen{Addr: s.ports[0], Other: s.ports[1]})
}

// stop implements members.
func (m *insiders) stop(s *spec) error { return m.cluster.RemoveStore(s.name) }

func (m *insiders) written() error     { return nil } // there are no command lines
func (m *insiders) pid(*spec) int      { return os.Getpid() }
func (m *insiders) running(*spec) bool { return true }

func (l logs) close() {
	for _, logger := range l {
		_ = logger.Close() // its last line has been written
	}
}
