package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/raftkv"
	"github.com/shoal-kv/shoal/kv/txn/latch"
	"github.com/shoal-kv/shoal/proto/region"
)

// front is what a client's request meets on a store: latches where they are asked for, and the storage over the raftstore. A request
// is answered later, from within another event.
type front struct {
	s       *store
	storage *raftkv.Storage
	latches *latch.Table
	waiting map[*latch.Lock]func()
	// held says that swaps stop between reading and writing; stopped are those that did. Scripts do that.
	held    bool
	stopped []func()
}

func newFront(s *store) *front {
	return &front{
		s:       s,
		storage: raftkv.New(s.st.Router, s.opened.State, s.id, s.c.cfg.Machine.Raft.MaxEntry, func() machine.Instant { return machine.Instant(s.p.Monotonic()) }),
		latches: latch.NewTable(64, 64), waiting: make(map[*latch.Lock]func()),
	}
}

// handle serves one request; done is called once, unless the store dies before.
func (f *front) handle(req any, done func(resp any)) {
	switch q := req.(type) {
	case *kvrpcpb.RawGetRequest:
		f.get(q, func(r *kvrpcpb.RawGetResponse) { done(r) })
	case *kvrpcpb.RawPutRequest:
		batch := []storage.Modify{{Op: storage.Put, Key: q.Key, Value: q.Value}}
		f.write(q.Context, q.ForCas, batch, func(e *errorpb.Error, text string) {
			done(&kvrpcpb.RawPutResponse{RegionError: e, Error: text})
		})
	case *kvrpcpb.RawDeleteRequest:
		batch := []storage.Modify{{Op: storage.Delete, Key: q.Key}}
		f.write(q.Context, q.ForCas, batch, func(e *errorpb.Error, text string) {
			done(&kvrpcpb.RawDeleteResponse{RegionError: e, Error: text})
		})
	case *kvrpcpb.RawBatchPutRequest:
		var batch []storage.Modify
		for _, p := range q.Pairs {
			batch = append(batch, storage.Modify{Op: storage.Put, Key: p.Key, Value: p.Value})
		}
		f.write(q.Context, q.ForCas, batch, func(e *errorpb.Error, text string) {
			done(&kvrpcpb.RawBatchPutResponse{RegionError: e, Error: text})
		})
	case *kvrpcpb.RawCASRequest:
		f.compareAndSwap(q, func(r *kvrpcpb.RawCASResponse) { done(r) })
	case *kvrpcpb.RawBatchGetRequest:
		f.batchGet(q, func(r *kvrpcpb.RawBatchGetResponse) { done(r) })
	case *kvrpcpb.RawScanRequest:
		f.scan(q, func(r *kvrpcpb.RawScanResponse) { done(r) })
	default:
		panic(fmt.Sprintf("sim: no request of type %T", req))
	}
	f.s.pump()
}

func target(c *kvrpcpb.Context) storage.Target {
	return storage.Target{
		RegionID: c.GetRegionId(), PeerID: c.GetPeer().GetId(), StoreID: c.GetPeer().GetStoreId(), Epoch: c.GetRegionEpoch(), Term: c.GetTerm(),
		Replica: c.GetReplicaRead(),
	}
}

// failure is an error as a client hears it.
func failure(err error, c *kvrpcpb.Context) (*errorpb.Error, string) {
	if err == nil {
		return nil, ""
	}
	if e := server.RegionError(err, c.GetRegionId()); e != nil {
		return e, ""
	}
	return nil, err.Error()
}

func (f *front) get(q *kvrpcpb.RawGetRequest, done func(*kvrpcpb.RawGetResponse)) {
	f.storage.Read(context.Background(), target(q.Context), func(snap storage.Snapshot, err error) {
		resp := &kvrpcpb.RawGetResponse{}
		if err == nil {
			resp.Value, err = lookUp(snap, q.Key)
			resp.NotFound = err == nil && resp.Value == nil
		}
		if err != nil {
			resp.RegionError, resp.Error = failure(err, q.Context)
		}
		done(resp)
	})
}

// batchGet reads keys of one snapshot; those that do not exist are not in the answer.
func (f *front) batchGet(q *kvrpcpb.RawBatchGetRequest, done func(*kvrpcpb.RawBatchGetResponse)) {
	f.storage.Read(context.Background(), target(q.Context), func(snap storage.Snapshot, err error) {
		resp := &kvrpcpb.RawBatchGetResponse{}
		if err == nil {
			resp.Pairs, err = lookUpAll(snap, q.Keys)
		}
		if err != nil {
			resp = &kvrpcpb.RawBatchGetResponse{}
			resp.RegionError, _ = failure(err, q.Context)
		}
		done(resp)
	})
}

func lookUpAll(snap storage.Snapshot, keys [][]byte) (pairs []*kvrpcpb.KvPair, err error) {
	defer func() { _ = snap.Close() }()
	for _, key := range keys {
		if !region.Contains(snap.Region(), key) {
			return nil, &region.KeyNotInRegionError{Key: key, Region: snap.Region()}
		}
		value, err := snap.Get(engine.Default, key)
		if err != nil {
			return nil, err
		}
		if value != nil {
			pairs = append(pairs, &kvrpcpb.KvPair{Key: key, Value: value})
		}
	}
	return pairs, nil
}

// lookUp reads one key and closes the snapshot.
func lookUp(snap storage.Snapshot, key []byte) ([]byte, error) {
	defer func() { _ = snap.Close() }()
	if !region.Contains(snap.Region(), key) {
		return nil, &region.KeyNotInRegionError{Key: key, Region: snap.Region()}
	}
	return snap.Get(engine.Default, key)
}

func (f *front) write(c *kvrpcpb.Context, forCAS bool, batch []storage.Modify, done func(*errorpb.Error, string)) {
	propose := func(release func()) {
		f.storage.Write(context.Background(), target(c), 0, batch, func(err error) {
			release()
			done(failure(err, c))
		})
	}
	if !forCAS {
		propose(func() {})
		return
	}
	f.latched(batch, propose)
}

// latched calls then when it holds the batch's keys.
func (f *front) latched(batch []storage.Modify, then func(release func())) {
	keys := make([][]byte, len(batch))
	for i := range batch {
		keys[i] = batch[i].Key
	}
	lock := f.latches.NewLock(keys...)
	release := func() {
		for _, woken := range f.latches.Release(lock) {
			next := f.waiting[woken]
			delete(f.waiting, woken)
			f.s.p.Soon(0, func() { next(); f.s.pump() })
		}
	}
	held, ok := f.latches.Acquire(lock)
	switch {
	case !ok:
		return // too many wait: the client's patience ends
	case held:
		then(release)
	default:
		f.waiting[lock] = func() { then(release) }
	}
}

func (f *front) compareAndSwap(q *kvrpcpb.RawCASRequest, done func(*kvrpcpb.RawCASResponse)) {
	batch := []storage.Modify{{Op: storage.Put, Key: q.Key, Value: q.Value}}
	f.latched(batch, func(release func()) {
		f.storage.Read(context.Background(), target(q.Context), func(snap storage.Snapshot, err error) {
			resp := &kvrpcpb.RawCASResponse{}
			term := uint64(0)
			if err == nil {
				term = snap.Term()
				resp.PreviousValue, err = lookUp(snap, q.Key)
				resp.PreviousNotExist = resp.PreviousValue == nil
			}
			resp.Succeed = err == nil && resp.PreviousNotExist == q.PreviousNotExist &&
				(resp.PreviousNotExist || bytes.Equal(resp.PreviousValue, q.PreviousValue))
			if !resp.Succeed {
				release()
				resp.RegionError, resp.Error = failure(err, q.Context)
				done(resp)
				return
			}
			// The storage must not be called from within its own callback; and a thread may be off its processor between the two.
			f.between(func() {
				f.storage.Write(context.Background(), target(q.Context), term, batch, func(err error) {
					release()
					if err != nil {
						resp = &kvrpcpb.RawCASResponse{}
						resp.RegionError, resp.Error = failure(err, q.Context)
					}
					if errors.Is(err, region.ErrUndetermined) { // repeated, it would meet its own outcome
						resp.RegionError, resp.Error = nil, err.Error()
					}
					done(resp)
				})
				f.s.pump()
			})
		})
	})
}

// between runs the second half of a swap.
func (f *front) between(next func()) {
	if f.held {
		f.stopped = append(f.stopped, next)
		return
	}
	f.s.p.Soon(0, next)
}

// hold stops swaps between their halves, or lets all go on.
func (f *front) hold(held bool) {
	f.held = held
	if !held {
		for _, next := range f.stopped {
			f.s.p.Soon(0, next)
		}
		f.stopped = nil
	}
}

// scan reads forward, to the region's end at most.
func (f *front) scan(q *kvrpcpb.RawScanRequest, done func(*kvrpcpb.RawScanResponse)) {
	f.storage.Read(context.Background(), target(q.Context), func(snap storage.Snapshot, err error) {
		resp := &kvrpcpb.RawScanResponse{}
		if err == nil {
			resp.Kvs, err = collect(snap, q)
		}
		if err != nil {
			resp.RegionError, _ = failure(err, q.Context)
		}
		done(resp)
	})
}

func collect(snap storage.Snapshot, q *kvrpcpb.RawScanRequest) (kvs []*kvrpcpb.KvPair, err error) {
	defer func() { _ = snap.Close() }()
	r := snap.Region()
	if !region.Contains(r, q.StartKey) {
		return nil, &region.KeyNotInRegionError{Key: q.StartKey, Region: r}
	}
	upper := q.EndKey
	if len(upper) == 0 || len(r.EndKey) > 0 && bytes.Compare(upper, r.EndKey) > 0 {
		upper = r.EndKey
	}
	it, err := snap.NewIterator(engine.Default, engine.IterOptions{Lower: q.StartKey, Upper: upper})
	if err != nil {
		return nil, err
	}
	for ok := it.SeekGE(nil); ok && len(kvs) < int(q.Limit); ok = it.Next() {
		kvs = append(kvs, &kvrpcpb.KvPair{Key: bytes.Clone(it.Key()), Value: bytes.Clone(it.Value())})
	}
	return kvs, it.Close()
}
