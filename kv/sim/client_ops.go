package sim

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/sim/history"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// keySpace is what the clients of a run write to: groups of a few neighbouring keys, two of them hot. In half of the groups values are swapped; there every
// write says for_cas, because only such writes keep out of a swap's way. A group that has seen many operations is replaced by
// another, so that no history grows long.
type keySpace struct {
	groups []*group
	// retired are the keys of groups that were replaced.
	retired [][]byte
}

type group struct {
	slot, generation, uses int
	keys                   [][]byte
}

const (
	groupSlots = 20
	groupKeys  = 4
	maxUses    = 1500
)

func newKeySpace() *keySpace {
	k := &keySpace{}
	for slot := range groupSlots {
		k.groups = append(k.groups, newGroup(slot, 0))
	}
	return k
}

func newGroup(slot, generation int) *group {
	g := &group{slot: slot, generation: generation}
	for i := range groupKeys {
		g.keys = append(g.keys, fmt.Appendf(nil, "g%02d.%03d/%d", slot, generation, i))
	}
	return g
}

// groupOf is the name of a key's group: all but its last byte.
func groupOf(key string) string { return key[:len(key)-1] }

// swaps says that a group's keys are swapped.
func (g *group) swaps() bool { return g.slot%2 == 0 }

// pick draws a group: every second time one of the hot ones.
func (k *keySpace) pick(cl *client) *group {
	slot := cl.rng.IntN(groupSlots)
	if world.Chance(cl.rng, 0.5) {
		slot = groupSlots/4 + cl.rng.IntN(2)*(groupSlots/2+1)
	}
	g := k.groups[slot]
	if g.uses++; g.uses > maxUses {
		k.retired = append(k.retired, g.keys...)
		g = newGroup(slot, g.generation+1)
		k.groups[slot] = g
	}
	return g
}

// between lists the keys in [start, end) that are or were in use.
func (k *keySpace) between(start, end []byte) (keys [][]byte) {
	take := func(from [][]byte) {
		for _, key := range from {
			if bytes.Compare(key, start) >= 0 && (len(end) == 0 || bytes.Compare(key, end) < 0) {
				keys = append(keys, key)
			}
		}
	}
	for _, g := range k.groups {
		take(g.keys)
	}
	take(k.retired)
	return keys
}

// draw is the client's next operation.
func (cl *client) draw() *task {
	g := cl.c.keys.pick(cl)
	key := g.keys[cl.rng.IntN(groupKeys)*cl.rng.IntN(2)] // the first one most
	switch n := cl.rng.IntN(100); {
	case n < 28:
		return cl.anywhere(cl.get(key))
	case n < 36:
		return cl.remove(key, g.swaps())
	case n < 44:
		return cl.anywhere(cl.batchGet(cl.some(g)))
	case n < 52:
		return cl.batchPut(cl.some(g), g.swaps())
	case n < 60:
		last := cl.c.keys.groups[min(g.slot+cl.rng.IntN(3), groupSlots-1)]
		return cl.anywhere(cl.scan(g.keys[0], append(slices.Clone(last.keys[groupKeys-1]), 0), 2+cl.rng.IntN(12)))
	case n < 80 && g.swaps():
		return cl.swap(key)
	default:
		return cl.put(key, g.swaps())
	}
}

// anywhere lets any replica answer some of the reads.
func (cl *client) anywhere(t *task) *task {
	t.replica = world.Chance(cl.rng, cl.c.cfg.ReplicaReads)
	return t
}

// some draws a few keys: of one group mostly, of two now and then.
func (cl *client) some(g *group) (keys [][]byte) {
	from := slices.Clone(g.keys)
	if world.Chance(cl.rng, 0.2) {
		other := cl.c.keys.groups[(g.slot+2)%groupSlots] // which is swapped if this one is
		from = append(from, other.keys...)
	}
	for _, key := range from {
		if world.Chance(cl.rng, 0.6) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		keys = append(keys, from[0])
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func (cl *client) saw(cells ...history.Cell) {
	for _, c := range cells {
		cl.known[c.Key] = c.Value
	}
}

func (cl *client) get(key []byte) *task {
	t := &task{name: "get", keys: [][]byte{key}}
	t.attempt = func(ctx *kvrpcpb.Context, _ *metapb.Region) attempt {
		op := cl.c.history.Read(cl.id)
		return attempt{&kvrpcpb.RawGetRequest{Context: ctx, Key: key}, op, func(resp any) {
			cell := history.Cell{Key: string(key), Value: string(resp.(*kvrpcpb.RawGetResponse).Value)}
			op.Saw([]history.Cell{cell})
			cl.saw(cell)
			t.keys = nil
		}}
	}
	return t
}

func (cl *client) put(key []byte, forCAS bool) *task {
	t := &task{name: "put", keys: [][]byte{key}}
	t.attempt = func(ctx *kvrpcpb.Context, _ *metapb.Region) attempt {
		cell := history.Cell{Key: string(key), Value: cl.value()}
		op := cl.c.history.Write(cl.id, cell)
		return attempt{&kvrpcpb.RawPutRequest{Context: ctx, Key: key, Value: []byte(cell.Value), ForCas: forCAS}, op, func(any) {
			op.Wrote()
			cl.saw(cell)
			t.keys = nil
		}}
	}
	return t
}

func (cl *client) remove(key []byte, forCAS bool) *task {
	t := &task{name: "delete", keys: [][]byte{key}}
	t.attempt = func(ctx *kvrpcpb.Context, _ *metapb.Region) attempt {
		cell := history.Cell{Key: string(key)}
		op := cl.c.history.Write(cl.id, cell)
		return attempt{&kvrpcpb.RawDeleteRequest{Context: ctx, Key: key, ForCas: forCAS}, op, func(any) {
			op.Wrote()
			cl.saw(cell)
			t.keys = nil
		}}
	}
	return t
}

// swap expects what the client saw last. If others have changed it since, it tries again with what they wrote.
func (cl *client) swap(key []byte) *task {
	t, tries := &task{name: "swap", keys: [][]byte{key}}, 3
	t.attempt = func(ctx *kvrpcpb.Context, _ *metapb.Region) attempt {
		expect, value := cl.known[string(key)], cl.value()
		op := cl.c.history.Swap(cl.id, string(key), expect, value)
		req := &kvrpcpb.RawCASRequest{
			Context: ctx, Key: key, Value: []byte(value), PreviousNotExist: expect == "", PreviousValue: []byte(expect),
		}
		return attempt{req, op, func(resp any) {
			r := resp.(*kvrpcpb.RawCASResponse)
			op.Swapped(r.Succeed, string(r.PreviousValue))
			if r.Succeed {
				cl.saw(history.Cell{Key: string(key), Value: value})
			} else {
				cl.saw(history.Cell{Key: string(key), Value: string(r.PreviousValue)})
			}
			if tries--; r.Succeed || tries == 0 {
				t.keys = nil
			}
		}}
	}
	return t
}

// inside divides sorted keys into those at the front that are in the region, and the rest.
func inside(r *metapb.Region, keys [][]byte) (in, rest [][]byte) {
	n := 0
	for n < len(keys) && region.Contains(r, keys[n]) {
		n++
	}
	return keys[:n], keys[n:]
}

func (cl *client) batchGet(keys [][]byte) *task {
	t := &task{name: "batch get", keys: keys}
	t.attempt = func(ctx *kvrpcpb.Context, r *metapb.Region) attempt {
		op := cl.c.history.Read(cl.id)
		in, rest := inside(r, t.keys)
		return attempt{&kvrpcpb.RawBatchGetRequest{Context: ctx, Keys: in}, op, func(resp any) {
			cells := cellsOf(in, resp.(*kvrpcpb.RawBatchGetResponse).Pairs)
			op.Saw(cells)
			cl.saw(cells...)
			t.keys = rest
		}}
	}
	return t
}

func (cl *client) batchPut(keys [][]byte, forCAS bool) *task {
	t := &task{name: "batch put", keys: keys}
	t.attempt = func(ctx *kvrpcpb.Context, r *metapb.Region) attempt {
		in, rest := inside(r, t.keys)
		req := &kvrpcpb.RawBatchPutRequest{Context: ctx, ForCas: forCAS}
		var cells []history.Cell
		for _, key := range in {
			cells = append(cells, history.Cell{Key: string(key), Value: cl.value()})
			req.Pairs = append(req.Pairs, &kvrpcpb.KvPair{Key: key, Value: []byte(cells[len(cells)-1].Value)})
		}
		op := cl.c.history.Write(cl.id, cells...)
		return attempt{req, op, func(any) {
			op.Wrote()
			cl.saw(cells...)
			t.keys = rest
		}}
	}
	return t
}

// scan reads [start, end) forward, at most limit pairs, region after region. A page that is not full means that its region has no more.
func (cl *client) scan(start, end []byte, limit int) *task {
	t := &task{name: "scan", keys: [][]byte{start}}
	t.attempt = func(ctx *kvrpcpb.Context, r *metapb.Region) attempt {
		op, from := cl.c.history.Read(cl.id), t.keys[0]
		req := &kvrpcpb.RawScanRequest{Context: ctx, StartKey: from, EndKey: end, Limit: uint32(limit)}
		return attempt{req, op, func(resp any) {
			pairs := resp.(*kvrpcpb.RawScanResponse).Kvs
			upto, more := end, len(r.EndKey) > 0 && (len(end) == 0 || bytes.Compare(r.EndKey, end) < 0)
			if more {
				upto = r.EndKey
			}
			if limit -= len(pairs); limit <= 0 {
				upto, more = append(slices.Clone(pairs[len(pairs)-1].Key), 0), false
			}
			cells := cellsOf(cl.c.keys.between(from, upto), pairs)
			op.Saw(cells)
			cl.saw(cells...)
			t.keys = nil
			if more {
				t.keys = [][]byte{upto}
			}
		}}
	}
	return t
}

// cellsOf is what an answer says of keys: those that are not in it do not exist. Pairs of other keys are told, too.
func cellsOf(keys [][]byte, pairs []*kvrpcpb.KvPair) []history.Cell {
	cells := make([]history.Cell, 0, max(len(keys), len(pairs)))
	found := make(map[string]bool, len(pairs))
	for _, p := range pairs {
		found[string(p.Key)] = true
		cells = append(cells, history.Cell{Key: string(p.Key), Value: string(p.Value)})
	}
	for _, key := range keys {
		if !found[string(key)] {
			cells = append(cells, history.Cell{Key: string(key)})
		}
	}
	return cells
}
