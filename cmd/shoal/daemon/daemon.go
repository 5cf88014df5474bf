// Package daemon runs a service until it is told to stop or fails, and tells systemd, when that started it, how it goes
// (notify.go).
//
// SIGTERM or SIGINT asks for a graceful stop; a second one, or a stop that outlasts its limit, ends the process at once with
// exit code 1. A service that reports a fatal error ends the process too, and is *not* closed first: it has just said that
// its disk can no longer be trusted, and what a crash leaves behind is what recovery is made for.
//
// SIGHUP reopens the log file, for those who move it away. A service that logs to standard error has none: there the signal
// means that the terminal was closed, and asks for a graceful stop.
package daemon

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/pingcap/errors"
	"go.uber.org/zap"
)

// Service is something that runs.
type Service interface {
	// Fatal delivers the error that the service cannot live with.
	Fatal() <-chan error
	// Stuck is an error when some part of it has been at one piece of work for longer than limit.
	Stuck(limit time.Duration) error
	// Close stops it, gracefully.
	Close()
}

// Daemon is one run of a service.
type Daemon struct {
	// Name is what the log calls the service.
	Name   string
	Logger *zap.Logger
	// CloseLimit is how long Close may take.
	CloseLimit time.Duration
	// Reopen is what SIGHUP asks for; nil when there is nothing to reopen.
	Reopen func() error

	// signals, hangups and exit stand in for the operating system in tests.
	signals, hangups chan os.Signal
	exit             func(code int)
}

// Run starts a service and returns when it has stopped: nil after a graceful stop, else why it could not start or go on. The context
// of start ends with the first signal, so that a start that waits for others can be given up.
func (d *Daemon) Run(start func(ctx context.Context) (Service, error)) error {
	if d.signals == nil {
		defer d.listen()()
	}
	if d.exit == nil {
		d.exit = os.Exit
	}
	running, stop := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	beside.Go(func() { d.hearHangups(running) })

	service, err := d.start(start)
	if service == nil || err != nil {
		return err
	}
	d.notify(ready)
	beside.Go(func() { d.feedWatchdog(running, service) })
	select {
	case err := <-service.Fatal():
		d.Logger.Error("the "+d.Name+" cannot go on", zap.Error(err))
		return errors.Annotatef(err, "the %s cannot go on", d.Name)
	case s := <-d.signals:
		d.Logger.Info("stopping; a second signal ends at once", zap.Stringer("signal", s))
	}
	return d.stop(service)
}

// listen subscribes to the signals.
func (d *Daemon) listen() (stop func()) {
	d.signals, d.hangups = make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(d.signals, syscall.SIGTERM, syscall.SIGINT)
	if d.Reopen != nil {
		signal.Notify(d.hangups, syscall.SIGHUP)
	} else {
		signal.Notify(d.signals, syscall.SIGHUP)
	}
	return func() {
		signal.Stop(d.signals)
		signal.Stop(d.hangups)
	}
}

// hearHangups reopens the log file as often as it is asked to, until ctx ends.
func (d *Daemon) hearHangups(ctx context.Context) {
	for {
		select {
		case <-d.hangups:
		case <-ctx.Done():
			return
		}
		if err := d.Reopen(); err != nil {
			d.Logger.Warn("the log file was not reopened", zap.Error(err))
			continue
		}
		d.Logger.Info("the log file is reopened")
	}
}

// start returns nothing when a signal came before the service stood.
func (d *Daemon) start(start func(ctx context.Context) (Service, error)) (Service, error) {
	type outcome struct {
		service Service
		err     error
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan outcome, 1)
	go func() {
		s, err := start(ctx)
		started <- outcome{s, err}
	}()
	var o outcome
	select {
	case o = <-started:
		return o.service, errors.Annotatef(advise(o.err), "the %s cannot start", d.Name)
	case s := <-d.signals:
		d.Logger.Info("stopping before the start was over; a second signal ends at once", zap.Stringer("signal", s))
		cancel()
	}
	select {
	case o = <-started:
	case <-d.signals:
		d.exit(1)
		return nil, nil
	}
	if o.err == nil {
		return nil, d.stop(o.service)
	}
	return nil, nil
}

func (d *Daemon) stop(service Service) error {
	d.notify(stopping)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		service.Close()
	}()
	limit := time.NewTimer(d.CloseLimit)
	defer limit.Stop()
	select {
	case <-closed:
		d.Logger.Info("stopped")
		return nil
	case <-d.signals:
		d.Logger.Warn("a second signal: ending at once")
		d.exit(1)
		return nil
	case <-limit.C:
		return errors.Errorf("the %s did not stop within %v", d.Name, d.CloseLimit)
	}
}
