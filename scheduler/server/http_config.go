package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// configRoutes are about the configuration. What is set takes effect once it is in etcd, and holds for every leader to come.
func (s *Server) configRoutes() []route {
	return []route{
		{"GET", "/config", s.onTerm(s.httpConfig)},
		{"POST", "/config", s.onTerm(s.httpSetConfig)},
		{"GET", "/config/default", s.onTerm(httpDefaultConfig)},
		{"GET", "/config/schedule", s.onTerm(httpSchedule)},
		{"POST", "/config/schedule", s.onTerm(httpSetSchedule)},
		{"GET", "/config/replicate", s.onTerm(httpReplicate)},
		{"POST", "/config/replicate", s.onTerm(httpSetReplicate)},
		{"GET", "/config/replication-mode", s.onTerm(httpReplicationMode)},
		{"POST", "/config/replication-mode", s.onTerm(httpSetReplicationMode)},
		{"GET", "/config/cluster-version", s.onTerm(httpClusterVersion)},
	}
}

// items are configuration items by name. As the family's tools have it, truth values are written as strings.
type items map[string]any

// scheduleItems and replicationItems are the two parts in which the configuration is shown.
func scheduleItems(cfg schedule.Config) items {
	all := itemsOf(cfg)
	for name := range itemsOf(cfg.Replication) { // order-free: deletes
		delete(all, name)
	}
	all["default-store-limit"] = limitJSON{cfg.StoreLimitAddPeer, cfg.StoreLimitRemovePeer}
	return all
}

func replicationItems(cfg schedule.Config) items {
	all := itemsOf(cfg.Replication)
	// There is no other way to place replicas than by rules, and nothing in between that remembers their results.
	all["enable-placement-rules"], all["enable-placement-rules-cache"] = "true", "false"
	return all
}

func itemsOf(part any) items {
	text, err := json.Marshal(part)
	if err != nil {
		panic("the configuration cannot be encoded: " + err.Error())
	}
	all := items{}
	if err := json.Unmarshal(text, &all); err != nil {
		panic("the configuration cannot be decoded: " + err.Error())
	}
	for name, value := range all { // order-free: each by itself
		if truth, ok := value.(bool); ok {
			all[name] = fmt.Sprint(truth)
		}
	}
	return all
}

// httpConfig shows how the leader was started, and what is set.
func (s *Server) httpConfig(t *term, _ *http.Request) (any, error) {
	cfg := t.config()
	all := items{
		"name": s.cfg.Name, "data-dir": s.cfg.DataDir, "lease": int(s.cfg.LeaderLease.Seconds()), "tso-save-interval": s.cfg.TSOSaveInterval.String(),
		"client-urls": strings.Join(s.cfg.ClientURLs, ","), "advertise-client-urls": strings.Join(s.cfg.AdvertiseClientURLs, ","),
		"peer-urls": strings.Join(s.cfg.PeerURLs, ","), "advertise-peer-urls": strings.Join(s.cfg.AdvertisePeerURLs, ","),
		"initial-cluster": s.cfg.InitialCluster, "join": s.cfg.Join,
		"schedule": scheduleItems(cfg), "replication": replicationItems(cfg), "replication-mode": majority(),
		"cluster-version": read(t, (*cluster.Picture).Version),
	}
	if s.cfg.LogLevel != nil {
		all["log"] = items{"level": s.cfg.LogLevel.Name()}
	}
	return all, nil
}

func httpDefaultConfig(*term, *http.Request) (any, error) {
	cfg := schedule.DefaultConfig()
	return items{"schedule": scheduleItems(cfg), "replication": replicationItems(cfg), "replication-mode": majority()}, nil
}

func httpSchedule(t *term, _ *http.Request) (any, error) { return scheduleItems(t.config()), nil }

func httpReplicate(t *term, _ *http.Request) (any, error) { return replicationItems(t.config()), nil }

func httpReplicationMode(*term, *http.Request) (any, error) { return majority(), nil }

func majority() items { return items{"replication-mode": "majority"} }

func httpSetReplicationMode(_ *term, r *http.Request) (any, error) {
	var body map[string]any
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	for name, value := range body { // order-free: any that is wrong will do
		if name != "replication-mode" || value != "majority" {
			return nil, badRequest("%s cannot be %v: the only replication-mode is majority", name, value)
		}
	}
	return "The replication mode config is updated.", nil
}

func httpClusterVersion(t *term, _ *http.Request) (any, error) {
	return read(t, (*cluster.Picture).Version), nil
}

// httpSetConfig sets items of any part, by their names alone or with the part's name and a dot before them.
func (s *Server) httpSetConfig(t *term, r *http.Request) (any, error) {
	values, err := readItems(r)
	if err != nil {
		return nil, err
	}
	if level, ok := values["log.level"]; ok {
		if len(values) > 1 || s.cfg.LogLevel == nil {
			return nil, badRequest("log.level must be set by itself, on a scheduler whose log level can be changed")
		}
		return "The config is updated.", refused(http.StatusBadRequest, s.cfg.LogLevel.Set(level))
	}
	known := t.config()
	plain := make(map[string]string, len(values))
	for name, value := range values { // order-free: each by itself
		part, item, ok := strings.Cut(name, ".")
		if !ok {
			plain[name] = value
			continue
		}
		if !contains(map[string]items{"schedule": scheduleItems(known), "replication": replicationItems(known)}[part], item) {
			return nil, unknownItem(name, known.Names())
		}
		plain[item] = value
	}
	return "The config is updated.", t.setConfig(plain)
}

func httpSetSchedule(t *term, r *http.Request) (any, error) {
	return "The schedule config is updated.", t.setPart(r, scheduleItems(t.config()))
}

func httpSetReplicate(t *term, r *http.Request) (any, error) {
	return "The replication config is updated.", t.setPart(r, replicationItems(t.config()))
}

func (t *term) setPart(r *http.Request, part items) error {
	values, err := readItems(r)
	if err != nil {
		return err
	}
	allowed := slices.Sorted(maps.Keys(part))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !contains(part, name) {
			return unknownItem(name, allowed)
		}
	}
	return t.setConfig(values)
}

func contains(part items, name string) bool {
	_, ok := part[name]
	return ok
}

func unknownItem(name string, allowed []string) error {
	return badRequest("config item %s not found; there are %s", name, strings.Join(allowed, ", "))
}

// readItems reads an object of items. ?ttlSecond= is refused rather than taken for a change that lasts.
func readItems(r *http.Request) (map[string]string, error) {
	if r.URL.Query().Has("ttlSecond") {
		return nil, badRequest("ttlSecond: settings for a limited time are not offered")
	}
	var body map[string]any
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, badRequest("no config item is given")
	}
	values := make(map[string]string, len(body))
	for name, value := range body { // order-free: each by itself
		text, err := itemText(value)
		if err != nil {
			return nil, badRequest("config item %s: %v", name, err)
		}
		values[name] = text
	}
	return values, nil
}

// itemText is an item's value as in a configuration file; lists are written with commas.
func itemText(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case float64, bool:
		b, err := json.Marshal(v)
		return string(b), err
	case []any:
		var list []string
		for _, one := range v {
			text, err := itemText(one)
			if err != nil {
				return "", err
			}
			list = append(list, text)
		}
		return strings.Join(list, ","), nil
	}
	return "", fmt.Errorf("a value must be a string, a number, true or false, not %v", value)
}

// setConfig puts items in force once they are durable. Those that say what is always so may be set to that.
func (t *term) setConfig(values map[string]string) error {
	allowed := t.config().Names()
	for name, only := range map[string]string{"enable-placement-rules": "true", "enable-placement-rules-cache": "false"} { // order-free: each by itself
		if value, ok := values[name]; ok {
			if value != only {
				return badRequest("%s can only be %s", name, only)
			}
			delete(values, name)
		}
	}
	if len(values) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(allowed, name) {
			return unknownItem(name, allowed)
		}
	}
	return t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) { return t.machine.SetConfig(values) })
}
