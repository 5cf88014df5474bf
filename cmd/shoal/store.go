package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/cmd/shoal/daemon"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
)

// store is a node with its connection to the scheduler: the one place where the two halves of the house meet.
type store struct {
	*node.Node
	scheduler *client.Client
}

// startStore waits for the scheduler and then starts a node.
func startStore(ctx context.Context, cfg *config.Config, logger *log.Logger, registry *prometheus.Registry) (daemon.Service, error) {
	security := rpc.Security{CA: cfg.Security.CAPath, Cert: cfg.Security.CertPath, Key: cfg.Security.KeyPath}
	dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, security) }
	scheduler, err := client.New(ctx, cfg.PD.Endpoints, dial, logger.Logger)
	if err != nil {
		return nil, err
	}
	n, err := node.Start(ctx, cfg, scheduler, logger.Logger, registry,
		node.WithEngine(config.EngineBadger, openBadger), node.WithLogLevel(logger.Level), node.WithCores(node.AddProcessor()))
	if err != nil {
		scheduler.Close()
		return nil, err
	}
	return &store{Node: n, scheduler: scheduler}, nil
}

// Close stops the node, then its connection to the scheduler, which it uses until its end.
func (s *store) Close() {
	s.Node.Close()
	s.scheduler.Close()
}
