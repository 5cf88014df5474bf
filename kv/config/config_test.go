package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDefaultsAreValid(t *testing.T) {
	require.NoError(t, Default().Validate())
	require.NoError(t, NewTestConfig().Validate())
	require.Less(t, NewTestConfig().Raftstore.BaseTickInterval.Duration, Default().Raftstore.BaseTickInterval.Duration)
}

func TestFileOverridesDefaults(t *testing.T) {
	c := Default()
	require.NoError(t, c.Decode(`
[log]
level = "debug"
[log.file]
filename = "/var/log/store.log"
[server]
addr = "0.0.0.0:1"
advertise-addr = "store-1:1"
labels = { zone = "z1", host = "h1" }
[storage]
data-dir = "/data"
enable-ttl = true
ttl-check-poll-interval = "10m"
[storage.block-cache]
capacity = "1GB"
[pd]
endpoints = ["http://a:2379", "b:2379"]
[raftstore]
raft-base-tick-interval = "200ms"
raft-entry-max-size = "4MB"
raft-log-gc-count-limit = 7000
pd-heartbeat-tick-interval = "30s"
prevote = false
[raftstore.queues]
log-size = "100MiB"
`))
	require.NoError(t, c.Validate())
	require.Equal(t, "debug", c.Log.Level)
	require.Equal(t, "/var/log/store.log", c.Log.File.Filename)
	require.Equal(t, 300, c.Log.File.MaxSize, "what the file does not mention keeps its value")
	require.Equal(t, map[string]string{"zone": "z1", "host": "h1"}, c.Server.Labels)
	require.Equal(t, GiB, c.Storage.BlockCache.Capacity)
	require.True(t, c.Storage.EnableTTL)
	require.Equal(t, 10*time.Minute, c.Storage.TTLCheckPollInterval.Duration)
	require.Equal(t, []string{"http://a:2379", "b:2379"}, c.PD.Endpoints)
	require.Equal(t, 200*time.Millisecond, c.Raftstore.BaseTickInterval.Duration)
	require.Equal(t, 4*MiB, c.Raftstore.RaftEntryMaxSize)
	require.EqualValues(t, 7000, c.Raftstore.RaftLogGcCountLimit)
	require.Equal(t, 30*time.Second, c.Raftstore.RegionHeartbeatInterval.Duration)
	require.False(t, c.Raftstore.Prevote)
	require.Equal(t, 100*MiB, c.Raftstore.Queues.LogSize)
	require.Equal(t, "store-1:1", c.Server.AdvertiseAddr)
	require.Equal(t, "127.0.0.1:20180", c.Server.AdvertiseStatusAddr, "follows status-addr")
}

func TestUnknownKeysAreNamed(t *testing.T) {
	err := Default().Decode("[raftstore]\nprevot = true\n[server]\naddr = \"a:1\"\n[wrong]\nx = 1\n")
	require.EqualError(t, err, "unknown keys: raftstore.prevot (did you mean raftstore.prevote?), wrong")
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"[raftstore]\nraft-entry-max-size = \"8 lots\"":      `"8 lots" is not a size`,
		"[raftstore]\nraft-entry-max-size = \"-1\"":          `"-1" is not a size`,
		"[storage]\nenable-ttl = 1":                          "storage.enable-ttl",
		"[raftstore]\nraft-base-tick-interval = \"soon\"":    `"soon" is not a duration`,
		"[raftstore]\nraft-election-timeout-ticks = \"ten\"": "raft-election-timeout-ticks",
		"[raftstore\n": "line ",
	} {
		require.ErrorContains(t, Default().Decode(text), want, text)
	}
	err := Default().Load(filepath.Join(t.TempDir(), "none.toml"))
	require.ErrorContains(t, err, "none.toml")
	require.ErrorIs(t, err, os.ErrNotExist)

	file := filepath.Join(t.TempDir(), "store.toml")
	require.NoError(t, os.WriteFile(file, []byte("x = 1"), 0o600))
	require.ErrorContains(t, Default().Load(file), "configuration file "+file+": unknown keys: x")
}

// TestValidateNamesKeyValueAndLimit breaks each value in turn and reads what the operator would.
func TestValidateNamesKeyValueAndLimit(t *testing.T) {
	for text, want := range map[string]string{
		"memory-usage-limit = \"300MB\"":                         `memory-usage-limit is 300MiB; it must be at least 320MiB, which is 64MiB beside storage.block-cache.capacity`,
		"[log]\nlevel = \"loud\"":                                `log.level: level "loud"`,
		"[server]\naddr = \"here\"":                              `server.addr is "here"; it must be host:port`,
		"[server]\naddr = \"a:99999\"":                           `server.addr is "a:99999"; the port must be a number up to 65535`,
		"[server]\naddr = \"0.0.0.0:7\"":                         `server.advertise-addr is "0.0.0.0:7"; others cannot connect to that host`,
		"[server]\naddr = \":7\"":                                `server.advertise-addr is ":7"; others cannot connect`,
		"[server]\nadvertise-addr = \"a:0\"":                     `server.advertise-addr is "a:0"; it must name the port`,
		"[server]\nstatus-addr = \"127.0.0.1:20160\"":            "server.status-addr is \"127.0.0.1:20160\", which server.addr is too",
		"[server]\nstatus-addr = \"\"":                           `server.status-addr is ""; it must be host:port`,
		"[server]\nlabels = { \"z e\" = \"1\" }":                 `server.labels has z e="1"`,
		"[server]\ngraceful-shutdown-timeout = \"-1s\"":          "server.graceful-shutdown-timeout is -1s; it must be between 0s and 1h0m0s",
		"[server]\nmax-scan-rows = 0":                            "server.max-scan-rows is 0; it must be between 1 and",
		"[server]\nmax-response-size = \"1KB\"":                  "server.max-response-size is 1KiB; it must be between 1MiB and 1GiB",
		"[server]\nmax-stream-requests = 0":                      "server.max-stream-requests is 0",
		"[server]\nmax-stream-size = \"0\"":                      "server.max-stream-size is 0B",
		"[server]\nconcurrent-send-snap-limit = 0":               "server.concurrent-send-snap-limit is 0",
		"[server]\nconcurrent-recv-snap-limit = 0":               "server.concurrent-recv-snap-limit is 0",
		"[storage]\ndata-dir = \"\"":                             "storage.data-dir is empty",
		"[storage]\nengine = \"rocks\"":                          `storage.engine is "rocks"; it must be one of pebble, badger, mem`,
		"[storage]\napi-version = 2":                             "storage.api-version is 2; only 1 is supported",
		"[storage]\nblock-cache = { capacity = \"1KB\" }":        "storage.block-cache.capacity is 1KiB; it must be between 1MiB and 1TiB",
		"[storage]\nttl-check-poll-interval = \"-1s\"":           "storage.ttl-check-poll-interval is -1s; it must be between 0s and 720h0m0s",
		"[storage]\nmax-key-size = \"64KB\"":                     "storage.max-key-size is 64KiB; it must be between 1B and 32KiB",
		"[pd]\nendpoints = []":                                   "pd.endpoints is empty",
		"[pd]\nendpoints = [\"http://a\"]":                       `pd.endpoints is "a"; it must be host:port`,
		"[raftstore]\nraft-base-tick-interval = \"0s\"":          "raftstore.raft-base-tick-interval is 0s; it must be between 1ms and 1m0s",
		"[raftstore]\nraft-heartbeat-ticks = 0":                  "raftstore.raft-heartbeat-ticks is 0",
		"[raftstore]\nraft-election-timeout-ticks = 4":           "raft-election-timeout-ticks is 4; it must be more than twice raft-heartbeat-ticks (2)",
		"[raftstore]\nraft-store-max-leader-lease = \"900ms\"":   "raft-store-max-leader-lease is 900ms; it must be at most 720ms",
		"[raftstore]\nraft-store-max-leader-lease = \"-1ms\"":    "raft-store-max-leader-lease is -1ms",
		"[raftstore]\nraft-entry-max-size = \"33MB\"":            "raftstore.raft-entry-max-size is 33MiB; it must be between 1KiB and 32MiB",
		"[raftstore]\nraft-max-size-per-msg = \"0\"":             "raftstore.raft-max-size-per-msg is 0B",
		"[raftstore]\nraft-max-inflight-msgs = 0":                "raftstore.raft-max-inflight-msgs is 0",
		"[raftstore]\nraft-entry-cache-size = \"0\"":             "raftstore.raft-entry-cache-size is 0B",
		"[raftstore]\nraft-log-gc-tick-interval = \"1ms\"":       "raftstore.raft-log-gc-tick-interval is 1ms; it must be between 100ms and 1h0m0s",
		"[raftstore]\nraft-log-gc-threshold = 200000":            "raftstore.raft-log-gc-threshold is 200000; it must be between 1 and 100000",
		"[raftstore]\nraft-log-gc-count-limit = 0":               "raftstore.raft-log-gc-count-limit is 0",
		"[raftstore]\npd-heartbeat-tick-interval = \"0s\"":       "raftstore.pd-heartbeat-tick-interval is 0s",
		"[raftstore]\npd-store-heartbeat-tick-interval = \"2h\"": "raftstore.pd-store-heartbeat-tick-interval is 2h0m0s",
		"[raftstore.queues]\nmailbox-messages = 1":               "raftstore.queues.mailbox-messages is 1; it must be between 16",
		"[raftstore.queues]\nreads = 0":                          "raftstore.queues.reads is 0",
		"[raftstore.queues]\nproposal-size = \"0\"":              "raftstore.queues.proposal-size is 0B",
		"[raftstore.queues]\nlog-size = \"1MB\"":                 "raftstore.queues.log-size is 1MiB; one entry must fit in, and raft-entry-max-size is 8MiB",
		"[raftstore.queues]\ntransport-messages = 0":             "raftstore.queues.transport-messages is 0",
		"[raftstore.queues]\ntransport-size = \"0\"":             "raftstore.queues.transport-size is 0B",
		"[security]\nca-path = \"/ca.pem\"":                      "either all three are set or none",
	} {
		c := Default()
		require.NoError(t, c.Decode(text), text)
		require.ErrorContains(t, c.Validate(), want, text)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	c := Default()
	c.PD.Endpoints = nil
	c.Storage.DataDir = ""
	err := c.Validate()
	require.ErrorContains(t, err, "storage.data-dir")
	require.ErrorContains(t, err, "pd.endpoints")
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "17": 17, "512B": 512, "1KB": KiB, "1kib": KiB, "96MB": 96 * MiB, "96 MiB": 96 * MiB, "1.5GB": GiB + 512*MiB, "2TB": 2048 * GiB,
	} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s, text)

		written, err := s.MarshalText()
		require.NoError(t, err)
		var again Size
		require.NoError(t, again.UnmarshalText(written))
		require.Equal(t, s, again, "%s", written)
	}
	for size, want := range map[Size]string{0: "0B", 1023: "1023B", 1025: "1025B", 8 * MiB: "8MiB", 3 * KiB / 2: "1536B", 5000 * GiB: "5000GiB"} {
		require.Equal(t, want, size.String())
	}
	for _, text := range []string{"", "x", "1XB", "1e9999", "99999999PB", "-5MB"} {
		var s Size
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
}

// TestWrittenFileReadsBack makes what --print-sample-config shows a file that starts the same store.
func TestWrittenFileReadsBack(t *testing.T) {
	c := NewTestConfig()
	c.Server.Labels["zone"] = "z1"
	c.Raftstore.Capacity = 1000
	require.NoError(t, c.Validate())
	text, err := c.TOML()
	require.NoError(t, err)
	again := &Config{}
	require.NoError(t, again.Decode(text), text)
	require.Equal(t, c, again)
}

func TestTreeAndItems(t *testing.T) {
	tree, err := Tree(Default())
	require.NoError(t, err)
	text, err := json.Marshal(tree)
	require.NoError(t, err)
	require.Contains(t, string(text), `"api-version":1`)
	require.Contains(t, string(text), `"raft-base-tick-interval":"100ms"`)

	items, err := Items(Default())
	require.NoError(t, err)
	values := map[string]any{}
	for i, item := range items {
		values[item.Key] = item.Value
		if i > 0 {
			require.Less(t, items[i-1].Key, item.Key)
		}
	}
	require.Equal(t, "8MiB", values["raftstore.raft-entry-max-size"])
	require.Equal(t, "256MiB", values["storage.block-cache.capacity"])
	require.Equal(t, true, values["raftstore.prevote"])
}

func TestDifferences(t *testing.T) {
	c := Default()
	c.Storage.DataDir = "/data"
	c.Server.Labels = map[string]string{"zone": "z1"}
	c.Raftstore.RaftEntryMaxSize = 4 * MiB
	different, err := Differences(c, Default())
	require.NoError(t, err)
	require.Equal(t, "raftstore.raft-entry-max-size=4MiB server.labels.zone=z1 storage.data-dir=/data", different)

	c = Default()
	c.Server.Addr, c.Server.StatusAddr, c.Server.AdvertiseStatusAddr = "a:1", "b:2", "c:3"
	require.NoError(t, c.Validate())
	different, err = Differences(c, Default())
	require.NoError(t, err)
	require.Equal(t, "server.addr=a:1 server.advertise-status-addr=c:3 server.status-addr=b:2", different, "advertise-addr only follows")
}
