package local

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/server"
)

// startSchedulers starts all schedulers at once, because those of a new group wait for each other. When one fails, the others
// are given up.
func (c *Cluster) startSchedulers(ctx context.Context) error {
	configs, err := c.schedulerConfigs()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make([]*server.Server, len(configs))
	var starting sync.WaitGroup
	for i, cfg := range configs {
		starting.Go(func() {
			s, err := startScheduler(ctx, cfg)
			if err != nil {
				cancel(errors.Annotate(err, cfg.Name)) // the first cause is kept
				return
			}
			started[i] = s
		})
	}
	starting.Wait()
	for i, s := range started {
		if s != nil {
			c.schedulers = append(c.schedulers, s)
			c.watch(configs[i].Name, s.Err(), c.closing)
		}
	}
	return context.Cause(ctx)
}

func startScheduler(ctx context.Context, cfg server.Config) (*server.Server, error) {
	s, err := server.New(cfg)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// schedulerConfigs gives each scheduler its name, directory and addresses, and all of them the group.
func (c *Cluster) schedulerConfigs() ([]server.Config, error) {
	var configs []server.Config
	var group []string
	for i := range c.opts.Schedulers {
		cfg := c.opts.Scheduler
		cfg.Name = SchedulerName(i, c.opts.Schedulers)
		cfg.DataDir = filepath.Join(c.opts.Dir, cfg.Name)
		if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
			return nil, errors.WithStack(err)
		}
		at := c.opts.Listen(cfg.Name)
		client, err := listenURL(at.Addr)
		if err != nil {
			return nil, errors.Annotate(err, cfg.Name)
		}
		peer, err := listenURL(at.Other)
		if err != nil {
			return nil, errors.Annotate(err, cfg.Name)
		}
		cfg.ClientURLs, cfg.PeerURLs = []string{client}, []string{peer}
		cfg.AdvertiseClientURLs, cfg.AdvertisePeerURLs, cfg.InitialCluster, cfg.Join = nil, nil, "", ""
		cfg.Logger, cfg.Registry = c.opts.Logger(cfg.Name), registry()
		configs = append(configs, cfg)
		group = append(group, cfg.Name+"="+peer)
	}
	if len(configs) > 1 {
		for i := range configs {
			configs[i].InitialCluster = strings.Join(group, ",")
		}
	}
	return configs, nil
}

// listenURL finds a free port in place of port 0, which a scheduler cannot do. It was free a moment ago, which is all that can be
// known.
func listenURL(addr string) (string, error) {
	if _, port, err := net.SplitHostPort(addr); err != nil || port != "0" {
		return "http://" + addr, errors.WithStack(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", errors.WithStack(err)
	}
	return "http://" + l.Addr().String(), l.Close()
}
