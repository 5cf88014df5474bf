package server

import (
	"context"
	"hash/crc64"
	"slices"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/reclaim"
	"github.com/shoal-kv/shoal/kv/storage/standalone"
)

// The whole raw surface in TTL mode against a map of values and expiries, while the clock moves, expired values are reclaimed, and the store is
// closed and opened again.
func TestTTLAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &ttlModel{t: rt, db: memdb.New(), wall: wallAt(100)}
		for cf := range m.data {
			m.data[cf] = map[string]ttlValue{}
		}
		m.open()
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"put":      m.put,
			"batchPut": m.batchPut,
			"delete":   m.delete,
			"range":    m.deleteRange,
			"swap":     m.swap,
			"time":     func(rt *rapid.T) { m.wall.Add(rapid.Int64Range(1, 4).Draw(rt, "seconds")) },
			"reclaim":  m.reclaimAll,
			"restart":  func(*rapid.T) { m.close(); m.db = m.db.Reopen(); m.open() },
			"":         m.check,
		})
	})
}

type ttlValue struct {
	value  string
	expiry int64 // 0: never
}

type ttlModel struct {
	t       *rapid.T
	db      *memdb.DB
	wall    *wall
	storage *standalone.Storage
	srv     *Server
	worker  *reclaim.Worker
	data    [len(engine.DataCFs)]map[string]ttlValue
}

func (m *ttlModel) open() {
	m.storage = standalone.New(m.db, standalone.Options{})
	m.srv = NewServer(m.storage, WithTTL(m.wall.now))
	m.worker = reclaim.Start(reclaim.Options{
		Storage: m.storage, Leading: func() []*metapb.Region { return []*metapb.Region{{Id: standalone.RegionID}} }, Wall: m.wall.now,
		Interval: time.Hour, Logger: zap.NewNop(), Metrics: prometheus.NewRegistry(),
	})
}

func (m *ttlModel) close() {
	m.worker.Close()
	m.storage.Close()
}

var (
	drawKey   = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
	drawValue = rapid.SampledFrom([]string{"", "x", "yy", "12345678"})
	drawTTL   = rapid.Uint64Range(0, 6)
	drawCF    = rapid.SampledFrom(engine.DataCFs[:])
)

func (m *ttlModel) set(cf engine.CF, key, value string, ttl uint64) {
	v := ttlValue{value: value}
	if ttl > 0 {
		v.expiry = m.wall.Load() + int64(ttl)
	}
	m.data[cf][key] = v
}

// live is what a client may see of a key.
func (m *ttlModel) live(cf engine.CF, key string) (ttlValue, bool) {
	v, ok := m.data[cf][key]
	return v, ok && (v.expiry == 0 || v.expiry > m.wall.Load())
}

func (m *ttlModel) put(rt *rapid.T) {
	cf, key, value, ttl := drawCF.Draw(rt, "cf"), drawKey.Draw(rt, "key"), drawValue.Draw(rt, "value"), drawTTL.Draw(rt, "ttl")
	resp, err := m.srv.RawPut(context.Background(), &kvrpcpb.RawPutRequest{
		Key: []byte(key), Value: []byte(value), Ttl: ttl, Cf: cf.String(), ForCas: rapid.Bool().Draw(rt, "forCAS"),
	})
	require.NoError(rt, err)
	require.Equal(rt, &kvrpcpb.RawPutResponse{}, resp)
	m.set(cf, key, value, ttl)
}

func (m *ttlModel) batchPut(rt *rapid.T) {
	cf, names := drawCF.Draw(rt, "cf"), rapid.SliceOfNDistinct(drawKey, 1, 4, rapid.ID[string]).Draw(rt, "keys")
	req := &kvrpcpb.RawBatchPutRequest{Cf: cf.String(), Ttls: rapid.SliceOfN(drawTTL, 0, len(names)).Draw(rt, "ttls")}
	for _, name := range names {
		req.Pairs = append(req.Pairs, &kvrpcpb.KvPair{Key: []byte(name), Value: []byte(drawValue.Draw(rt, "value"))})
	}
	resp, err := m.srv.RawBatchPut(context.Background(), req)
	require.NoError(rt, err)
	if n := len(req.Ttls); n > 1 && n < len(names) {
		require.Contains(rt, resp.Error, "length of ttls")
		return
	}
	require.Equal(rt, &kvrpcpb.RawBatchPutResponse{}, resp)
	for i, name := range names {
		ttl := uint64(0)
		if len(req.Ttls) > 0 {
			ttl = req.Ttls[min(i, len(req.Ttls)-1)]
		}
		m.set(cf, name, string(req.Pairs[i].Value), ttl)
	}
}

func (m *ttlModel) delete(rt *rapid.T) {
	cf, key := drawCF.Draw(rt, "cf"), drawKey.Draw(rt, "key")
	resp, err := m.srv.RawDelete(context.Background(), &kvrpcpb.RawDeleteRequest{Key: []byte(key), Cf: cf.String()})
	require.NoError(rt, err)
	require.Equal(rt, &kvrpcpb.RawDeleteResponse{}, resp)
	delete(m.data[cf], key)
}

func (m *ttlModel) deleteRange(rt *rapid.T) {
	cf, from, to := drawCF.Draw(rt, "cf"), drawKey.Draw(rt, "from"), drawKey.Draw(rt, "to")
	if from >= to {
		return
	}
	resp, err := m.srv.RawDeleteRange(context.Background(), &kvrpcpb.RawDeleteRangeRequest{StartKey: []byte(from), EndKey: []byte(to), Cf: cf.String()})
	require.NoError(rt, err)
	require.Equal(rt, &kvrpcpb.RawDeleteRangeResponse{}, resp)
	for key := range m.data[cf] {
		if key >= from && key < to {
			delete(m.data[cf], key)
		}
	}
}

func (m *ttlModel) swap(rt *rapid.T) {
	cf, key, value, ttl := drawCF.Draw(rt, "cf"), drawKey.Draw(rt, "key"), drawValue.Draw(rt, "value"), drawTTL.Draw(rt, "ttl")
	previous := drawValue.Draw(rt, "previous")
	req := &kvrpcpb.RawCASRequest{Key: []byte(key), Value: []byte(value), Ttl: ttl, Cf: cf.String(), PreviousValue: []byte(previous)}
	req.PreviousNotExist = rapid.Bool().Draw(rt, "absent")
	was, ok := m.live(cf, key)
	want := &kvrpcpb.RawCASResponse{PreviousNotExist: !ok, Succeed: ok != req.PreviousNotExist && (!ok || was.value == previous)}
	if ok {
		want.PreviousValue = []byte(was.value)
	}
	resp, err := m.srv.RawCompareAndSwap(context.Background(), req)
	require.NoError(rt, err)
	require.Equal(rt, want, resp)
	if resp.Succeed {
		m.set(cf, key, value, ttl)
	}
}

// reclaimAll leaves on the disk exactly what lives.
func (m *ttlModel) reclaimAll(rt *rapid.T) {
	require.Zero(rt, m.worker.Pass(context.Background()))
	snap, err := storage.Snap(context.Background(), m.storage, storage.Target{})
	require.NoError(rt, err)
	for _, cf := range engine.DataCFs {
		it, err := snap.NewIterator(cf, engine.IterOptions{KeyOnly: true})
		require.NoError(rt, err)
		var stored []string
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			stored = append(stored, string(it.Key()))
		}
		require.NoError(rt, it.Close())
		require.Equal(rt, m.keys(cf, "", "z"), stored)
	}
	require.NoError(rt, snap.Close())
}

// keys are those that live in [from, to), in order.
func (m *ttlModel) keys(cf engine.CF, from, to string) (live []string) {
	for key := range m.data[cf] {
		if _, ok := m.live(cf, key); ok && key >= from && key < to {
			live = append(live, key)
		}
	}
	slices.Sort(live)
	return live
}

// pairs are what a scan must answer.
func (m *ttlModel) pairs(cf engine.CF, live []string, limit int, keyOnly bool) (pairs []*kvrpcpb.KvPair) {
	for _, key := range live[:min(limit, len(live))] {
		pair := &kvrpcpb.KvPair{Key: []byte(key)}
		if !keyOnly {
			pair.Value = []byte(m.data[cf][key].value)
		}
		pairs = append(pairs, pair)
	}
	return pairs
}

// check asks in every way.
func (m *ttlModel) check(rt *rapid.T) {
	ctx, cf := context.Background(), drawCF.Draw(rt, "cf")
	all := &kvrpcpb.RawBatchGetRequest{Cf: cf.String()}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		all.Keys = append(all.Keys, []byte(key))
		v, ok := m.live(cf, key)
		if !ok {
			v = ttlValue{}
		}
		got, err := m.srv.RawGet(ctx, &kvrpcpb.RawGetRequest{Key: []byte(key), Cf: cf.String()})
		require.NoError(rt, err)
		require.Equal(rt, [2]any{!ok, v.value}, [2]any{got.NotFound, string(got.Value)}, key)
		ttl, err := m.srv.RawGetKeyTTL(ctx, &kvrpcpb.RawGetKeyTTLRequest{Key: []byte(key), Cf: cf.String()})
		require.NoError(rt, err)
		want := &kvrpcpb.RawGetKeyTTLResponse{NotFound: !ok}
		if ok && v.expiry != 0 {
			want.Ttl = uint64(v.expiry - m.wall.Load())
		}
		require.Equal(rt, want, ttl)
	}
	live := m.keys(cf, "", "z")
	many, err := m.srv.RawBatchGet(ctx, all)
	require.NoError(rt, err)
	require.Equal(rt, m.pairs(cf, live, len(live), false), many.Pairs)
	m.checkScans(rt, cf)

	sum, err := m.srv.RawChecksum(ctx, &kvrpcpb.RawChecksumRequest{Ranges: ranges("", "")})
	require.NoError(rt, err)
	want, table := &kvrpcpb.RawChecksumResponse{}, crc64.MakeTable(crc64.ECMA)
	for _, key := range m.keys(engine.Default, "", "z") {
		pair := key + m.data[engine.Default][key].value
		want.Checksum ^= crc64.Checksum([]byte(pair), table)
		want.TotalKvs++
		want.TotalBytes += uint64(len(pair))
	}
	require.Equal(rt, want, sum)
}

func (m *ttlModel) checkScans(rt *rapid.T, cf engine.CF) {
	from, to, limit := drawKey.Draw(rt, "from"), drawKey.Draw(rt, "to"), rapid.Uint32Range(1, 7).Draw(rt, "limit")
	keyOnly, reverse := rapid.Bool().Draw(rt, "keyOnly"), rapid.Bool().Draw(rt, "reverse")
	live := m.keys(cf, from, to)
	one := &kvrpcpb.RawScanRequest{StartKey: []byte(from), EndKey: []byte(to), Limit: limit, KeyOnly: keyOnly, Reverse: reverse, Cf: cf.String()}
	if reverse {
		one.StartKey, one.EndKey = one.EndKey, one.StartKey
		slices.Reverse(live)
	}
	want := m.pairs(cf, live, int(limit), keyOnly)
	scan, err := m.srv.RawScan(context.Background(), one)
	require.NoError(rt, err)
	require.Equal(rt, want, scan.Kvs)
	batch, err := m.srv.RawBatchScan(context.Background(), &kvrpcpb.RawBatchScanRequest{
		Ranges:    []*kvrpcpb.KeyRange{{StartKey: one.StartKey, EndKey: one.EndKey}, {StartKey: one.StartKey, EndKey: one.EndKey}},
		EachLimit: limit, KeyOnly: keyOnly, Reverse: reverse, Cf: cf.String(),
	})
	require.NoError(rt, err)
	require.Equal(rt, append(slices.Clone(want), want...), batch.Kvs)
}
