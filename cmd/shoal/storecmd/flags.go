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
	// A value that is text has its field; set reads any other.
	field func(c *config.Config) *string
	set   func(c *config.Config, value string) error
}

var overrides = []override{
	{"addr", "A", "`host:port` to listen on", func(c *config.Config) *string { return &c.Server.Addr }, nil},
	{"advertise-addr", "", "`host:port` told to others (default: addr)", func(c *config.Config) *string { return &c.Server.AdvertiseAddr }, nil},
	{"status-addr", "", "`host:port` of the status server", func(c *config.Config) *string { return &c.Server.StatusAddr }, nil},
	{
		"advertise-status-addr", "", "`host:port` of the status server told to others (default: status-addr)",
		func(c *config.Config) *string { return &c.Server.AdvertiseStatusAddr }, nil,
	},
	{"data-dir", "s", "`directory` of the store's data", func(c *config.Config) *string { return &c.Storage.DataDir }, nil},
	{"engine", "", "`library` that keeps the data: pebble, badger (can lose acknowledged writes) or mem", func(c *config.Config) *string { return &c.Storage.Engine }, nil},
	{"log-level", "L", "`level`: debug, info, warn, error or fatal", func(c *config.Config) *string { return &c.Log.Level }, nil},
	{"log-file", "f", "`file` to log to (default: standard error)", func(c *config.Config) *string { return &c.Log.File.Filename }, nil},
	{"capacity", "", "`size` that the store reports (default: the disk's)", nil, func(c *config.Config, v string) error {
		return c.Raftstore.Capacity.UnmarshalText([]byte(v))
	}},
	{"pd", "", "`addresses` of schedulers, separated by commas (default 127.0.0.1:2379)", nil, setEndpoints},
	{"pd-endpoints", "", "the same as --pd (`addresses`)", nil, setEndpoints},
	{"labels", "", "`key=value,...` that say where the store stands", nil, setLabels},
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

// registerOverrides shows the defaults of the configuration as those of the flags, which have none of their own.
func registerOverrides(flags *pflag.FlagSet) {
	defaults := config.Default()
	for _, o := range overrides {
		flags.StringP(o.name, o.short, "", o.usage)
		if o.field != nil {
			flags.Lookup(o.name).DefValue = *o.field(defaults)
		}
	}
}

// applyOverrides lays the flags that were given over c.
func applyOverrides(flags *pflag.FlagSet, c *config.Config) error {
	for _, o := range overrides {
		f := flags.Lookup(o.name)
		switch {
		case !f.Changed:
		case o.field != nil:
			*o.field(c) = f.Value.String()
		default:
			if err := o.set(c, f.Value.String()); err != nil {
				return errors.Annotatef(err, "--%s", o.name)
			}
		}
	}
	return nil
}
