package server

import (
	"context"
	stderrors "errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// forwardKey is the metadata by which a client that cannot reach the leader asks another member to pass its request on.
const forwardKey = "pd-forwarded-host"

// A member that is gone without a word is noticed after both; pings are no more frequent than the server puts up with.
const forwardPingAfter, forwardPingBy = 10 * time.Second, 3 * time.Second

// forwards are the connections to other members over which requests are passed on, by host:port.
type forwards struct {
	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// target is the connection over which a request must be passed on; nil if this member serves it itself. Only members of
// the group are forwarded to: nobody's proxy to elsewhere.
func (s *Server) target(ctx context.Context, method string) (*grpc.ClientConn, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	named := md.Get(forwardKey)
	ours := strings.HasPrefix(method, "/pdpb.") || strings.HasPrefix(method, "/meta_storagepb.")
	if len(named) == 0 || named[0] == "" || !ours {
		return nil, nil
	}
	node, err := s.running()
	if err != nil {
		return nil, err
	}
	host := hostOf(named[0])
	serves := func(url string) bool { return hostOf(url) == host }
	if slices.ContainsFunc(s.cfg.AdvertiseClientURLs, serves) {
		return nil, nil
	}
	for _, m := range node.Members() {
		if slices.ContainsFunc(m.ClientURLs, serves) {
			return s.forwards.conn(host)
		}
	}
	return nil, status.Errorf(codes.Unavailable, "not leader: %s, to which to forward, is no member of this group", named[0])
}

func hostOf(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		url = rest
	}
	return strings.TrimSuffix(url, "/")
}

func (f *forwards) conn(host string) (*grpc.ClientConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errNotStarted
	}
	if conn := f.conns[host]; conn != nil {
		return conn, nil
	}
	conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: forwardPingAfter, Timeout: forwardPingBy}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "cannot forward to %s: %v", host, err)
	}
	if f.conns == nil {
		f.conns = make(map[string]*grpc.ClientConn)
	}
	f.conns[host] = conn
	return conn, nil
}

func (f *forwards) close(log *zap.Logger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for host, conn := range f.conns {
		if err := conn.Close(); err != nil {
			log.Warn("closing a connection to another scheduler", zap.String("host", host), zap.Error(err))
		}
	}
}

// forwardCall is the interceptor of unary calls. The answer is passed on undecoded.
func (s *Server) forwardCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, serve grpc.UnaryHandler) (any, error) {
	conn, err := s.target(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return serve(ctx, req)
	}
	// Metadata is not passed on, least of all the wish to be forwarded: the other member serves the request or refuses.
	var res frame
	if err := conn.Invoke(ctx, info.FullMethod, req, &res); err != nil {
		return nil, err
	}
	return &res, nil
}

// forwardStream is the interceptor of streams: frames are passed on in both directions until one side ends.
func (s *Server) forwardStream(srv any, from grpc.ServerStream, info *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	conn, err := s.target(from.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if conn == nil {
		return serve(srv, from)
	}
	if strings.HasSuffix(info.FullMethod, "/Tso") {
		s.metrics.forwarded.Inc()
	}
	to, err := conn.NewStream(from.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, info.FullMethod)
	if err != nil {
		return err
	}
	s.receivers.Go(func() { passRequests(from, to) })
	for {
		var res frame
		err := to.RecvMsg(&res)
		if stderrors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := from.SendMsg(&res); err != nil {
			return err
		}
	}
}

// passRequests ends with the stream it reads, at the latest when the handler returns. What goes wrong with the other stream
// its receiver learns.
func passRequests(from grpc.ServerStream, to grpc.ClientStream) {
	for {
		var req frame
		if err := from.RecvMsg(&req); err != nil {
			_ = to.CloseSend()
			return
		}
		if err := to.SendMsg(&req); err != nil {
			return
		}
	}
}

// frame is a message that nobody here decodes. To a codec it is a message that does its own encoding.
type frame struct{ bytes []byte }

// Reset, String and ProtoMessage make it a message; Marshal and Unmarshal are what codecs call.

// Reset empties the frame.
func (f *frame) Reset() { f.bytes = nil }

// String does not show the content.
func (f *frame) String() string { return "frame" }

// ProtoMessage marks it as a message.
func (f *frame) ProtoMessage() {}

// Marshal returns the message as it came.
func (f *frame) Marshal() ([]byte, error) { return f.bytes, nil }

// Unmarshal keeps a copy of the message.
func (f *frame) Unmarshal(data []byte) error {
	f.bytes = slices.Clone(data)
	return nil
}

// rawCodec passes frames through and encodes the requests that the server has decoded already.
type rawCodec struct{}

// Name is the content type under which the other side decodes.
func (rawCodec) Name() string { return "proto" }

// Marshal asks the message to encode itself.
func (rawCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(interface{ Marshal() ([]byte, error) })
	if !ok {
		return nil, errors.Errorf("a %T cannot be forwarded", v)
	}
	return m.Marshal()
}

// Unmarshal fills a frame.
func (rawCodec) Unmarshal(data []byte, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return errors.Errorf("a forwarded answer is read into a %T", v)
	}
	return f.Unmarshal(data)
}
