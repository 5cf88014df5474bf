// Package rpc is the one place where Shoal's processes dial and listen, so that transport security, keepalive, flow control and the
// codec are decided once.
//
// Windows are fixed: what a peer that does not read can make us hold is bounded by them, and grpc's bandwidth estimator costs
// more than it finds out on a fast network. Both sides ping a quiet connection, so that a peer that is gone without a word is noticed within
// seconds; servers put up with clients that ping as often as every five seconds, which TiKV's clients do. A lost connection is tried
// again after at most a second.
//
// The package leans on grpc alone. What is sent over a connection is the business of those who ask for one.
package rpc

import (
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
)

const (
	// MaxMessage is the size in bytes of the largest message that is sent or received.
	MaxMessage = 64 << 20

	streamWindow     = 2 << 20
	connectionWindow = 8 << 20

	pingAfter   = 10 * time.Second
	pingTimeout = 3 * time.Second
	// mostFrequentPing must stay below the interval of clients that ping (10 s), with room for clocks.
	mostFrequentPing = 5 * time.Second

	maxBackoff     = time.Second
	connectTimeout = 3 * time.Second
)

// Dial returns a connection to addr, host:port with or without a scheme. It connects when first used, and again whenever it is lost.
// The error is about the address or the files of sec only. The options given come after, and override, those that all connections have.
func Dial(addr string, sec Security, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	host, err := hostPort(addr)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if sec.Enabled() {
		config, err := sec.clientConfig()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		experimental.WithBufferPool(buffers),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connectionWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: maxBackoff / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(Codec{}),
			grpc.MaxCallRecvMsgSize(MaxMessage),
			grpc.MaxCallSendMsgSize(MaxMessage),
		),
	}
	// The address is looked up at every attempt to connect, not ahead and from time to time.
	conn, err := grpc.NewClient("passthrough:///"+host, append(all, opts...)...)
	return conn, errors.Annotatef(err, "dial %s", addr)
}

// Listen opens a TCP listener at addr, host:port with or without a scheme. Port 0 is any that is free.
func Listen(addr string) (net.Listener, error) {
	host, err := hostPort(addr)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", host)
	return listener, errors.Annotatef(err, "listen at %s", addr)
}

// ServerOptions are the options that every gRPC server of ours has. The error is about the files of sec.
func ServerOptions(sec Security) ([]grpc.ServerOption, error) {
	opts := []grpc.ServerOption{
		experimental.BufferPool(buffers),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: mostFrequentPing, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(Codec{}),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
	}
	if sec.Enabled() {
		config, err := sec.serverConfig()
		if err != nil {
			return nil, err
		}
		opts = append(opts, grpc.Creds(credentials.NewTLS(config)))
	}
	return opts, nil
}

// hostPort strips an address's scheme, which says nothing that Security does not, and checks the rest.
func hostPort(addr string) (string, error) {
	host := addr
	if strings.Contains(addr, "://") {
		u, err := url.Parse(addr)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
			return "", errors.Errorf("address %q: must be host:port, http://host:port or https://host:port", addr)
		}
		host = u.Host
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		return "", errors.Annotatef(err, "address %q", addr)
	}
	return host, nil
}
