package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNearestKeyIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"[raftstore]\nraft-log-gc-treshold = 1":     "raftstore.raft-log-gc-treshold (did you mean raftstore.raft-log-gc-threshold?)",
		"[server]\ndata-dir = \"x\"":                "server.data-dir (did you mean storage.data-dir?)",
		"data-dir = \"x\"":                          "data-dir (did you mean storage.data-dir?)",
		"[raft-store]\nprevote = true":              "raft-store (did you mean raftstore?)",
		"[storage.blok-cache]\ncapacity = \"1GB\"":  "storage.blok-cache (did you mean storage.block-cache?)",
		"[rocksdb.defaultcf]\nblock-size = \"1KB\"": "rocksdb.defaultcf",
	} {
		require.EqualError(t, Default().Decode(text), "unknown keys: "+want)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"status-addr", "addr", "config", "config-check"}
	for name, want := range map[string]string{
		"adr": "addr", "addr": "addr", "status-adr": "status-addr", "config-chek": "config-check", "conf": "", "confg": "config", "verbose": "", "": "", "x": "",
	} {
		require.Equal(t, want, Nearest(name, names), name)
	}
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 4, distance("", "four"))
}
