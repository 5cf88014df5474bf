package memdb

import (
	"bytes"
	"fmt"

	"github.com/shoal-kv/shoal/kv/engine"
)

type opKind uint8

const (
	opPut opKind = iota
	opDelete
	opDeleteRange
)

// op is one write. For a range, key is its start and value its end, empty meaning the end of the family.
type op struct {
	kind       opKind
	cf         engine.CF
	key, value []byte
}

func (t *trees) apply(ops []op) {
	for _, o := range ops {
		switch o.kind {
		case opPut:
			t[o.cf].ReplaceOrInsert(pair{o.key, o.value})
		case opDelete:
			t[o.cf].Delete(pair{key: o.key})
		case opDeleteRange:
			t.deleteRange(o.cf, o.key, o.value)
		}
	}
}

func (t *trees) deleteRange(cf engine.CF, start, end []byte) {
	var doomed []pair
	t[cf].AscendGreaterOrEqual(pair{key: start}, func(p pair) bool {
		if len(end) > 0 && bytes.Compare(p.key, end) >= 0 {
			return false
		}
		doomed = append(doomed, p)
		return true
	})
	for _, p := range doomed {
		t[cf].Delete(p)
	}
}

// batch collects operations. Once it is committed they belong to the engine, so Reset starts a new list.
type batch struct {
	db        *DB
	ops       []op
	size      int
	committed bool
}

// opOverhead stands for what an encoding spends on an operation beside its bytes.
const opOverhead = 4

func (b *batch) add(kind opKind, cf engine.CF, key, value []byte) {
	// One allocation holds both: values are never nil, so that an empty one is told from an absent one.
	buf := make([]byte, len(key)+len(value))
	n := copy(buf, key)
	copy(buf[n:], value)
	b.ops = append(b.ops, op{kind, cf, buf[:n:n], buf[n:]})
	b.size += len(buf) + opOverhead
}

func (b *batch) Put(cf engine.CF, key, value []byte)         { b.add(opPut, cf, key, value) }
func (b *batch) Delete(cf engine.CF, key []byte)             { b.add(opDelete, cf, key, nil) }
func (b *batch) DeleteRange(cf engine.CF, start, end []byte) { b.add(opDeleteRange, cf, start, end) }

func (b *batch) Size() int { return b.size }

func (b *batch) Commit(sync bool) error {
	if b.committed {
		return engine.ErrCommitted
	}
	b.committed = true
	return b.db.commit(b.ops, sync)
}

func (b *batch) Reset() { *b = batch{db: b.db} }

func (b *batch) Close() error { return nil }

// ingestOps turns an ingestion into one batch, and checks what the seam asks of its sources.
func ingestOps(in engine.Ingestion) ([]op, error) {
	var b batch
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		r, ok := in.Replace[cf]
		if !ok || len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0 {
			continue
		}
		b.DeleteRange(cf, r.Start, r.End)
		if in.Open == nil {
			continue
		}
		src, err := in.Open(cf)
		if err != nil {
			return nil, fmt.Errorf("column family %s: %w", cf, err)
		}
		if src == nil {
			continue
		}
		err = b.putAll(cf, r, src)
		if closeErr := src.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("column family %s: %w", cf, err)
		}
	}
	return b.ops, nil
}

func (b *batch) putAll(cf engine.CF, r engine.Range, src engine.Source) error {
	var last []byte
	for first := true; src.Next(); first = false {
		key := src.Key()
		if bytes.Compare(key, r.Start) < 0 || len(r.End) > 0 && bytes.Compare(key, r.End) >= 0 {
			return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", key, r.Start, r.End)
		}
		if !first && bytes.Compare(key, last) <= 0 {
			return fmt.Errorf("key %x follows key %x", key, last)
		}
		b.Put(cf, key, src.Value())
		last = b.ops[len(b.ops)-1].key
	}
	return nil
}
