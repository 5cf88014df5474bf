// Package meta is the scheduler's durable memory: an embedded etcd, the election of the one member that leads, and a map
// whose writes fail once that leadership is lost.
//
// The order of a member's life is:
//
//  1. Start finds out which group the member belongs to (group.go): the one it was in before, one that it is to join, or a
//     new one. It runs the etcd server (its client port also carries the services and HTTP handlers that are passed in),
//     waits until it can serve, and reads the cluster id, drawing it if this is the cluster's first start.
//  2. Campaign waits until nobody leads and this member's etcd leads its group, then takes the leader key under a lease.
//  3. The Leadership keeps that lease alive. Its End says until when nobody else can lead, reckoned from before each
//     renewal was sent, on a monotonic clock. Its Store writes only while the leader key is still the one it created.
//  4. When the lease cannot be renewed in time, or a write fails, the Leadership is lost for good; Campaign again.
//
// How long a group is without a leader after one was killed: etcd elects within one to two election timeouts, and its
// leader waits for one lease more before it takes over. A leader that resigns is succeeded at once.
//
// A write that fails for another reason than the guard is undetermined: it may have happened. Rather than let memory and
// map drift apart, every failed write ends the leadership, and the next term reads the truth back.
//
// Nothing here knows what is stored. The scheduler's server builds all that a leader owns on one Leadership and drops it
// with it.
package meta

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/scheduler/election"
	"google.golang.org/grpc/keepalive"
)

const (
	// A group of several members waits for its leader for about 3 s. A lone one has nobody to wait for, so it elects itself
	// at once. When others join it, it goes on with its short patience until its next start, which disturbs nobody: its
	// group's leader is heard more often than that, and a member that calls an election while others hear the leader loses.
	groupTick, groupElection = 100 * time.Millisecond, 3 * time.Second
	loneTick, loneElection   = 50 * time.Millisecond, 250 * time.Millisecond

	slowRequest      = 300 * time.Millisecond
	maxRequestBytes  = 150 << 20
	backendQuota     = 8 << 30
	clientPingsEvery = 5 * time.Second // clients ping every 10 s; anything below this is answered with GOAWAY
	clusterIDKey     = "/pd/cluster_id"
)

// Config says how a member's etcd is run and what its client port carries besides etcd.
type Config struct {
	Name    string
	DataDir string
	// ClientURLs and PeerURLs are listened on; the advertised ones are told to others.
	ClientURLs, AdvertiseClientURLs []string
	PeerURLs, AdvertisePeerURLs     []string
	// InitialCluster lists the members of a new group as name=peer-url,…; empty for a group of one. Join lists client URLs of
	// a running group, separated by commas, that this member shall become one of. Neither matters once the member has
	// joined: what its data directory says goes.
	InitialCluster, Join string
	// Register adds gRPC services to the client port, GRPC options to its server, Handlers HTTP handlers by pattern.
	Register func(*grpc.Server)
	GRPC     []grpc.ServerOption
	Handlers map[string]http.Handler
	// Lease is how long a leader may lead without renewing; whole seconds.
	Lease time.Duration
	// Wall and Monotonic are the clocks: the first only for drawing the cluster id, the second for the lease.
	Wall, Monotonic func() time.Time
	// Watch hears of the leader's lease.
	Watch  LeaseWatch
	Logger *zap.Logger
}

// LeaseWatch hears what becomes of a leader's lease. Its functions must not block; nil ones are not called.
type LeaseWatch struct {
	// Renewed is called after each try, with how long it took.
	Renewed func(took time.Duration, err error)
	// Lost is called when a leadership is over.
	Lost func(why string)
}

// Node is this process's member of the scheduler group.
type Node struct {
	cfg       Config
	etcd      *embed.Etcd
	client    *clientv3.Client
	closing   atomic.Bool
	listening sync.Mutex
	grpc      []*grpc.Server // one for each client URL; guarded by listening, etcd makes them on goroutines of its own
	clusterID uint64
	self      Member
	leader    atomic.Pointer[Member] // as last seen by Campaign; nil while nobody is known to lead
	// Campaign's alone. moved is closed when the etcd group has got a leader again since the last look, be it this member.
	candidate election.Candidate
	moved     <-chan struct{}
	failed    chan error // why etcd stopped by itself
	closed    chan struct{}
	watching  sync.WaitGroup
}

// Start runs the member's etcd until it serves. It fails when ctx ends first, for instance because too few members of
// the group are up.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, candidate: election.Candidate{Lease: cfg.Lease}, failed: make(chan error, 1), closed: make(chan struct{})}
	g, err := findGroup(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	ec, err := n.embedConfig(g)
	if err != nil {
		return nil, err
	}
	n.etcd, err = embed.StartEtcd(ec)
	if err != nil {
		return nil, errors.Annotate(err, "start etcd")
	}
	select {
	case <-n.etcd.Server.ReadyNotify():
	case err = <-n.etcd.Err():
		err = errors.Annotate(err, "etcd stopped while starting")
	case <-ctx.Done():
		err = errors.Annotate(ctx.Err(), "etcd is not ready: are enough members of the group up?")
	}
	if err != nil {
		// A server that never was ready has to be stopped by itself: Close would wait for its listeners, and they for it.
		n.etcd.Server.HardStop()
		n.stopEtcd()
		return nil, err
	}
	n.client = v3client.New(n.etcd.Server)
	n.self = memberOf(n.etcd.Server.Cluster().Member(n.etcd.Server.MemberID()))
	if n.clusterID, err = n.initClusterID(ctx); err != nil {
		n.Close()
		return nil, err
	}
	n.watching.Go(n.watch)
	return n, nil
}

// watch waits for etcd to stop by itself.
func (n *Node) watch() {
	select {
	case err := <-n.etcd.Err():
		n.failed <- errors.Annotate(err, "etcd failed")
	case <-n.etcd.Server.StopNotify():
		n.failed <- errors.New("etcd stopped: was this member removed from its group?")
	case <-n.closed:
	}
}

func (n *Node) embedConfig(g group) (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Name, ec.Dir = n.cfg.Name, n.cfg.DataDir
	for _, list := range []struct {
		to   *[]url.URL
		from []string
	}{
		{&ec.ListenClientUrls, n.cfg.ClientURLs},
		{&ec.AdvertiseClientUrls, n.cfg.AdvertiseClientURLs},
		{&ec.ListenPeerUrls, n.cfg.PeerURLs},
		{&ec.AdvertisePeerUrls, n.cfg.AdvertisePeerURLs},
	} {
		urls, err := parseURLs(list.from)
		if err != nil {
			return nil, err
		}
		*list.to = urls
	}
	ec.InitialCluster = g.initial
	if g.running {
		ec.ClusterState = embed.ClusterStateFlagExisting
	}
	tick, election := groupTick, groupElection
	if g.size == 1 {
		tick, election = loneTick, loneElection
	}
	ec.TickMs, ec.ElectionMs = uint(tick.Milliseconds()), uint(election.Milliseconds())
	ec.WarningUnaryRequestDuration = slowRequest // unset, it means that every request is slow
	ec.MaxRequestBytes = maxRequestBytes
	ec.QuotaBackendBytes = backendQuota
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	ec.EnableGRPCGateway = false
	ec.GRPCAdditionalServerOptions = append([]grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPingsEvery, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}, n.cfg.GRPC...)
	ec.UserHandlers = n.cfg.Handlers
	ec.ServiceRegister = func(s *grpc.Server) {
		n.listening.Lock()
		n.grpc = append(n.grpc, s)
		n.listening.Unlock()
		if n.cfg.Register != nil {
			n.cfg.Register(s)
		}
	}
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(n.cfg.Logger, &n.closing))
	return ec, nil
}

func parseURLs(list []string) ([]url.URL, error) {
	if len(list) == 0 {
		return nil, errors.New("a client or peer URL is missing")
	}
	urls := make([]url.URL, 0, len(list))
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			return nil, errors.Annotatef(err, "URL %q", s)
		}
		if u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, errors.Errorf("URL %q must have the form http://host:port", s)
		}
		urls = append(urls, *u)
	}
	return urls, nil
}

// initClusterID draws the cluster id at the first start of the first member: seconds of wall time above, randomness below.
func (n *Node) initClusterID(ctx context.Context) (uint64, error) {
	drawn := uint64(n.cfg.Wall().Unix())<<32 | uint64(rand.Uint32())
	res, err := n.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(clusterIDKey), "=", 0)).
		Then(clientv3.OpPut(clusterIDKey, strconv.FormatUint(drawn, 10))).
		Else(clientv3.OpGet(clusterIDKey)).
		Commit()
	if err != nil {
		return 0, errors.Annotate(err, "read or draw the cluster id")
	}
	if res.Succeeded {
		return drawn, nil
	}
	value := string(res.Responses[0].GetResponseRange().Kvs[0].Value)
	id, err := strconv.ParseUint(value, 10, 64)
	if err != nil || id == 0 {
		return 0, errors.Errorf("cluster id %q in etcd is not a number above 0", value)
	}
	return id, nil
}

// ClusterID is drawn once for the life of the cluster and never 0.
func (n *Node) ClusterID() uint64 { return n.clusterID }

// Raft says how far this member's etcd is: its term, and the indexes up to which its log is committed and applied.
func (n *Node) Raft() (term, committed, applied uint64) {
	s := n.etcd.Server
	return s.Term(), s.CommittedIndex(), s.AppliedIndex()
}

// Self is this member.
func (n *Node) Self() Member { return n.self }

// Err reports that etcd stopped on its own.
func (n *Node) Err() <-chan error { return n.failed }

// Close stops the member; a Leadership should be resigned before. Running calls are cut off.
func (n *Node) Close() {
	close(n.closed)
	n.watching.Wait()
	if err := n.client.Close(); err != nil && !errors.ErrorEqual(err, context.Canceled) {
		n.cfg.Logger.Warn("closing etcd's client", zap.Error(err))
	}
	n.stopEtcd()
}

// stopEtcd ends the streams first: etcd would wait several seconds for them.
func (n *Node) stopEtcd() {
	n.closing.Store(true)
	n.listening.Lock()
	servers := n.grpc
	n.listening.Unlock()
	for _, s := range servers {
		s.Stop()
	}
	n.etcd.Close()
}

func (n *Node) key(name string) string { return fmt.Sprintf("/pd/%d/%s", n.clusterID, name) }
