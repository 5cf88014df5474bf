package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// systemdSocket stands in for systemd: it returns what it is told next, or fails the test.
func systemdSocket(t *testing.T) (next func() string) {
	t.Helper()
	// The name of a socket is limited to about a hundred bytes, which a test's directory may be longer than.
	dir, err := os.MkdirTemp("", "sd")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	name := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	t.Setenv("NOTIFY_SOCKET", name)
	return func() string {
		t.Helper()
		buf := make([]byte, 256)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
}

func TestSystemdIsTold(t *testing.T) {
	next := systemdSocket(t)
	s, d := newService(), &Daemon{}
	starting, proceed := make(chan struct{}), make(chan struct{})
	outcome, _ := run(t, d, func(context.Context) (Service, error) {
		close(starting)
		<-proceed
		return s, nil
	})
	<-starting
	close(proceed)
	require.Equal(t, "READY=1", next(), "and not before the service stood")
	d.signals <- syscall.SIGTERM
	require.Equal(t, "STOPPING=1", next())
	<-s.closing
	close(s.release)
	require.NoError(t, <-outcome)
}

func TestAFailedStartIsNotReady(t *testing.T) {
	next := systemdSocket(t)
	outcome, _ := run(t, &Daemon{}, func(context.Context) (Service, error) { return nil, errors.New("address in use") })
	require.Error(t, <-outcome)
	s, d := newService(), &Daemon{}
	outcome, _ = run(t, d, func(context.Context) (Service, error) { return s, nil })
	require.Equal(t, "READY=1", next(), "the second one's; nothing came from the first")
	s.fatal <- errors.New("disk")
	require.Error(t, <-outcome)
}

// moody is a service that is stuck when the test says so.
type moody struct {
	*service
	stuck atomic.Bool
	asked atomic.Int64
	well  atomic.Int64 // how often it was not stuck
}

func (m *moody) Stuck(limit time.Duration) error {
	m.asked.Add(1)
	if limit != 20*time.Millisecond {
		return errors.Errorf("asked about %v", limit)
	}
	if m.stuck.Load() {
		return errors.New("the log writer hangs")
	}
	m.well.Add(1)
	return nil
}

func TestTheWatchdogIsFedWhileNothingIsStuck(t *testing.T) {
	next := systemdSocket(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	s, d := &moody{service: newService()}, &Daemon{}
	outcome, _ := run(t, d, func(context.Context) (Service, error) { return s, nil })
	require.Equal(t, "READY=1", next())
	for range 3 {
		require.Equal(t, "WATCHDOG=1", next())
	}
	s.stuck.Store(true)
	asked := s.asked.Load()
	require.Eventually(t, func() bool { return s.asked.Load() > asked+5 }, 30*time.Second, time.Millisecond)
	d.signals <- syscall.SIGTERM
	fed := int64(3)
	for next() == "WATCHDOG=1" {
		fed++ // what was on its way
	}
	require.Equal(t, s.well.Load(), fed, "once for each time that nothing was stuck")
	close(s.release)
	require.NoError(t, <-outcome)
}

func TestHangupReopensTheLog(t *testing.T) {
	reopened := make(chan struct{})
	s, d := newService(), &Daemon{hangups: make(chan os.Signal, 1), Reopen: func() error {
		reopened <- struct{}{}
		return errors.New("gone")
	}}
	close(s.release)
	outcome, _ := run(t, d, func(context.Context) (Service, error) { return s, nil })
	for range 2 { // a failure is no reason to stop listening
		d.hangups <- syscall.SIGHUP
		<-reopened
	}
	select {
	case <-s.closing:
		t.Fatal("a hangup stopped a service that has a log file")
	default:
	}
	d.signals <- syscall.SIGTERM
	require.NoError(t, <-outcome)
}

// TestRealHangups sends this process the signal: with a log file it is heard, without one it asks for a stop.
func TestRealHangups(t *testing.T) {
	hangup := func() { require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP)) }
	reopened := make(chan struct{}, 1)
	for _, d := range []*Daemon{
		{Reopen: func() error { reopened <- struct{}{}; return nil }},
		{},
	} {
		d.Name, d.Logger, d.CloseLimit = "store", zap.NewNop(), time.Minute
		s, outcome, started := newService(), make(chan error, 1), make(chan struct{})
		close(s.release)
		go func() {
			outcome <- d.Run(func(context.Context) (Service, error) { close(started); return s, nil })
		}()
		<-started
		hangup()
		if d.Reopen != nil {
			<-reopened
			s.fatal <- errors.New("enough")
			require.ErrorContains(t, <-outcome, "enough")
		} else {
			require.NoError(t, <-outcome)
		}
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	t.Setenv(memoryVariable, "")
	LimitMemory(0, zap.NewNop())
	require.Equal(t, before, debug.SetMemoryLimit(-1))
	LimitMemory(5<<30, zap.NewNop())
	require.EqualValues(t, 5<<30, debug.SetMemoryLimit(-1))
	t.Setenv(memoryVariable, "5GiB")
	LimitMemory(7<<30, zap.NewNop())
	require.EqualValues(t, 5<<30, debug.SetMemoryLimit(-1), "the environment goes before")
}
