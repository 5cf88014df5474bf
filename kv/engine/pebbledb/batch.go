package pebbledb

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/shoal-kv/shoal/kv/engine"
)

// batch writes straight into pebble's encoding of a batch, which is pooled: a key is copied once, behind its family's byte.
type batch struct {
	db        *DB
	b         *pebble.Batch
	ranges    bool // it deletes ranges
	committed bool
}

func (b *batch) Put(cf engine.CF, key, value []byte) {
	op := b.b.SetDeferred(1+len(key), len(value))
	op.Key[0] = byte(cf)
	copy(op.Key[1:], key)
	copy(op.Value, value)
	must(op.Finish())
}

func (b *batch) Delete(cf engine.CF, key []byte) {
	op := b.b.DeleteDeferred(1 + len(key))
	op.Key[0] = byte(cf)
	copy(op.Key[1:], key)
	must(op.Finish())
}

func (b *batch) DeleteRange(cf engine.CF, start, end []byte) {
	b.ranges = true
	if len(end) == 0 { // up to the first key of the next family
		op := b.b.DeleteRangeDeferred(1+len(start), 1)
		op.Key[0], op.Value[0] = byte(cf), byte(cf)+1
		copy(op.Key[1:], start)
		must(op.Finish())
		return
	}
	if bytes.Compare(start, end) >= 0 {
		return // pebble's tombstones must not be empty or inverted
	}
	op := b.b.DeleteRangeDeferred(1+len(start), 1+len(end))
	op.Key[0], op.Value[0] = byte(cf), byte(cf)
	copy(op.Key[1:], start)
	copy(op.Value[1:], end)
	must(op.Finish())
}

// must holds because only indexed batches can fail to finish an operation.
func must(err error) {
	if err != nil {
		panic("pebbledb: finishing a batch operation: " + err.Error())
	}
}

func (b *batch) Size() int {
	if b.b.Empty() {
		return 0
	}
	return b.b.Len()
}

func (b *batch) Commit(sync bool) error {
	if b.committed {
		return engine.ErrCommitted
	}
	if err := b.db.usable(); err != nil {
		return err
	}
	b.committed = true
	if b.b.Empty() {
		if sync {
			return b.db.Sync() // pebble does nothing for an empty batch, but what came before was promised
		}
		return nil
	}
	if err := b.b.Commit(b.db.writeOptions(sync)); err != nil {
		b.db.fault.fail(err)
	}
	if b.ranges {
		b.db.pin.drop()
	}
	return b.db.fault.err()
}

func (b *batch) Reset() {
	b.b.Reset()
	b.ranges, b.committed = false, false
}

func (b *batch) Close() error { return b.b.Close() }
