package storecmd

import (
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/pflag"

	"github.com/shoal-kv/shoal/kv/config"
)

// override is a flag that takes the place of a value of the configuration file.
type override struct {
	name, short string
	usage       string // the word in backquotes is what the value is called
	set         func(c *config.Config, value string) error
}

var overrides = []override{
	{"addr", "A", "`host:port` to listen on", text(func(c *config.Config) *string { return &c.Server.Addr })},
	{"advertise-addr", "", "`host:port` told to others (default: addr)", text(func(c *config.Config) *string { return &c.Server.AdvertiseAddr })},
	{"status-addr", "", "`host:port` of the status server", text(func(c *config.Config) *string { return &c.Server.StatusAddr })},
	{
		"advertise-status-addr", "", "`host:port` of the status server told to others (default: status-addr)",
		text(func(c *config.Config) *string { return &c.Server.AdvertiseStatusAddr }),
	},
	{"data-dir", "s", "`directory` of the store's data", text(func(c *config.Config) *string { return &c.Storage.DataDir })},
	{"engine", "", "`library` that keeps the data: pebble, badger (can lose acknowledged writes) or mem", text(func(c *config.Config) *string { return &c.Storage.Engine })},
	{"log-level", "L", "`level`: debug, info, warn, error or fatal", text(func(c *config.Config) *string { return &c.Log.Level })},
	{"log-file", "f", "`file` to log to (default: standard error)", text(func(c *config.Config) *string { return &c.Log.File.Filename })},
	{"capacity", "", "`size` that the store reports (default: the disk's)", func(c *config.Config, v string) error {
		return c.Raftstore.Capacity.UnmarshalText([]byte(v))
	}},
	{"pd", "", "`addresses` of schedulers, separated by commas", setEndpoints},
	{"pd-endpoints", "", "the same as --pd (`addresses`)", setEndpoints},
	{"labels", "", "`key=value,…` that say where the store stands", setLabels},
}

func text(field func(*config.Config) *string) func(*config.Config, string) error {
	return func(c *config.Config, value string) error {
		*field(c) = value
		return nil
	}
}

func setEndpoints(c *config.Config, value string) error {
	c.PD.Endpoints = strings.Split(value, ",")
	return nil
}

func setLabels(c *config.Config, value string) error {
	labels := map[string]string{}
	for pair := range strings.SplitSeq(value, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.Errorf("%q is not key=value", pair)
		}
		labels[k] = v
	}
	c.Server.Labels = labels
	return nil
}

func registerOverrides(flags *pflag.FlagSet) {
	for _, o := range overrides {
		flags.StringP(o.name, o.short, "", o.usage)
	}
}

// applyOverrides lays the flags that were given over c.
func applyOverrides(flags *pflag.FlagSet, c *config.Config) error {
	for _, o := range overrides {
		f := flags.Lookup(o.name)
		if !f.Changed {
			continue
		}
		if err := o.set(c, f.Value.String()); err != nil {
			return errors.Annotatef(err, "--%s", o.name)
		}
	}
	return nil
}
