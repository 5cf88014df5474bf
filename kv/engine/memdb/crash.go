package memdb

import "github.com/shoal-kv/shoal/kv/engine"

// Crash stops the machine: it returns the engine as it is found after a restart, and poisons this one. Of the n batches
// that were committed since the last sync, keep(n) survive, the oldest first; its answer must lie in 0..n.
func (d *DB) Crash(keep func(n int) int) *DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	content := d.durable.clone()
	for _, ops := range d.unsynced[:keep(len(d.unsynced))] {
		content.apply(ops)
	}
	_ = d.poison(ErrCrashed)
	return newDB(content, d.checkpoints)
}

// Durable returns what no crash can take of a key, nil when that is nothing. Nobody may change it.
func (d *DB) Durable(cf engine.CF, key []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, _ := d.durable[cf].Get(pair{key: key})
	return p.value
}

// Reopen closes the engine if that was not done, and returns it as it is found when it is opened again.
func (d *DB) Reopen() *DB {
	_ = d.Close()
	return d.Crash(func(n int) int { return n })
}

// FailWrites makes the next write fail with err and poison the engine. Nothing of that write survives a crash.
func (d *DB) FailWrites(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failWrite = err
}

// FailSyncs makes the next sync fail with err and poison the engine. The batch that was to be synced may survive a crash, or not.
func (d *DB) FailSyncs(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = err
}

// Failed says that the engine is poisoned.
func (d *DB) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.poisoned != nil
}
