package server

import (
	"time"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

const (
	defaultTSOSaveInterval = 3 * time.Second
	defaultLeaderLease     = 3 * time.Second
	minTSOSaveInterval     = 100 * time.Millisecond
)

// Clocks are where the scheduler's time comes from.
type Clocks struct {
	// Wall is the time of day: timestamps are made of it, and what is shown to people.
	Wall func() time.Time
	// Monotonic never steps and goes on while the machine is suspended: leases and the silence of stores are measured
	// with it. Only differences between its instants mean anything.
	Monotonic func() time.Time
}

// Config is all that a scheduler needs to know. Name, DataDir and the listening URLs are required.
type Config struct {
	// Name is unique within the scheduler group.
	Name    string
	DataDir string
	// ClientURLs carry etcd, pdpb and HTTP; PeerURLs are for etcd's own replication. The advertised ones default to those
	// listened on.
	ClientURLs, AdvertiseClientURLs []string
	PeerURLs, AdvertisePeerURLs     []string
	// InitialCluster lists the members of a new group as name=peer-url,…; empty for a scheduler of its own.
	InitialCluster string
	// Join names a running scheduler whose group to join; not possible yet.
	Join string
	// MaxReplicas is how many voters a region should have; 3 if 0.
	MaxReplicas int
	// TSOSaveInterval is how far ahead the bound of timestamps is persisted, LeaderLease how long a leader may lead without
	// renewing (whole seconds); 3 s each if 0.
	TSOSaveInterval, LeaderLease time.Duration
	// Version is shown by the HTTP API.
	Version string
	// Clocks default to the operating system's.
	Clocks Clocks
	// Registry takes the metrics and serves /metrics; one of its own if nil.
	Registry *prometheus.Registry
	Logger   *zap.Logger
}

// check fills in the defaults and says what is wrong with the rest.
func (c Config) check() (Config, error) {
	switch {
	case c.Name == "":
		return c, errors.New("the scheduler has no name")
	case c.DataDir == "":
		return c, errors.New("the scheduler has no data directory")
	case c.Join != "":
		return c, errors.New("joining a running scheduler group is not possible yet: name all members in the initial cluster")
	case c.MaxReplicas < 0:
		return c, errors.Errorf("max replicas is %d; it must be at least 1", c.MaxReplicas)
	case c.LeaderLease != 0 && (c.LeaderLease < time.Second || c.LeaderLease%time.Second != 0):
		return c, errors.Errorf("the leader's lease is %v; it must be a whole number of seconds", c.LeaderLease)
	case c.TSOSaveInterval != 0 && c.TSOSaveInterval < minTSOSaveInterval:
		return c, errors.Errorf("the TSO save interval is %v; it must be at least %v", c.TSOSaveInterval, minTSOSaveInterval)
	}
	if len(c.AdvertiseClientURLs) == 0 {
		c.AdvertiseClientURLs = c.ClientURLs
	}
	if len(c.AdvertisePeerURLs) == 0 {
		c.AdvertisePeerURLs = c.PeerURLs
	}
	if c.MaxReplicas == 0 {
		c.MaxReplicas = cluster.DefaultReplicas
	}
	if c.TSOSaveInterval == 0 {
		c.TSOSaveInterval = defaultTSOSaveInterval
	}
	if c.LeaderLease == 0 {
		c.LeaderLease = defaultLeaderLease
	}
	if c.Version == "" {
		c.Version = "None"
	}
	if c.Clocks.Wall == nil {
		c.Clocks.Wall = time.Now
	}
	if c.Clocks.Monotonic == nil {
		c.Clocks.Monotonic = bootTime
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, nil
}
