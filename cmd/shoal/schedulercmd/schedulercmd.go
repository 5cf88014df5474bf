// Package schedulercmd is `shoal scheduler`: it reads the configuration, makes the logger and runs a scheduler until it is
// told to stop.
package schedulercmd

import (
	"context"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/cmd/shoal/daemon"
	"github.com/shoal-kv/shoal/cmd/shoal/version"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// closeLimit is what etcd gets to stop.
const closeLimit = 20 * time.Second

type options struct {
	flags       Config // what the flags say, by the same names
	configFile  string
	configCheck bool
	version     bool
}

// Command is `shoal scheduler`.
func Command() *cobra.Command {
	var opts options
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Run a scheduler",
		Long: `Run the scheduler of a cluster: it hands out timestamps and ids, knows which store has which region, and sees to it that
each region has its replicas.

Flags override the configuration file, which overrides the defaults.`,
		Example: `  shoal scheduler --data-dir data/scheduler --client-urls http://0.0.0.0:2379 --advertise-client-urls http://10.0.0.1:2379
  shoal scheduler --name s1 --peer-urls http://10.0.0.1:2380 --initial-cluster s1=http://10.0.0.1:2380,s2=http://10.0.0.2:2380,s3=http://10.0.0.3:2380
  shoal scheduler --name s4 --peer-urls http://10.0.0.4:2380 --join http://10.0.0.1:2379
  shoal scheduler --config scheduler.toml --config-check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return opts.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	defaults := DefaultConfig()
	for _, o := range overrides {
		flags.StringVarP(o.field(&opts.flags), o.name, o.short, "", o.usage)
		flags.Lookup(o.name).DefValue = *o.field(defaults) // shown; what counts is the configuration
	}
	flags.StringVarP(&opts.configFile, "config", "C", "", "configuration `file` in TOML")
	flags.BoolVar(&opts.configCheck, "config-check", false, "check the configuration and exit")
	flags.BoolVarP(&opts.version, "version", "V", false, "print the version and exit")
	return cmd
}

// override is a flag that takes the place of a value of the configuration file.
type override struct {
	name, short, usage string
	field              func(c *Config) *string
}

var overrides = []override{
	{"name", "", "`name` within the scheduler group", func(c *Config) *string { return &c.Name }},
	{"data-dir", "", "`directory` of the scheduler's data", func(c *Config) *string { return &c.DataDir }},
	{"client-urls", "", "`urls` to listen on for clients and stores, separated by commas", func(c *Config) *string { return &c.ClientURLs }},
	{"advertise-client-urls", "", "`urls` told to clients (default: client-urls)", func(c *Config) *string { return &c.AdvertiseClientURLs }},
	{"peer-urls", "", "`urls` to listen on for other schedulers", func(c *Config) *string { return &c.PeerURLs }},
	{"advertise-peer-urls", "", "`urls` told to other schedulers (default: peer-urls)", func(c *Config) *string { return &c.AdvertisePeerURLs }},
	{"initial-cluster", "", "members of a new group: `name=peer-url,...`", func(c *Config) *string { return &c.InitialCluster }},
	{"join", "", "client `urls` of a running group to join; of no matter once joined", func(c *Config) *string { return &c.Join }},
	{"log-level", "L", "`level`: debug, info, warn, error or fatal", func(c *Config) *string { return &c.Log.Level }},
	{"log-file", "", "`file` to log to (default: standard error)", func(c *Config) *string { return &c.Log.File.Filename }},
}

// load lays the file over the defaults and the flags that were given over the file.
func (o *options) load(flags *pflag.FlagSet) (*Config, error) {
	cfg := DefaultConfig()
	if o.configFile != "" {
		if err := cfg.Load(o.configFile); err != nil {
			return nil, err
		}
	}
	for _, over := range overrides {
		if flags.Changed(over.name) {
			*over.field(cfg) = *over.field(&o.flags)
		}
	}
	return cfg, cfg.Validate()
}

func (o *options) run(cmd *cobra.Command) error {
	if o.version {
		version.Print(cmd.OutOrStdout())
		return nil
	}
	cfg, err := o.load(cmd.Flags())
	if err != nil {
		return err
	}
	if o.configCheck {
		_, err := io.WriteString(cmd.OutOrStdout(), "config check successful\n")
		return err
	}
	logger, err := log.New(cfg.Log)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Close() }() // its last line has been written
	settings, err := config.Differences(cfg, DefaultConfig())
	if err != nil {
		return err
	}
	d := &daemon.Daemon{Name: "scheduler", Logger: logger.Logger, CloseLimit: closeLimit}
	if logger.HasFile() {
		d.Reopen = logger.Reopen
	}
	return d.Run(func(ctx context.Context) (daemon.Service, error) {
		logger.Info("starting a scheduler", zap.String("release", version.Release), zap.String("git-hash", version.Hash()), zap.String("settings", settings))
		daemon.LimitMemory(uint64(cfg.MemoryUsageLimit), logger.Logger)
		return start(ctx, cfg, logger)
	})
}

// service is a scheduler in the words of package daemon.
type service struct{ *server.Server }

func (s service) Fatal() <-chan error { return s.Err() }

// Stuck looks whether the port that everything goes through still answers.
func (s service) Stuck(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return s.Ping(ctx)
}

func start(ctx context.Context, cfg *Config, logger *log.Logger) (daemon.Service, error) {
	sc := cfg.Server()
	sc.Logger, sc.LogLevel = logger.Logger, logger.Level
	sc.Version = version.Release
	sc.Registry = prometheus.NewRegistry()
	sc.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s, err := server.New(sc)
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return service{s}, nil
}
