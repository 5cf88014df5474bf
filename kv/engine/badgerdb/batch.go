package badgerdb

import "github.com/shoal-kv/shoal/kv/engine"

type opKind uint8

const (
	opPut opKind = iota
	opDelete
	opDeleteRange
)

// op is one write, with physical keys. For a range, key is its start and value its end.
type op struct {
	kind       opKind
	key, value []byte
}

// batch collects operations. Once it is committed they belong to badger, which reads them later; so Reset starts a new list.
type batch struct {
	db        *DB
	ops       []op
	size      int
	committed bool
}

// opOverhead is what badger's log spends on an entry beside its bytes.
const opOverhead = 22

func (b *batch) add(kind opKind, key, value []byte) {
	b.ops = append(b.ops, op{kind, key, value})
	b.size += len(key) + len(value) + opOverhead
}

func (b *batch) Put(cf engine.CF, key, value []byte) {
	buf := make([]byte, 1+len(key)+len(value))
	buf[0] = firstFamily + byte(cf)
	n := 1 + copy(buf[1:], key)
	copy(buf[n:], value)
	b.add(opPut, buf[:n:n], buf[n:])
}

func (b *batch) Delete(cf engine.CF, key []byte) { b.add(opDelete, physicalKey(cf, key), nil) }

func (b *batch) DeleteRange(cf engine.CF, start, end []byte) {
	b.add(opDeleteRange, physicalStart(cf, start), physicalEnd(cf, end))
}

func (b *batch) Size() int { return b.size }

// check finds what badger could not take. The bounds of ranges are never stored and may be of any length.
func (b *batch) check() error {
	if b.size > MaxBatchBytes {
		return &LimitError{"batch", int64(b.size), MaxBatchBytes}
	}
	most := b.db.opts.MaxPairBytes()
	for _, o := range b.ops {
		if o.kind == opDeleteRange {
			continue
		}
		if n := len(o.key) - 1; n > MaxKeySize {
			return &LimitError{"key", int64(n), MaxKeySize}
		}
		if n := int64(len(o.key) - 1 + len(o.value)); n > most {
			return &LimitError{"pair", n, most}
		}
	}
	return nil
}

// Commit is synced in any case. A LimitError leaves the batch as it was.
func (b *batch) Commit(bool) error {
	if b.committed {
		return engine.ErrCommitted
	}
	if err := firstError(b.db.usable(), b.check()); err != nil {
		return err
	}
	b.committed = true
	if len(b.ops) == 0 {
		return nil // what came before is synced already
	}
	return b.db.commit(b.ops, b.size)
}

func (b *batch) Reset() { *b = batch{db: b.db} }

func (b *batch) Close() error { return nil }
