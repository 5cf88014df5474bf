package schedulercmd

import (
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// Config is the whole configuration of a scheduler, in TOML. Lists of URLs are separated by commas, as in the rest of this
// family.
type Config struct {
	// Name is unique within the scheduler group.
	Name string `toml:"name"`
	// DataDir is the directory of everything that the scheduler keeps.
	DataDir string `toml:"data-dir"`
	// ClientURLs are where it listens for clients and stores; several separated by commas.
	ClientURLs string `toml:"client-urls"`
	// AdvertiseClientURLs are the URLs told to them; empty: ClientURLs.
	AdvertiseClientURLs string `toml:"advertise-client-urls"`
	// PeerURLs are where it listens for the other schedulers.
	PeerURLs string `toml:"peer-urls"`
	// AdvertisePeerURLs are the URLs told to them; empty: PeerURLs.
	AdvertisePeerURLs string `toml:"advertise-peer-urls"`
	// InitialCluster is the members of a new group, as name=peer-url,…; empty: this one alone.
	InitialCluster string `toml:"initial-cluster"`
	// Join is the client URLs of a running group to join; it does not matter any more once the scheduler has joined.
	Join string `toml:"join"`
	// Lease is how many seconds a leader may lead without renewing.
	Lease int64 `toml:"lease"`
	// TSOSaveInterval is how far ahead timestamps are reserved.
	TSOSaveInterval config.Duration `toml:"tso-save-interval"`
	// MemoryUsageLimit is what the scheduler tries to keep its memory below; 0 is no limit. GOMEMLIMIT in the environment
	// goes before.
	MemoryUsageLimit config.Size `toml:"memory-usage-limit"`
	// EnablePprof opens /debug/pprof/ on the client URLs.
	EnablePprof bool        `toml:"enable-pprof"`
	Log         log.Config  `toml:"log"`
	Replication Replication `toml:"replication"`
}

// Replication is how many copies there are of everything.
type Replication struct {
	// MaxReplicas is how many replicas each region has, as far as there are stores for them.
	MaxReplicas int `toml:"max-replicas"`
}

// DefaultConfig is a scheduler of its own on loopback.
func DefaultConfig() *Config {
	return &Config{
		Name:            "scheduler",
		DataDir:         "data/scheduler",
		ClientURLs:      "http://127.0.0.1:2379",
		PeerURLs:        "http://127.0.0.1:2380",
		Lease:           3,
		TSOSaveInterval: config.Duration{Duration: 3 * time.Second},
		Log:             log.Default(),
		Replication:     Replication{MaxReplicas: 3},
	}
}

// Load reads a TOML file over c and refuses keys that c does not have.
func (c *Config) Load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return errors.Annotate(err, "configuration")
	}
	return errors.Annotatef(config.Decode(string(text), c), "configuration file %s", file)
}

// Validate says what is wrong, by key, value and limit.
func (c *Config) Validate() error {
	p := &config.Problems{}
	p.Add(c.Log.Validate())
	if c.Name == "" || strings.ContainsAny(c.Name, "=, ") {
		p.Addf("name is %q; it must not be empty nor hold '=', ',' or spaces", c.Name)
	}
	if c.DataDir == "" {
		p.Addf("data-dir is empty; it must name a directory")
	}
	for _, list := range []struct {
		key, value     string
		listen, needed bool
	}{
		{"client-urls", c.ClientURLs, true, true},
		{"advertise-client-urls", orElse(c.AdvertiseClientURLs, c.ClientURLs), false, true},
		{"peer-urls", c.PeerURLs, true, true},
		{"advertise-peer-urls", orElse(c.AdvertisePeerURLs, c.PeerURLs), false, true},
		{"join", c.Join, false, false},
	} {
		if list.value == "" && !list.needed {
			continue
		}
		for u := range strings.SplitSeq(list.value, ",") {
			checkURL(p, list.key, u, list.listen)
		}
	}
	if c.Join != "" && c.InitialCluster != "" {
		p.Addf("join and initial-cluster are both given; a scheduler either joins a running group or begins one")
	}
	if c.Lease < 1 || c.Lease > 60 {
		p.Addf("lease is %d; it must be between 1 and 60 seconds", c.Lease)
	}
	if d := c.TSOSaveInterval.Duration; d < 100*time.Millisecond || d > time.Minute {
		p.Addf("tso-save-interval is %v; it must be between 100ms and 1m0s", d)
	}
	if n := c.Replication.MaxReplicas; n < 1 || n > 15 {
		p.Addf("replication.max-replicas is %d; it must be between 1 and 15", n)
	}
	if m := c.MemoryUsageLimit; m != 0 && m < config.MinMemory {
		p.Addf("memory-usage-limit is %v; it must be at least %v, or 0 for no limit", m, config.MinMemory)
	}
	return p.Err()
}

func checkURL(p *config.Problems, key, value string, listen bool) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		p.Addf("%s has %q; each must be http://host:port", key, value)
		return
	}
	p.Address(key, u.Host, listen)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Server is the configuration as the scheduler itself takes it.
func (c *Config) Server() server.Config {
	return server.Config{
		Name: c.Name, DataDir: c.DataDir,
		ClientURLs: split(c.ClientURLs), AdvertiseClientURLs: split(c.AdvertiseClientURLs),
		PeerURLs: split(c.PeerURLs), AdvertisePeerURLs: split(c.AdvertisePeerURLs),
		InitialCluster: c.InitialCluster, Join: c.Join,
		MaxReplicas:     c.Replication.MaxReplicas,
		TSOSaveInterval: c.TSOSaveInterval.Duration,
		EnablePprof:     c.EnablePprof,
		LeaderLease:     time.Duration(c.Lease) * time.Second,
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
