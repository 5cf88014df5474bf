package machine

import (
	"strings"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/oracle"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// Loader builds a term from the durable map.
type Loader struct {
	cfg        Config
	picture    *cluster.Picture
	safe       safePoints
	settings   settings
	timestamps int64
	ids        uint64
	now        time.Time
	// Outdated are regions that were found beside others that replaced them (saves lag behind heartbeats), and settings that no longer make sense.
	Outdated []error
}

// NewLoader begins; now is of the monotonic clock.
func NewLoader(cfg Config, now time.Time) *Loader {
	base := cfg.Schedule
	if base.MaxReplicas == 0 {
		base = schedule.DefaultConfig()
	}
	if cfg.Replicas > 0 {
		base.MaxReplicas = cfg.Replicas
	}
	return &Loader{cfg: cfg, picture: cluster.NewPicture(), safe: newSafePoints(), settings: newSettings(base), now: now}
}

// Prefixes begin the keys that a term is made of. All of them are to be taken, in the order of the keys, as they are once the
// leadership is won: whatever is written later is written by the term itself.
func (l *Loader) Prefixes() []string {
	return []string{idKey, "gc/", clusterKey, schedulePrefix, timestampKey}
}

// Take takes one key of the map.
func (l *Loader) Take(key string, value []byte) (err error) {
	switch {
	case key == idKey:
		l.ids, err = decodeBound("ids", value)
	case key == timestampKey:
		var bound uint64
		bound, err = decodeBound("timestamps", value)
		l.timestamps = int64(bound)
	case key == clusterKey:
		c := new(metapb.Cluster)
		err = c.Unmarshal(value)
		l.picture.SetCluster(c)
	case strings.HasPrefix(key, storePrefix):
		s := new(metapb.Store)
		err = s.Unmarshal(value)
		l.picture.PutStore(s, l.now)
	case strings.HasPrefix(key, regionPrefix):
		m := new(metapb.Region)
		if err = m.Unmarshal(value); err == nil {
			l.takeRegion(m)
		}
	case strings.HasPrefix(key, schedulePrefix):
		err = l.settings.load(key, value)
	case strings.HasPrefix(key, gcKey):
		err = l.safe.load(key, value)
	}
	return errors.Annotatef(err, "decode %s", key)
}

func (l *Loader) takeRegion(m *metapb.Region) {
	r := &cluster.Region{Meta: m}
	change, err := l.picture.CheckRegion(r)
	if err != nil {
		l.Outdated = append(l.Outdated, err)
		return
	}
	l.picture.PutRegion(r, change)
}

// Term is the term that was loaded. It begins with a Save, which raises the bounds of ids and timestamps above all that any leader
// before may have handed out: the term serves nobody until it is Done.
func (l *Loader) Term(at Moment) (*Term, *Save) {
	ts := &Timestamps{oracle.NewTimestamps(l.timestamps, at.Wall.UnixMilli(), l.cfg.TimestampWindow)}
	t := &Term{
		Timestamps: ts, Picture: l.picture, clusterID: l.cfg.ClusterID,
		ids: oracle.NewIDs(l.ids, idWindow), safe: l.safe, behind: newBehind(), resolved: make(map[uint64]uint64), settings: l.settings, drains: make(drains), moment: at,
	}
	if err := t.begin(l.cfg.Seed, at.Now); err != nil {
		l.Outdated = append(l.Outdated, err)
	}
	t.beginEvents(l.cfg.Name)
	all := &Save{}
	times, _ := ts.Renew(at)
	ids, _ := t.RenewIDs(at)
	for _, save := range []*Save{times, ids} {
		if save != nil {
			all.Ops = append(all.Ops, save.Ops...)
		}
	}
	all.take = func(now time.Time) {
		for _, save := range []*Save{times, ids} {
			if save != nil {
				save.Done(now)
			}
		}
	}
	return t, all
}
