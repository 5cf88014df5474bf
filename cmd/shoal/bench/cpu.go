package bench

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pingcap/errors"
	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

// servers are the addresses of a cluster, and which of its processes run on this machine is found out by who listens there. That
// holds however a process was started, and other clusters on the machine do not count.
type servers struct {
	schedulers, stores, status []string
}

// findServers asks the scheduler for the stores.
func findServers(ctx context.Context, pd string) (*servers, error) {
	api, err := pdapi.New(pd)
	if err != nil {
		return nil, err
	}
	stores, err := api.Stores(ctx)
	if err != nil {
		return nil, err
	}
	s := &servers{}
	for e := range strings.SplitSeq(pd, ",") {
		s.schedulers = append(s.schedulers, strings.TrimPrefix(e, "http://"))
	}
	for _, store := range stores {
		s.stores = append(s.stores, store.Store.Address)
		s.status = append(s.status, store.Store.StatusAddress)
	}
	return s, nil
}

// CPU is what a run cost. Times are of user and system together.
type CPU struct {
	// Stores and Scheduler are known only when all of them run on this machine.
	Known     bool          `json:"known"`
	Stores    time.Duration `json:"stores_ns"`
	Scheduler time.Duration `json:"scheduler_ns"`
	Client    time.Duration `json:"client_ns"`
	// Gone counts server processes that ended meanwhile; what they spent after they were looked at last is missing.
	Gone int `json:"gone,omitempty"`
}

// usage watches the servers' processes from begin to end. A goroutine looks once in a while, so that little is lost with a
// process that is killed.
type usage struct {
	servers *servers
	client  time.Duration
	known   bool
	seen    map[int32]*spent // by pid; the goroutine's until it has ended
	stop    context.CancelFunc
	looking sync.WaitGroup
}

// spent is the CPU time of one process: at the first look and at the latest.
type spent struct {
	scheduler   bool
	first, last time.Duration
	gone        bool
}

const lookEvery = time.Second

func (s *servers) begin() *usage {
	u := &usage{servers: s, client: ownTime(), seen: map[int32]*spent{}}
	u.known = u.find(true)
	ctx, cancel := context.WithCancel(context.Background())
	u.stop = cancel
	u.looking.Go(func() {
		for ctx.Err() == nil {
			wait(ctx, lookEvery)
			if u.look(); u.someoneMissing() {
				u.find(false)
			}
		}
	})
	return u
}

func (u *usage) end() CPU {
	u.stop()
	u.looking.Wait()
	known := u.find(false)
	u.look()
	c := CPU{Known: u.known && known, Client: ownTime() - u.client}
	for _, s := range u.seen {
		if s.scheduler {
			c.Scheduler += s.last - s.first
		} else {
			c.Stores += s.last - s.first
		}
		if s.gone {
			c.Gone++
		}
	}
	return c
}

// find looks up who listens at the addresses. A process that was not there at the begin has done all its work during the run.
// It reports whether every address was found.
func (u *usage) find(atBegin bool) bool {
	pids, err := listeners()
	if err != nil {
		return false
	}
	all := true
	note := func(addrs []string, scheduler bool) {
		for _, addr := range addrs {
			pid, ok := pids.of(addr)
			if !ok {
				all = false
				continue
			}
			if u.seen[pid] != nil {
				continue
			}
			s := &spent{scheduler: scheduler}
			if t, err := processTime(pid); err == nil && atBegin {
				s.first, s.last = t, t
			}
			u.seen[pid] = s
		}
	}
	note(u.servers.schedulers, true)
	note(u.servers.stores, false)
	return all
}

func (u *usage) look() {
	for pid, s := range u.seen {
		t, err := processTime(pid)
		// A pid may have been given to another process, whose clock begins anew.
		if s.gone = s.gone || err != nil || t < s.last; !s.gone {
			s.last = t
		}
	}
}

// someoneMissing tells that fewer processes live than there were: one has ended, and its successor is not known yet.
func (u *usage) someoneMissing() bool {
	living, gone := 0, 0
	for _, s := range u.seen {
		if s.gone {
			gone++
		} else {
			living++
		}
	}
	return gone > 0 && living < len(u.servers.schedulers)+len(u.servers.stores)
}

func processTime(pid int32) (time.Duration, error) {
	p, err := process.NewProcess(pid)
	if err != nil {
		return 0, errors.WithStack(err)
	}
	t, err := p.Times()
	if err != nil {
		return 0, errors.WithStack(err)
	}
	return time.Duration((t.User + t.System) * float64(time.Second)), nil
}

func ownTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// listening says which process listens at which IP and port of this machine.
type listening map[string]int32

func listeners() (listening, error) {
	conns, err := psnet.Connections("tcp")
	if err != nil {
		return nil, errors.WithStack(err)
	}
	l := listening{}
	for _, c := range conns {
		if c.Status == "LISTEN" && c.Pid != 0 {
			l[net.JoinHostPort(c.Laddr.IP, strconv.Itoa(int(c.Laddr.Port)))] = c.Pid
		}
	}
	return l, nil
}

// of finds who listens at host:port, also by listening on every address of the machine.
func (l listening) of(addr string) (int32, bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, false
	}
	ips, err := net.LookupHost(host)
	if err != nil {
		return 0, false
	}
	for _, ip := range ips {
		if pid, ok := l[net.JoinHostPort(ip, port)]; ok {
			return pid, true
		}
	}
	if !isOwn(ips) {
		return 0, false
	}
	for _, all := range []string{"0.0.0.0", "::", "*"} {
		if pid, ok := l[net.JoinHostPort(all, port)]; ok {
			return pid, true
		}
	}
	return 0, false
}

// isOwn tells whether one of the addresses is this machine's.
func isOwn(ips []string) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		own, ok := a.(*net.IPNet)
		for _, ip := range ips {
			if ok && own.IP.Equal(net.ParseIP(ip)) {
				return true
			}
		}
	}
	return false
}
