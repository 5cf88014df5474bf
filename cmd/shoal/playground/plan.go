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
)

// The ports of the first scheduler and of the first store, before the offset. The ports of further schedulers come in pairs
// too: 2381 and 2382, 2383 and 2384, ….
const (
	clientPort    = 2379
	peerPort      = 2380
	schedulerStep = 2
	storePort     = 20160
	statusPort    = 20180
	maxStores     = statusPort - storePort
	maxSchedulers = 7 // etcd's own advice
)

// spec is one process of the cluster.
type spec struct {
	name string
	args []string
	// addr is where it serves, status where it tells about itself.
	addr, status string
	// ports are all that it listens on.
	ports []string
	log   string
	store bool // or else a scheduler
}

const schedulerName = "scheduler"

// plan lists the processes: the schedulers first, then the stores.
func (o *Options) plan(dir string) []*spec {
	specs := o.planSchedulers(dir)
	pd := addresses(specs)
	for i := range o.Stores {
		name := fmt.Sprintf("store-%d", i+1)
		addr, status := o.at(storePort+i), o.at(statusPort+i)
		args := []string{
			"store", "--pd=" + pd, "--addr=" + addr, "--status-addr=" + status, "--data-dir=" + filepath.Join(dir, name),
		}
		if o.Engine != "" && o.Engine != config.EnginePebble {
			args = append(args, "--engine="+o.Engine)
		}
		specs = append(specs, &spec{
			name: name, args: args,
			addr: addr, status: status, ports: []string{addr, status},
			log: filepath.Join(dir, name+".log"), store: true,
		})
	}
	return specs
}

// planSchedulers makes a lone scheduler, or a group in which each knows all.
func (o *Options) planSchedulers(dir string) []*spec {
	var specs []*spec
	var group []string
	for k := range o.Schedulers {
		name := o.schedulerName(k)
		client, peer := o.at(clientPort+schedulerStep*k), o.at(peerPort+schedulerStep*k)
		specs = append(specs, &spec{
			name: name,
			args: []string{
				"scheduler", "--name=" + name, "--data-dir=" + filepath.Join(dir, name),
				"--client-urls=http://" + client, "--peer-urls=http://" + peer,
			},
			addr: client, status: client, ports: []string{client, peer},
			log: filepath.Join(dir, name+".log"),
		})
		group = append(group, name+"=http://"+peer)
	}
	if len(specs) > 1 {
		for _, s := range specs {
			s.args = append(s.args, "--initial-cluster="+strings.Join(group, ","))
		}
	}
	return specs
}

func (o *Options) schedulerName(k int) string {
	if o.Schedulers == 1 {
		return schedulerName
	}
	return fmt.Sprintf("%s-%d", schedulerName, k+1)
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

// requireSameGroup refuses data of a group of another size: such schedulers would form a cluster of their own, to which
// the stores' data does not belong.
func (o *Options) requireSameGroup(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, schedulerName+"*", "member"))
	if err != nil || len(found) == 0 {
		return errors.WithStack(err)
	}
	if _, err := os.Stat(filepath.Join(dir, o.schedulerName(0))); err == nil && len(found) == o.Schedulers {
		return nil
	}
	return errors.Errorf("%s holds the data of a cluster with %d schedulers: say --pd %d, or choose another directory", dir, len(found), len(found))
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
	case o.PortOffset < 0 || statusPort+maxStores+o.PortOffset > 65535:
		return errors.Errorf("--port-offset is %d; it must be between 0 and %d", o.PortOffset, 65535-statusPort-maxStores)
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
	for _, s := range specs {
		for _, addr := range s.ports {
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
