package machine

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// What operators set of scheduling lies in the durable map, each thing under a key of its own.
const (
	schedulePrefix  = "schedule/"
	configKey       = schedulePrefix + "config"
	rulePrefix      = schedulePrefix + "rule/"
	groupPrefix     = schedulePrefix + "group/"
	schedulerPrefix = schedulePrefix + "scheduler/"
	tuningPrefix    = schedulePrefix + "store/"
)

// settings are what was set, as it is in the durable map.
type settings struct {
	config     schedule.Config
	rules      map[string]*placement.Rule // by group/id
	groups     map[string]placement.Group
	schedulers map[string]schedule.SchedulerConfig
	tunings    map[uint64]cluster.Tuning
}

func newSettings(base schedule.Config) settings {
	return settings{
		config: base, rules: make(map[string]*placement.Rule), groups: make(map[string]placement.Group),
		schedulers: make(map[string]schedule.SchedulerConfig), tunings: make(map[uint64]cluster.Tuning),
	}
}

func (s *settings) load(key string, value []byte) error {
	switch {
	case key == configKey:
		cfg, err := schedule.ParseConfig(value)
		if err == nil {
			s.config = cfg
		}
		return err
	case strings.HasPrefix(key, rulePrefix):
		r := new(placement.Rule)
		if err := json.Unmarshal(value, r); err != nil {
			return err
		}
		s.rules[r.Name()] = r
	case strings.HasPrefix(key, groupPrefix):
		var g placement.Group
		if err := json.Unmarshal(value, &g); err != nil {
			return err
		}
		s.groups[g.ID] = g
	case strings.HasPrefix(key, schedulerPrefix):
		var c schedule.SchedulerConfig
		if err := json.Unmarshal(value, &c); err != nil {
			return err
		}
		s.schedulers[c.Name] = c
	case strings.HasPrefix(key, tuningPrefix):
		var t storeTuning
		if err := json.Unmarshal(value, &t); err != nil {
			return err
		}
		s.tunings[t.Store] = t.Tuning
	}
	return nil
}

type storeTuning struct {
	Store uint64 `json:"store"`
	cluster.Tuning
}

func (s *settings) ruleList() []*placement.Rule {
	var list []*placement.Rule
	for _, name := range slices.Sorted(maps.Keys(s.rules)) {
		list = append(list, s.rules[name])
	}
	return list
}

func (s *settings) groupList() []placement.Group {
	var list []placement.Group
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		list = append(list, s.groups[id])
	}
	return list
}

// begin makes the coordinator of what was set.
func (t *Term) begin(seed uint64, now time.Time) error {
	t.Schedule = schedule.New(t.Picture, schedule.Options{NewID: t.newID, Seed: seed, Now: now})
	for _, name := range slices.Sorted(maps.Keys(t.settings.schedulers)) {
		if err := t.Schedule.SetScheduler(t.settings.schedulers[name], now); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.settings.tunings)) {
		t.Picture.TuneStore(id, t.settings.tunings[id])
	}
	return t.Schedule.Configure(t.settings.config, t.settings.ruleList(), t.settings.groupList())
}

// SetConfig changes items of the configuration, by their names. An error says what is wrong with them.
func (t *Term) SetConfig(values map[string]string) (*Save, error) {
	cfg, err := t.settings.config.With(values)
	if err != nil {
		return nil, err
	}
	if own := t.settings.rules[placement.DefaultGroup+"/"+placement.DefaultID]; own != nil && !reflect.DeepEqual(cfg.Replication, t.settings.config.Replication) {
		return nil, errors.Errorf("rule %s was set and holds in place of max-replicas, location-labels and isolation-level: change or delete that rule", own.Name())
	}
	if _, err := schedule.CheckConfig(cfg, t.settings.ruleList(), t.settings.groupList()); err != nil {
		return nil, err
	}
	return &Save{
		Ops: []Op{{configKey, mustJSON(cfg)}},
		take: func(time.Time) {
			t.settings.config = cfg
			t.reconfigure()
			t.note(Event{Kind: SettingsChanged, Text: "the configuration was changed", Detail: itemList(values)})
		},
	}, nil
}

// itemList writes items in the order of their names.
func itemList(values map[string]string) string {
	var items []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		items = append(items, name+" = "+values[name])
	}
	return strings.Join(items, ", ")
}

// reconfigure puts settings that were checked in force.
func (t *Term) reconfigure() {
	if err := t.Schedule.Configure(t.settings.config, t.settings.ruleList(), t.settings.groupList()); err != nil {
		panic("settings that were checked are wrong: " + err.Error())
	}
}

// IsSet says that a rule, named group/id, was set; the default one holds without that.
func (t *Term) IsSet(rule string) bool { return t.settings.rules[rule] != nil }

// Rules is a change of placement rules: all of it or nothing.
type Rules struct {
	Set    []*placement.Rule
	Groups []placement.Group
	// Drop and DropGroups name what goes: group/id, and group.
	Drop, DropGroups []string
}

// SetRules changes placement rules. An error says what is wrong with them, or with all rules together.
func (t *Term) SetRules(change Rules) (*Save, error) {
	next := t.settings
	next.rules, next.groups = maps.Clone(next.rules), maps.Clone(next.groups)
	values := make(map[string][]byte) // by key: what is dropped and set at once is written once
	for _, name := range change.Drop {
		if next.rules[name] == nil {
			return nil, errors.Errorf("rule %s not found", name)
		}
		delete(next.rules, name)
		values[rulePrefix+name] = nil
	}
	for _, id := range change.DropGroups {
		delete(next.groups, id)
		values[groupPrefix+id] = nil
	}
	for _, r := range change.Set {
		if err := r.Check(); err != nil {
			return nil, err
		}
		next.rules[r.Name()] = r
		values[rulePrefix+r.Name()] = mustJSON(r)
	}
	for _, g := range change.Groups {
		next.groups[g.ID] = g
		values[groupPrefix+g.ID] = mustJSON(g)
	}
	if _, err := schedule.CheckConfig(next.config, next.ruleList(), next.groupList()); err != nil || len(values) == 0 {
		return nil, err
	}
	var ops []Op
	for _, key := range slices.Sorted(maps.Keys(values)) {
		ops = append(ops, Op{key, values[key]})
	}
	return &Save{Ops: ops, take: func(time.Time) {
		t.settings.rules, t.settings.groups = next.rules, next.groups
		t.reconfigure()
		t.note(Event{Kind: SettingsChanged, Text: "placement rules were changed"})
	}}, nil
}

// SetScheduler starts, changes or removes a scheduler.
func (t *Term) SetScheduler(cfg schedule.SchedulerConfig) (*Save, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	for _, id := range cfg.Stores {
		if t.Picture.Store(id) == nil {
			return nil, errors.Errorf("store %d not found", id)
		}
	}
	return &Save{
		Ops: []Op{{schedulerPrefix + cfg.Name, mustJSON(cfg)}},
		take: func(now time.Time) {
			t.settings.schedulers[cfg.Name] = cfg
			if err := t.Schedule.SetScheduler(cfg, now); err != nil {
				panic("a scheduler that was checked is wrong: " + err.Error())
			}
			t.note(Event{Kind: SettingsChanged, Text: "scheduler " + cfg.Name + " was " + map[bool]string{true: "removed", false: "set"}[cfg.Removed]})
		},
	}, nil
}

// TuneStore sets a store's weights and limits.
func (t *Term) TuneStore(id uint64, tuning cluster.Tuning) (*Save, error) {
	switch {
	case t.Picture.Store(id) == nil:
		return nil, errors.Errorf("store %d not found", id)
	case tuning.LeaderWeight < 0 || tuning.RegionWeight < 0 || tuning.AddPeer < 0 || tuning.RemovePeer < 0:
		return nil, errors.Errorf("store %d: weights and limits must not be negative: %+v", id, tuning)
	}
	return &Save{
		Ops: []Op{{storeTuningKey(id), mustJSON(storeTuning{id, tuning})}},
		take: func(time.Time) {
			t.settings.tunings[id] = tuning
			t.Picture.TuneStore(id, tuning)
		},
	}, nil
}

// Scatter puts a region where its group has the fewest peers. An error says why it cannot be moved now.
func (t *Term) Scatter(region uint64, group string, at Moment) error {
	t.moment = at
	return t.Schedule.Scatter(region, group, at.Now)
}
