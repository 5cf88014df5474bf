package playground

import (
	"context"
	"io"
	"testing"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/daemon"
	"github.com/shoal-kv/shoal/cmd/shoal/storecmd"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/log"
)

func options(change func(*Options)) *Options {
	o := &Options{Stores: 2, Schedulers: 1, Host: "127.0.0.1", PortOffset: 10}
	change(o)
	return o
}

// Mistakes are those that the store or the scheduler would tell, but nothing has been started yet.
func TestMistakesInFilesAreToldAtOnce(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--kv.config: configuration file": func(o *Options) { o.StoreConfig = file(t, "[raftstore]\nprevot = true") },
		"unknown keys: raftstore.prevot":  func(o *Options) { o.StoreConfig = file(t, "[raftstore]\nprevot = true") },
		"--kv.config: invalid configuration: raftstore.raft-heartbeat-ticks is 0": func(o *Options) {
			o.StoreConfig = file(t, "[raftstore]\nraft-heartbeat-ticks = 0")
		},
		"unknown keys: leas": func(o *Options) { o.SchedulerConfig = file(t, "leas = 3") },
		"--pd.config: invalid configuration: lease is 600": func(o *Options) { o.SchedulerConfig = file(t, "lease = 600") },
		"/nowhere.toml": func(o *Options) { o.SchedulerConfig = "/nowhere.toml" },
	} {
		err := Run(options(change), io.Discard, nil)
		require.ErrorContains(t, err, want)
	}
}

// TestFilesGoToEveryProcess runs `shoal store` by the planned command line: the file counts, but not where it speaks of one
// store's place.
func TestFilesGoToEveryProcess(t *testing.T) {
	o := options(func(o *Options) {
		o.StoreConfig = file(t, `
[server]
addr = "10.0.0.1:1"
advertise-addr = "10.0.0.1:2"
status-addr = "10.0.0.1:3"
advertise-status-addr = "10.0.0.1:4"
labels = { zone = "z1" }
[storage]
data-dir = "/elsewhere"
engine = "badger"
[pd]
endpoints = ["10.0.0.1:5"]
[log]
level = "error"
[log.file]
filename = "/elsewhere/log"
`)
		o.SchedulerConfig = file(t, `
name = "nobody"
data-dir = "/elsewhere"
client-urls = "http://10.0.0.1:1"
advertise-client-urls = "http://10.0.0.1:2"
initial-cluster = "nobody=http://10.0.0.1:3"
[replication]
max-replicas = 5
`)
	})
	all, err := o.loadConfigs()
	require.NoError(t, err)
	require.Equal(t, 5, all.scheduler.Replication.MaxReplicas)
	require.Equal(t, "http://127.0.0.1:2389", all.scheduler.ClientURLs)
	require.Empty(t, all.scheduler.AdvertiseClientURLs+all.scheduler.InitialCluster)
	specs := o.plan("/d")
	require.Contains(t, specs[0].args, "--config="+o.SchedulerConfig)
	require.Contains(t, specs[0].args, "--initial-cluster=")
	for i, s := range specs[1:] {
		got := loadedBy(t, s)
		require.Equal(t, s.addr, got.Server.AdvertiseAddr)
		require.Equal(t, s.status, got.Server.AdvertiseStatusAddr)
		want := *all.store // has the place of the first store
		if i > 0 {
			want.Server.Addr, want.Server.AdvertiseAddr = s.addr, s.addr
			want.Server.StatusAddr, want.Server.AdvertiseStatusAddr = s.status, s.status
		}
		want.Storage.DataDir = s.dir
		require.Equal(t, &want, got, "in this process and in one of its own")
		require.Equal(t, "badger", got.Storage.Engine)
		require.Equal(t, "error", got.Log.Level)
		require.Equal(t, map[string]string{"zone": "z1"}, got.Server.Labels)
	}
}

// loadedBy is the configuration of a store that is started by its planned command line.
func loadedBy(t *testing.T, s *spec) (loaded *config.Config) {
	t.Helper()
	cmd := storecmd.Command(func(_ context.Context, cfg *config.Config, _ *log.Logger, _ *prometheus.Registry) (daemon.Service, error) {
		loaded = cfg
		return nil, errors.New("not today")
	})
	cmd.SetArgs(s.args[1:])
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	require.ErrorContains(t, cmd.Execute(), "not today")
	return loaded
}

// The engine of the file counts unless the flag is given, be it with the default.
func TestTheFlagsEngineGoesBeforeTheFiles(t *testing.T) {
	for flag, want := range map[string]string{"": "badger", "pebble": "pebble", "mem": "mem"} {
		o := options(func(o *Options) { o.Engine, o.StoreConfig = flag, file(t, "[storage]\nengine = \"badger\"") })
		all, err := o.loadConfigs()
		require.NoError(t, err)
		require.Equal(t, want, all.store.Storage.Engine)
		require.Equal(t, want, loadedBy(t, o.plan("/d")[1]).Storage.Engine)
	}
}

func TestPortsCanBeChosen(t *testing.T) {
	o := options(func(o *Options) { o.SchedulerPort, o.StorePort = 4000, 5000 })
	require.NoError(t, o.validate())
	specs := o.plan("/d")
	require.Equal(t, []string{"127.0.0.1:4010", "127.0.0.1:4011"}, specs[0].ports)
	require.Equal(t, []string{"127.0.0.1:5010", "127.0.0.1:20190"}, specs[1].ports)
	o.SchedulerPort = 5000
	require.ErrorContains(t, requireFree(o.plan("/d")), "127.0.0.1:5010 is meant for scheduler and for store-1")
}
