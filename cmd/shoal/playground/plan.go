package playground

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/local"
)

// The ports of the first scheduler and of the first store, before the offset. The ports of further schedulers come in pairs
// too: 2381 and 2382, 2383 and 2384, ….
const (
	clientPort    = 2379
	schedulerStep = 2 // the next one is for the other schedulers
	storePort     = 20160
	statusPort    = 20180
	maxStores     = statusPort - storePort
	maxSchedulers = 7 // etcd's own advice
	maxPort       = 65535
)

// spec is one part of the cluster: a process, or its like in this one.
type spec struct {
	name string
	args []string
	dir  string
	// addr is where it serves, status where it tells about itself.
	addr, status string
	// ports are all that it listens on.
	ports []string
	log   string
	store bool // or else a scheduler
}

// plan lists the parts: the schedulers first, then the stores.
func (o *Options) plan(dir string) []*spec {
	specs := o.planSchedulers(dir)
	pd := addresses(specs)
	for i := range o.Stores {
		specs = append(specs, o.planStore(dir, pd, i))
	}
	return specs
}

// planStore plans store i, counted from 0.
func (o *Options) planStore(dir, pd string, i int) *spec {
	name := local.StoreName(i)
	s := &spec{name: name, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"), store: true}
	s.addr, s.status = o.at(o.storePort()+i), o.at(statusPort+i)
	s.ports = []string{s.addr, s.status}
	s.args = []string{"store"}
	if o.StoreConfig != "" {
		// What the file says of a single store's place is meant for none of these.
		s.args = append(s.args, "--config="+o.StoreConfig, "--advertise-addr=", "--advertise-status-addr=", "--log-file=")
	}
	s.args = append(s.args, "--pd="+pd, "--addr="+s.addr, "--status-addr="+s.status, "--data-dir="+s.dir)
	if o.Engine != "" {
		s.args = append(s.args, "--engine="+o.Engine)
	}
	return s
}

// planSchedulers makes a lone scheduler, or a group in which each knows all.
func (o *Options) planSchedulers(dir string) []*spec {
	var specs []*spec
	var group []string
	for k := range o.Schedulers {
		name := local.SchedulerName(k, o.Schedulers)
		client, peer := o.at(o.schedulerPort()+schedulerStep*k), o.at(o.schedulerPort()+1+schedulerStep*k)
		s := &spec{
			name: name, args: []string{"scheduler"}, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"),
			addr: client, status: client, ports: []string{client, peer},
		}
		if o.SchedulerConfig != "" {
			s.args = append(s.args, "--config="+o.SchedulerConfig,
				"--advertise-client-urls=", "--advertise-peer-urls=", "--initial-cluster=", "--join=", "--log-file=")
		}
		s.args = append(s.args, "--name="+name, "--data-dir="+s.dir, "--client-urls=http://"+client, "--peer-urls=http://"+peer)
		specs = append(specs, s)
		group = append(group, name+"=http://"+peer)
	}
	if len(specs) > 1 {
		for _, s := range specs {
			s.args = append(s.args, "--initial-cluster="+strings.Join(group, ","))
		}
	}
	return specs
}

func (o *Options) schedulerPort() int { return orElse(o.SchedulerPort, clientPort) }

func (o *Options) storePort() int { return orElse(o.StorePort, storePort) }

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func (o *Options) at(port int) string {
	return net.JoinHostPort(o.Host, strconv.Itoa(port+o.PortOffset))
}

// addresses are those of the schedulers among the processes, as --pd takes them.
func addresses(specs []*spec) string {
	var list []string
	for _, s := range specs {
		if !s.store {
			list = append(list, s.addr)
		}
	}
	return strings.Join(list, ",")
}

// requireSameGroup refuses data that does not go with what is to be started: schedulers of a group of another size would form a
// cluster of their own, to which the stores' data does not belong; and schedulers do not forget stores whose data was in memory.
func (o *Options) requireSameGroup(dir, engine string) error {
	found, err := filepath.Glob(filepath.Join(dir, "scheduler*", "member"))
	if err != nil || len(found) == 0 {
		return errors.WithStack(err)
	}
	if _, err := os.Stat(filepath.Join(dir, local.SchedulerName(0, o.Schedulers))); err != nil || len(found) != o.Schedulers {
		return errors.Errorf("%s holds the data of a cluster with %d schedulers: say --pd %d, or choose another directory", dir, len(found), len(found))
	}
	if engine == config.EngineMem {
		return errors.Errorf("%s holds the data of a cluster, whose stores cannot go on with an engine in memory: choose an empty directory, or none", dir)
	}
	return nil
}

func (o *Options) validate() error {
	switch {
	case o.Mode != "" && o.Mode != "tikv-slim":
		return errors.Errorf("--mode is %q; only tikv-slim, a cluster of stores and a scheduler, can be started", o.Mode)
	case o.Schedulers < 1 || o.Schedulers > maxSchedulers:
		return errors.Errorf("--pd is %d; it must be between 1 and %d", o.Schedulers, maxSchedulers)
	case o.Engine != "" && !slices.Contains(config.Engines[:], o.Engine):
		return errors.Errorf("--engine is %q; it must be one of %s", o.Engine, strings.Join(config.Engines[:], ", "))
	case o.Stores < 1 || o.Stores > maxStores:
		return errors.Errorf("--kv is %d; it must be between 1 and %d", o.Stores, maxStores)
	case o.PortOffset < 0 || statusPort+maxStores+o.PortOffset > maxPort:
		return errors.Errorf("--port-offset is %d; it must be between 0 and %d", o.PortOffset, maxPort-statusPort-maxStores)
	case o.SchedulerPort < 0 || o.schedulerPort()+schedulerStep*maxSchedulers+o.PortOffset > maxPort:
		return errors.Errorf("--pd.port is %d; it must be between 1 and %d", o.SchedulerPort, maxPort-o.PortOffset-schedulerStep*maxSchedulers)
	case o.StorePort < 0 || o.storePort()+maxStores+o.PortOffset > maxPort:
		return errors.Errorf("--kv.port is %d; it must be between 1 and %d", o.StorePort, maxPort-o.PortOffset-maxStores)
	case o.ReadyWithin < 0:
		return errors.Errorf("--db.timeout is %d; it must not be negative", o.ReadyWithin)
	case o.InProcess && o.Verbose:
		return errors.New("--verbose prints the processes' command lines, and with --in-process there are none; leave one of them out")
	case o.Tag != "" && o.DataDir != "":
		return errors.New("--tag and --data-dir both say where the data stays; give one of them")
	case strings.ContainsAny(o.Tag, "/\\") || strings.HasPrefix(o.Tag, "."):
		return errors.Errorf("--tag is %q; it must be a plain name", o.Tag)
	}
	if ip := net.ParseIP(o.Host); o.Host == "" || (ip != nil && ip.IsUnspecified()) {
		return errors.Errorf("--host is %q; it must be a host that clients can connect to", o.Host)
	}
	return nil
}

// requireFree says which ports are taken, before anything is started.
func requireFree(specs []*spec) error {
	var taken []string
	wanted := map[string]string{}
	for _, s := range specs {
		for _, addr := range s.ports {
			if other := wanted[addr]; other != "" {
				return errors.Errorf("%s is meant for %s and for %s; choose --pd.port and --kv.port farther apart, and away from %d…", addr, other, s.name, statusPort)
			}
			wanted[addr] = s.name
			l, err := net.Listen("tcp", addr)
			if err != nil {
				taken = append(taken, fmt.Sprintf("%s (%s): %v", addr, s.name, err))
				continue
			}
			_ = l.Close() // it was only tried
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return errors.Errorf("cannot listen on %s\nIs another cluster running? --port-offset 100 moves all ports out of its way", strings.Join(taken, "\n                 "))
}

// commandLine is what to type to start a process by hand.
func commandLine(binary string, s *spec) string {
	words := append([]string{binary}, s.args...)
	for i, w := range words {
		if strings.ContainsAny(w, " \t\n'\"\\$&;|<>()*?[]#~`!{}") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
