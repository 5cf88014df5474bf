package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/shoal-kv/shoal/rpc"
)

// GRPCConfig is how a store listens.
type GRPCConfig struct {
	// Security holds the TLS settings; its zero value is plain text.
	Security rpc.Security
	// MaxRecvSize bounds a received message in bytes; default 256 MiB. Clients bundle up to 128 commands in a message without looking at its size.
	MaxRecvSize int
	// StopTimeout is how long Stop waits for requests in work; default 10 s.
	StopTimeout time.Duration
}

// maxStreams bounds the streams and unary requests of one connection that are in work.
const maxStreams = 1024

// GRPC is the gRPC server of a store: the Tikv service, health checks, and what the caller registers. Clients judge a store's
// reachability by the health of the service "", which is SERVING from the first moment until Stop.
type GRPC struct {
	server *Server
	grpc   *grpc.Server
	health *health.Server
	config GRPCConfig
}

// NewGRPC assembles a gRPC server around s. The error is about the files that config names.
func NewGRPC(s *Server, config GRPCConfig) (*GRPC, error) {
	if config.MaxRecvSize <= 0 {
		config.MaxRecvSize = 256 << 20
	}
	if config.StopTimeout <= 0 {
		config.StopTimeout = 10 * time.Second
	}
	opts, err := rpc.ServerOptions(config.Security)
	if err != nil {
		return nil, err
	}
	g := &GRPC{
		server: s,
		grpc: grpc.NewServer(append(
			opts,
			grpc.MaxRecvMsgSize(config.MaxRecvSize),
			grpc.MaxSendMsgSize(math.MaxInt32), // Limits.MaxResponseSize decides, with an answer instead of a broken stream
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.WaitForHandlers(true),
		)...),
		health: health.NewServer(),
		config: config,
	}
	tikvpb.RegisterTikvServer(g.grpc, s)
	grpc_health_v1.RegisterHealthServer(g.grpc, g.health)
	return g, nil
}

// Registrar takes further services, before Serve.
func (g *GRPC) Registrar() grpc.ServiceRegistrar { return g.grpc }

// Serve accepts connections until Stop; it then returns nil. It closes the listener.
func (g *GRPC) Serve(listener net.Listener) error {
	err := g.grpc.Serve(listener)
	if err == nil || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return fmt.Errorf("serve gRPC: %w", err)
}

// Stop ends the service: health turns NOT_SERVING, requests in work are answered, and what is not done after the timeout, or when
// ctx ends, is broken off. When it returns, no handler runs any more and no goroutine of the server is left.
func (g *GRPC) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.config.StopTimeout)
	defer cancel()
	g.health.Shutdown()
	g.server.Drain()
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		g.grpc.GracefulStop()
	}()
	select {
	case <-graceful:
	case <-ctx.Done():
	}
	g.grpc.Stop()
	<-graceful
	g.server.Wait()
}
