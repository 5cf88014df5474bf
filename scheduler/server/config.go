package server

import (
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/scheduler/schedule"
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
	// InitialCluster lists the members of a new group as name=peer-url,…; empty for a scheduler of its own. Join lists client
	// URLs of a running group to become a member of. At most one of them is given, and both are ignored once the data
	// directory knows the group.
	InitialCluster, Join string
	// Schedule is the configuration of scheduling while nothing was set at run time; the default if zero. MaxReplicas is how many voters a region should
	// have; 3 if 0.
	Schedule    schedule.Config
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
	// LogLevel is what the HTTP API shows and changes; nil if it cannot be changed.
	LogLevel *log.Level
	// EnablePprof opens /debug/pprof/ on the client URLs.
	EnablePprof bool
}

func (c Config) isOwnURL(url string) bool {
	return slices.Contains(c.ClientURLs, url) || slices.Contains(c.AdvertiseClientURLs, url)
}

// check fills in the defaults and says what is wrong with the rest.
func (c Config) check() (Config, error) {
	switch {
	case c.Name == "":
		return c, errors.New("the scheduler has no name")
	case c.DataDir == "":
		return c, errors.New("the scheduler has no data directory")
	case c.Join != "" && c.InitialCluster != "":
		return c, errors.New("a scheduler either joins a running group or begins one with its initial cluster: give one of them")
	case c.Join != "" && slices.ContainsFunc(strings.Split(c.Join, ","), c.isOwnURL):
		return c, errors.Errorf("the scheduler cannot join itself: %s must name members that are running", c.Join)
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
		c.MaxReplicas = schedule.DefaultConfig().MaxReplicas
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
