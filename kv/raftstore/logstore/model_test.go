package logstore

import (
	"maps"
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
)

// group is what the model knows of one: a plain map of its entries, of which those in [first, last] exist.
type group struct {
	state   raft_serverpb.RaftLocalState
	first   uint64
	entries map[uint64]eraftpb.Entry
}

func (g *group) last() uint64 { return g.first + uint64(len(g.entries)) - 1 }

type model map[uint64]*group

func (m model) clone() model {
	c := make(model, len(m))
	for id, g := range m {
		c[id] = &group{state: g.state, first: g.first, entries: maps.Clone(g.entries)}
	}
	return c
}

// draw makes up an update that fits the model, and does to the model what it is to do to the store.
func (m model) draw(t *rapid.T) Update {
	id := rapid.Uint64Range(1, 4).Draw(t, "region")
	u := Update{RegionID: id, Sync: rapid.IntRange(0, 9).Draw(t, "sync") == 0}
	g := m[id]
	if g == nil {
		g = &group{first: rapid.Uint64Range(1, 10).Draw(t, "first"), entries: map[uint64]eraftpb.Entry{}}
		m[id] = g
		u.State = m.newState(t, g)
		return u
	}
	told := false // whether the state must go with it: the log may be left without an entry
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		delete(m, id)
		u.Destroy = true
		return u
	case 1:
		u.Reset, told = true, true
		g.first, g.entries = g.last()+rapid.Uint64Range(1, 100).Draw(t, "jump"), map[uint64]eraftpb.Entry{}
	case 2, 3:
		u.CompactTo, told = rapid.Uint64Range(0, g.last()+1).Draw(t, "compact"), true
		for ; g.first < u.CompactTo; g.first++ {
			delete(g.entries, g.first)
		}
	}
	if n := rapid.SampledFrom([]uint64{0, 1, 2, 5, 100}).Draw(t, "entries"); n > 0 {
		u.OldLast = g.last()
		from := rapid.Uint64Range(g.first, g.last()+1).Draw(t, "from")
		u.Entries = entries(rapid.Uint64Range(1, 200).Draw(t, "term"), from, from+n)
		for i := from; i <= u.OldLast; i++ {
			delete(g.entries, i)
		}
		for _, e := range u.Entries {
			g.entries[e.Index] = e
		}
		g.state.LastIndex = g.last() // the entries tell
	}
	if told || rapid.Bool().Draw(t, "state") {
		u.State = m.newState(t, g)
	}
	return u
}

func (m model) newState(t *rapid.T, g *group) *raft_serverpb.RaftLocalState {
	g.state = *state(rapid.Uint64Range(1, 200).Draw(t, "state term"), 1, 2, g.last())
	s := g.state
	return &s
}

// holds tells whether the store is what the model says.
func (m model) check(t require.TestingT, s *Store) {
	regions, err := s.Regions()
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(m)), regions)
	for id, g := range m {
		got, err := s.State(id)
		require.NoError(t, err)
		require.Equal(t, &g.state, got)
		var want []eraftpb.Entry
		for i := g.first; i <= g.last(); i++ {
			want = append(want, g.entries[i])
		}
		requireEntries(t, s, id, g.first, g.last()+1, want)
		for _, i := range []uint64{g.first - 1, g.last() + 1} {
			requireMissing(t, s, id, i, i+1, i)
		}
	}
}

// quiet turns failed requirements into an answer.
type quiet struct{ failed bool }

func (q *quiet) Errorf(string, ...any) { q.failed = true }
func (q *quiet) FailNow()              { panic(q) }

func (m model) fits(s *Store) (ok bool) {
	q := new(quiet)
	defer func() {
		if r := recover(); r != nil && r != any(q) {
			panic(r)
		}
		ok = !q.failed
	}()
	m.check(q, s)
	return
}

// Any sequence of updates leaves what it would leave in a map; a crash takes back whole writes, newest first, and none that was
// followed by a sync.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db := memdb.New()
		s := New(db)
		history := []model{{}} // as of the last sync, and after each write since
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				now := history[len(history)-1].clone()
				var updates []Update
				synced := false
				for range rapid.IntRange(0, 4).Draw(t, "updates") {
					u := now.draw(t)
					synced = synced || u.Sync
					updates = append(updates, u)
				}
				require.NoError(t, s.Write(updates))
				if synced {
					history = nil
				}
				history = append(history, now)
			},
			"sync": func(t *rapid.T) {
				require.NoError(t, s.Sync())
				history = history[len(history)-1:]
			},
			"crash": func(t *rapid.T) {
				kept, of := 0, 0
				db = db.Crash(func(n int) int {
					kept, of = rapid.IntRange(0, n).Draw(t, "keep"), n
					return kept
				})
				require.NoError(t, s.Close())
				s = New(db)
				switch kept {
				case of:
					history = history[len(history)-1:]
				case 0:
					history = history[:1]
				default:
					i := slices.IndexFunc(history, func(m model) bool { return m.fits(s) })
					require.NotEqual(t, -1, i, "what the crash left was never there")
					history = history[i : i+1]
				}
				require.NoError(t, s.Sync())
			},
			"": func(t *rapid.T) { history[len(history)-1].check(t, s) },
		})
	})
}
