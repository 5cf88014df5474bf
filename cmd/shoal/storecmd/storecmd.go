// Package storecmd is `shoal store`: it reads the configuration, makes the logger and runs a store until it is told to stop.
//
// Defaults come first, then the file, then the flags; the outcome is validated once. How a store is put together is not
// known here: main passes it in.
package storecmd

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/cmd/shoal/daemon"
	"github.com/shoal-kv/shoal/cmd/shoal/version"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/log"
)

// Start makes and runs a store.
type Start func(ctx context.Context, cfg *config.Config, logger *log.Logger, registry *prometheus.Registry) (daemon.Service, error)

// beyondGrace is what a store gets, after its own graceful timeout, to close its disks.
const beyondGrace = 10 * time.Second

type options struct {
	configFile  string
	configCheck bool
	configInfo  string
	printSample bool
	version     bool
}

// Command is `shoal store`.
func Command(start Start) *cobra.Command {
	var opts options
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Run a store",
		Long: `Run one store of a cluster. It registers with the scheduler and keeps replicas of regions in its data directory.

Flags override the configuration file, which overrides the defaults; see --print-sample-config for all keys.`,
		Example: `  shoal store --pd 127.0.0.1:2379 --addr 127.0.0.1:20160 --status-addr 127.0.0.1:20180 --data-dir data/store-1
  shoal store --config store.toml --config-check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return opts.run(cmd, start) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	registerOverrides(flags)
	flags.StringVarP(&opts.configFile, "config", "C", "", "configuration `file` in TOML")
	flags.BoolVar(&opts.configCheck, "config-check", false, "check the configuration and exit")
	flags.StringVar(&opts.configInfo, "config-info", "", "print every key with its default and its value; the `format` is json")
	flags.BoolVar(&opts.printSample, "print-sample-config", false, "print a configuration file with all defaults and exit")
	flags.BoolVarP(&opts.version, "version", "V", false, "print the version and exit")
	return cmd
}

func (o *options) run(cmd *cobra.Command, start Start) error {
	out := cmd.OutOrStdout()
	switch {
	case o.version:
		version.Print(out)
		return nil
	case o.printSample:
		return printSample(out)
	}
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	switch {
	case o.configInfo != "":
		return printInfo(out, o.configInfo, cfg)
	case o.configCheck:
		_, err := io.WriteString(out, "config check successful\n")
		return err
	}
	return serve(cfg, start)
}

// load puts the configuration together.
func (o *options) load(cmd *cobra.Command) (*config.Config, error) {
	cfg := config.Default()
	if o.configFile != "" {
		if err := cfg.Load(o.configFile); err != nil {
			return nil, err
		}
	}
	if err := applyOverrides(cmd.Flags(), cfg); err != nil {
		return nil, err
	}
	return cfg, cfg.Validate()
}

func serve(cfg *config.Config, start Start) error {
	logger, err := log.New(cfg.Log)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Close() }() // its last line has been written
	settings, err := config.Differences(cfg, config.Default())
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d := &daemon.Daemon{Name: "store", Logger: logger.Logger, CloseLimit: cfg.Server.GracefulShutdownTimeout.Duration + beyondGrace}
	if logger.HasFile() {
		d.Reopen = logger.Reopen
	}
	return d.Run(func(ctx context.Context) (daemon.Service, error) {
		logger.Info("starting a store", zap.String("release", version.Release), zap.String("git-hash", version.Hash()), zap.String("settings", settings))
		daemon.LimitMemory(uint64(cfg.MemoryUsageLimit), logger.Logger)
		return start(ctx, cfg, logger, registry)
	})
}

func printSample(out io.Writer) error {
	text, err := config.Default().TOML()
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// info is the shape in which this family's tools print a configuration.
type info struct {
	Component  string
	Version    string
	Parameters []parameter
}

type parameter struct {
	Name         string
	DefaultValue any
	ValueInFile  any `json:",omitempty"`
}

func printInfo(out io.Writer, format string, cfg *config.Config) error {
	if format != "json" {
		return errors.Errorf("--config-info is %q; it must be json", format)
	}
	defaults, err := config.Items(config.Default())
	if err != nil {
		return err
	}
	values, err := config.Items(cfg)
	if err != nil {
		return err
	}
	byKey := map[string]any{}
	for _, d := range defaults {
		byKey[d.Key] = d.Value
	}
	in := info{Component: "Shoal Store", Version: version.Release}
	for _, v := range values {
		p := parameter{Name: v.Key, DefaultValue: byKey[v.Key]}
		if !equal(v.Value, p.DefaultValue) {
			p.ValueInFile = v.Value
		}
		in.Parameters = append(in.Parameters, p)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(in)
}

// equal compares values as they are printed: they may be lists.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
