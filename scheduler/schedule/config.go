package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// Config is what operators set of scheduling, at run time. The names are those of the family's tools.
type Config struct {
	Limits
	Balance
	Repair
	Merge
	Replication
}

// Limits bound what is in flight.
type Limits struct {
	LeaderScheduleLimit    int `json:"leader-schedule-limit"`
	RegionScheduleLimit    int `json:"region-schedule-limit"`
	ReplicaScheduleLimit   int `json:"replica-schedule-limit"`
	MergeScheduleLimit     int `json:"merge-schedule-limit"`
	HotRegionScheduleLimit int `json:"hot-region-schedule-limit"`
	// MaxSnapshotCount and MaxPendingPeerCount keep new peers from a store that receives, or whose peers catch up, as many.
	MaxSnapshotCount    int `json:"max-snapshot-count"`
	MaxPendingPeerCount int `json:"max-pending-peer-count"`
	// StoreLimitAddPeer and StoreLimitRemovePeer are how many peers a minute come to and go from a store that has no limit of its own.
	StoreLimitAddPeer    float64 `json:"store-limit-add-peer"`
	StoreLimitRemovePeer float64 `json:"store-limit-remove-peer"`
}

// Balance says when stores are even enough.
type Balance struct {
	// LeaderSchedulePolicy compares leaders by count or by size.
	LeaderSchedulePolicy string `json:"leader-schedule-policy"`
	// TolerantSizeRatio is by how many regions of average size stores may differ; 0 leaves it to their number.
	TolerantSizeRatio float64 `json:"tolerant-size-ratio"`
	// LowSpaceRatio is how full a store may be that still gets peers, HighSpaceRatio from where on its fullness counts against it.
	LowSpaceRatio  float64 `json:"low-space-ratio"`
	HighSpaceRatio float64 `json:"high-space-ratio"`
	// HotRegionCacheHitsThreshold is for how many reports a region must have been hot before it is moved for that.
	HotRegionCacheHitsThreshold int `json:"hot-region-cache-hits-threshold"`
	// HaltScheduling stops everything but what an operator of the cluster asks for.
	HaltScheduling bool `json:"halt-scheduling"`
}

// Repair says what is made whole, and how.
type Repair struct {
	MaxStoreDownTime            Duration `json:"max-store-down-time"`
	EnableMakeUpReplica         bool     `json:"enable-make-up-replica"`
	EnableRemoveDownReplica     bool     `json:"enable-remove-down-replica"`
	EnableReplaceOfflineReplica bool     `json:"enable-replace-offline-replica"`
	EnableRemoveExtraReplica    bool     `json:"enable-remove-extra-replica"`
	EnableLocationReplacement   bool     `json:"enable-location-replacement"`
	EnableJointConsensus        bool     `json:"enable-joint-consensus"`
	// EnableRaftLearner lets a new peer learn before it votes.
	EnableRaftLearner bool `json:"enable-raft-learner"`
}

// Merge says which regions are so small that they are merged. What comes of a merge must be far from being split again.
type Merge struct {
	MaxMergeRegionSize int      `json:"max-merge-region-size"` // MiB
	MaxMergeRegionKeys int      `json:"max-merge-region-keys"`
	SplitMergeInterval Duration `json:"split-merge-interval"`
	EnableOneWayMerge  bool     `json:"enable-one-way-merge"`
}

// Replication is what holds where no placement rules were set.
type Replication struct {
	MaxReplicas        int    `json:"max-replicas"`
	LocationLabels     Labels `json:"location-labels"`
	IsolationLevel     string `json:"isolation-level"`
	StrictlyMatchLabel bool   `json:"strictly-match-label"`
}

// Duration is written as in 30m.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Labels are names of store labels, written with commas between them.
type Labels []string

// MarshalText implements encoding.TextMarshaler.
func (l Labels) MarshalText() ([]byte, error) { return []byte(strings.Join(l, ",")), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Labels) UnmarshalText(b []byte) error {
	*l = nil
	for _, s := range strings.Split(string(b), ",") {
		if s = strings.TrimSpace(s); s != "" {
			*l = append(*l, s)
		}
	}
	return nil
}

// DefaultConfig is what holds when nothing was set.
func DefaultConfig() Config {
	return Config{
		Limits: Limits{
			LeaderScheduleLimit: 4, RegionScheduleLimit: 2048, ReplicaScheduleLimit: 64, MergeScheduleLimit: 8, HotRegionScheduleLimit: 4,
			MaxSnapshotCount: 64, MaxPendingPeerCount: 64, StoreLimitAddPeer: 15, StoreLimitRemovePeer: 15,
		},
		Balance: Balance{
			LeaderSchedulePolicy: "count", LowSpaceRatio: 0.8, HighSpaceRatio: 0.7, HotRegionCacheHitsThreshold: 3,
		},
		Repair: Repair{
			MaxStoreDownTime: Duration(30 * time.Minute), EnableMakeUpReplica: true, EnableRemoveDownReplica: true, EnableReplaceOfflineReplica: true,
			EnableRemoveExtraReplica: true, EnableLocationReplacement: true, EnableJointConsensus: true, EnableRaftLearner: true,
		},
		Merge:       Merge{MaxMergeRegionSize: 20, MaxMergeRegionKeys: 200_000, SplitMergeInterval: Duration(time.Hour)},
		Replication: Replication{MaxReplicas: 3},
	}
}

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	for _, one := range []struct {
		name  string
		value int
	}{
		{"leader-schedule-limit", c.LeaderScheduleLimit},
		{"region-schedule-limit", c.RegionScheduleLimit},
		{"replica-schedule-limit", c.ReplicaScheduleLimit},
		{"merge-schedule-limit", c.MergeScheduleLimit},
		{"hot-region-schedule-limit", c.HotRegionScheduleLimit},
		{"max-snapshot-count", c.MaxSnapshotCount},
		{"max-pending-peer-count", c.MaxPendingPeerCount},
		{"max-merge-region-size", c.MaxMergeRegionSize},
		{"max-merge-region-keys", c.MaxMergeRegionKeys},
		{"hot-region-cache-hits-threshold", c.HotRegionCacheHitsThreshold},
	} {
		if one.value < 0 {
			return errors.Errorf("%s is %d; it must not be negative", one.name, one.value)
		}
	}
	switch {
	case c.StoreLimitAddPeer <= 0 || c.StoreLimitRemovePeer <= 0:
		return errors.Errorf("store-limit-add-peer is %v and store-limit-remove-peer is %v; both must be above 0", c.StoreLimitAddPeer, c.StoreLimitRemovePeer)
	case c.MaxReplicas < 1 || c.MaxReplicas > 15:
		return errors.Errorf("max-replicas is %d; it must lie between 1 and 15", c.MaxReplicas)
	case c.LeaderSchedulePolicy != "count" && c.LeaderSchedulePolicy != "size":
		return errors.Errorf("leader-schedule-policy is %q; it must be count or size", c.LeaderSchedulePolicy)
	case c.TolerantSizeRatio < 0:
		return errors.Errorf("tolerant-size-ratio is %v; it must not be negative", c.TolerantSizeRatio)
	case c.LowSpaceRatio < 0 || c.LowSpaceRatio > 1 || c.HighSpaceRatio < 0 || c.HighSpaceRatio > 1 || c.HighSpaceRatio > c.LowSpaceRatio:
		return errors.Errorf("high-space-ratio is %v and low-space-ratio is %v; both must lie between 0 and 1, the first not above the second",
			c.HighSpaceRatio, c.LowSpaceRatio)
	case c.MaxStoreDownTime <= 0:
		return errors.Errorf("max-store-down-time is %s; it must be above 0", time.Duration(c.MaxStoreDownTime))
	case c.SplitMergeInterval < 0:
		return errors.Errorf("split-merge-interval is %s; it must not be negative", time.Duration(c.SplitMergeInterval))
	case c.IsolationLevel != "" && !slices.Contains(c.LocationLabels, c.IsolationLevel):
		return errors.Errorf("isolation-level is %q; it must be one of the location-labels %v", c.IsolationLevel, []string(c.LocationLabels))
	}
	return errors.Annotate(placement.CheckLabels(c.LocationLabels), "location-labels")
}

// Names lists what can be set.
func (c Config) Names() []string {
	var names []string
	for name := range c.fields() { // order-free: sorted below
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c Config) fields() map[string]json.RawMessage {
	b, err := json.Marshal(c)
	if err != nil {
		panic("the configuration cannot be encoded: " + err.Error())
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		panic("the configuration cannot be decoded: " + err.Error())
	}
	return fields
}

// With is the configuration with other values, each written as in a configuration file, or an error that says what is wrong with them.
func (c Config) With(values map[string]string) (Config, error) {
	fields := c.fields()
	for _, name := range sortedKeys(values) {
		old, ok := fields[name]
		if !ok {
			return c, errors.Errorf("config item %s not found", name)
		}
		value := []byte(values[name])
		if old[0] == '"' {
			value, _ = json.Marshal(values[name]) // a string can be encoded
		}
		if what := c.takes(name); !json.Valid(value) || json.Unmarshal(fmt.Appendf(nil, "{%q:%s}", name, value), new(Config)) != nil {
			return c, errors.Errorf("%s cannot be %q; it must be %s", name, values[name], what)
		}
		fields[name] = value
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return c, errors.Trace(err)
	}
	return ParseConfig(b)
}

// takes says in words what values an item has.
func (c Config) takes(name string) string {
	all := reflect.ValueOf(c)
	for i := range all.NumField() { // of the parts
		part := all.Field(i)
		for j := range part.NumField() {
			if part.Type().Field(j).Tag.Get("json") != name {
				continue
			}
			switch part.Field(j).Interface().(type) {
			case int:
				return "a whole number"
			case float64:
				return "a number"
			case bool:
				return "true or false"
			case Duration:
				return "a duration with its unit, such as 30m or 1h30m"
			case Labels:
				return "names of store labels with commas between them"
			}
		}
	}
	return "text"
}

// ParseConfig reads a configuration in JSON and checks it; what it does not name is as by default.
func ParseConfig(b []byte) (Config, error) {
	c := DefaultConfig()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, errors.Annotate(err, "scheduling configuration")
	}
	return c, c.Check()
}

func (c *Config) limits() operator.Limits {
	l := operator.NoLimits()
	l.Kind[operator.Leader] = c.LeaderScheduleLimit
	l.Kind[operator.Region] = c.RegionScheduleLimit
	l.Kind[operator.Replica] = c.ReplicaScheduleLimit
	l.Kind[operator.MergeRegions] = c.MergeScheduleLimit
	l.Kind[operator.HotRegion] = c.HotRegionScheduleLimit
	l.AddPeer, l.RemovePeer = c.StoreLimitAddPeer, c.StoreLimitRemovePeer
	return l
}

// defaultRule is what the replication settings amount to.
func (c *Config) defaultRule() *placement.Rule {
	return &placement.Rule{
		GroupID: placement.DefaultGroup, ID: placement.DefaultID, Role: placement.Voter, Count: c.MaxReplicas,
		LocationLabels: c.LocationLabels, IsolationLevel: c.IsolationLevel,
	}
}
