package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// The directories of the two engines, in the data directory.
const (
	logDir   = "raft"
	stateDir = "kv"
)

// logCacheBytes is enough for a raft log, which is read at its end.
const logCacheBytes = 8 << 20

func (n *Node) openEngines() error {
	if n.borrowed {
		return nil
	}
	cfg := &n.cfg.Storage
	if cfg.Engine == config.EngineMem {
		n.log, n.state = memdb.New(), memdb.New()
		return nil
	}
	if err := keepEngine(cfg.DataDir, cfg.Engine); err != nil {
		return err
	}
	open := n.openPebble
	if cfg.Engine != config.EnginePebble {
		open = n.openOther
	}
	var err error
	if n.log, err = open(logDir, logCacheBytes); err != nil {
		return err
	}
	n.state, err = open(stateDir, int64(cfg.BlockCache.Capacity))
	return err
}

func (n *Node) openPebble(name string, cacheBytes int64) (engine.Engine, error) {
	dir := filepath.Join(n.cfg.Storage.DataDir, name)
	db, err := pebbledb.Open(pebbledb.Options{
		Dir: dir, BlockCacheBytes: cacheBytes, Logger: n.logger.Named(name), OnFatal: n.engineFailed,
		SurviveDamage: name == stateDir, OnDamage: n.damage.tell, // the log is read by nobody who could do without it
	})
	if err != nil {
		return nil, errors.Annotatef(err, "cannot open the %s engine in %s", name, dir)
	}
	n.pebbles = append(n.pebbles, db)
	return db, nil
}

func (n *Node) openOther(name string, cacheBytes int64) (engine.Engine, error) {
	open := n.openers[n.cfg.Storage.Engine]
	if open == nil {
		return nil, errors.Errorf("storage.engine is %q, which this program does not have", n.cfg.Storage.Engine)
	}
	dir := filepath.Join(n.cfg.Storage.DataDir, name)
	e, usage, err := open(dir, cacheBytes, n.cfg, n.logger.Named(name), n.engineFailed)
	if err != nil {
		return nil, errors.Annotatef(err, "cannot open the %s engine in %s", name, dir)
	}
	n.usage = append(n.usage, usage)
	return e, nil
}

// engineFile names the engine that a data directory was made with. One without it was made before there was a choice.
const engineFile = "ENGINE"

// keepEngine refuses to open a directory with another engine than it was made with, which would find it empty: the store would
// take itself for a new one.
func keepEngine(dataDir, name string) error {
	path := filepath.Join(dataDir, engineFile)
	text, err := os.ReadFile(path)
	made := strings.TrimSpace(string(text))
	if os.IsNotExist(err) {
		made = name
		if _, err := os.Stat(filepath.Join(dataDir, logDir)); err == nil {
			made = config.EnginePebble
		}
		if err = os.MkdirAll(dataDir, 0o755); err == nil {
			err = os.WriteFile(path, []byte(made+"\n"), 0o600)
		}
		if err != nil {
			return errors.Annotate(err, "cannot write down the engine")
		}
	} else if err != nil {
		return errors.Annotate(err, "cannot read which engine this is")
	}
	if made != name {
		return errors.Errorf("storage.engine is %q, but the data in %s was made with %q; set storage.engine back, or start with an empty storage.data-dir",
			name, dataDir, made)
	}
	return nil
}
