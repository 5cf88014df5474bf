package daemon

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type service struct {
	fatal   chan error
	closing chan struct{}
	release chan struct{}
}

func newService() *service {
	return &service{fatal: make(chan error, 1), closing: make(chan struct{}), release: make(chan struct{})}
}

func (s *service) Fatal() <-chan error { return s.fatal }

func (s *service) Stuck(time.Duration) error { return nil }

func (s *service) Close() {
	close(s.closing)
	<-s.release
}

// run starts a daemon around a service and returns where its outcome and its exit codes come.
func run(t *testing.T, d *Daemon, start func(context.Context) (Service, error)) (outcome chan error, exits chan int) {
	t.Helper()
	outcome, exits = make(chan error, 1), make(chan int, 1)
	d.Name, d.Logger = "store", zap.NewNop()
	d.signals = make(chan os.Signal, 2)
	d.exit = func(code int) { exits <- code }
	if d.CloseLimit == 0 {
		d.CloseLimit = time.Minute
	}
	go func() { outcome <- d.Run(start) }()
	return outcome, exits
}

func TestOneSignalStopsGracefully(t *testing.T) {
	s, d := newService(), &Daemon{}
	outcome, _ := run(t, d, func(context.Context) (Service, error) { return s, nil })
	d.signals <- syscall.SIGTERM
	<-s.closing
	close(s.release)
	require.NoError(t, <-outcome)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	s, d := newService(), &Daemon{}
	outcome, exits := run(t, d, func(context.Context) (Service, error) { return s, nil })
	d.signals <- syscall.SIGINT
	<-s.closing
	d.signals <- syscall.SIGINT
	require.Equal(t, 1, <-exits)
	<-outcome
	close(s.release)
}

func TestSlowStopHasALimit(t *testing.T) {
	s, d := newService(), &Daemon{CloseLimit: time.Millisecond}
	outcome, _ := run(t, d, func(context.Context) (Service, error) { return s, nil })
	d.signals <- syscall.SIGTERM
	require.ErrorContains(t, <-outcome, "the store did not stop within 1ms")
	close(s.release)
}

func TestFatalErrorIsTold(t *testing.T) {
	s, d := newService(), &Daemon{}
	outcome, _ := run(t, d, func(context.Context) (Service, error) { return s, nil })
	s.fatal <- errors.New("fsync: input/output error")
	require.ErrorContains(t, <-outcome, "the store cannot go on: fsync: input/output error")
	select {
	case <-s.closing:
		t.Fatal("a service that cannot trust its disk was closed as if it could")
	default:
	}
}

func TestFailedStartIsTold(t *testing.T) {
	outcome, _ := run(t, &Daemon{}, func(context.Context) (Service, error) { return nil, errors.New("address in use") })
	require.ErrorContains(t, <-outcome, "the store cannot start: address in use")
}

// TestSignalDuringStart shows that a store which waits for its scheduler can be stopped.
func TestSignalDuringStart(t *testing.T) {
	d := &Daemon{}
	outcome, _ := run(t, d, func(ctx context.Context) (Service, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	d.signals <- syscall.SIGTERM
	require.NoError(t, <-outcome)

	s, d := newService(), &Daemon{}
	close(s.release)
	outcome, _ = run(t, d, func(ctx context.Context) (Service, error) {
		<-ctx.Done()
		return s, nil // it stood after all
	})
	d.signals <- syscall.SIGTERM
	require.NoError(t, <-outcome)
	<-s.closing
}

func TestSecondSignalDuringStart(t *testing.T) {
	d, release := &Daemon{}, make(chan struct{})
	outcome, exits := run(t, d, func(context.Context) (Service, error) {
		<-release
		return nil, errors.New("late")
	})
	d.signals <- syscall.SIGTERM
	d.signals <- syscall.SIGTERM
	require.Equal(t, 1, <-exits)
	<-outcome
	close(release)
}

// Port 1 of a machine that is not this one cannot be listened on, a taken one neither; both errors say what to do.
func TestAdvice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, taken := net.Listen("tcp", l.Addr().String())
	_, foreign := net.Listen("tcp", "192.0.2.1:20160")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{taken, "; stop what listens there, or choose another address"},
		{foreign, "; listen on an address that this machine has"},
		{&os.PathError{Op: "lock", Path: "/d", Err: syscall.EAGAIN}, "; stop what uses this data directory, or choose another"},
		{&os.PathError{Op: "mkdir", Path: "/d", Err: syscall.EACCES}, "; choose a data directory"},
	} {
		err := advise(errors.Annotate(tc.err, "listen"))
		require.ErrorContains(t, err, tc.want)
		require.ErrorIs(t, err, tc.err)
	}
	require.NoError(t, advise(nil))
	require.Equal(t, os.ErrClosed, advise(os.ErrClosed))
}
