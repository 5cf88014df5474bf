package placement

import (
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// labelled are stores by id, with labels such as "zone=a disk=ssd".
func labelled(labels ...string) map[uint64]*cluster.Store {
	stores := make(map[uint64]*cluster.Store)
	for i, text := range labels {
		meta := &metapb.Store{Id: uint64(i + 1)}
		for _, word := range strings.Fields(text) {
			key, value, _ := strings.Cut(word, "=")
			meta.Labels = append(meta.Labels, &metapb.StoreLabel{Key: key, Value: value})
		}
		stores[meta.Id] = &cluster.Store{Meta: meta}
	}
	return stores
}

// on is a region with a peer on each store that is named; the first leads. l in front of an id is a learner.
func on(words ...string) *cluster.Region {
	r := &cluster.Region{Meta: &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{}}}
	for _, word := range words {
		p := new(metapb.Peer)
		if id, learns := strings.CutPrefix(word, "l"); learns {
			word, p.Role = id, metapb.PeerRole_Learner
		}
		p.StoreId = uint64(word[0] - '0')
		p.Id = 10 + p.StoreId
		r.Meta.Peers = append(r.Meta.Peers, p)
	}
	r.Leader = r.Meta.Peers[0]
	return r
}

func storesOf(peers []*metapb.Peer) string {
	var ids []string
	for _, p := range peers {
		ids = append(ids, string(rune('0'+p.StoreId)))
	}
	return strings.Join(ids, " ")
}

// said is a fit in short: for each rule its stores, in brackets those in the wrong role; then the orphans.
func said(f *Fit) string {
	var parts []string
	for _, r := range f.Rules {
		part := storesOf(r.Peers)
		if len(r.Wrong) > 0 {
			part += " [" + storesOf(r.Wrong) + "]"
		}
		parts = append(parts, part)
	}
	if len(f.Orphans) > 0 {
		parts = append(parts, "orphans "+storesOf(f.Orphans))
	}
	return strings.Join(parts, "; ")
}

func everyPeer(*metapb.Peer) bool { return true }

func fitOf(stores map[uint64]*cluster.Store, r *cluster.Region, list []*Rule, use func(*metapb.Peer) bool) *Fit {
	return FitRegion(func(id uint64) *cluster.Store { return stores[id] }, r, list, use)
}

func TestFit(t *testing.T) {
	zones := labelled("zone=a", "zone=a", "zone=b", "zone=c disk=ssd", "zone=c engine=columns")
	constrained := func(text, key string, op Op, values ...string) *Rule {
		r := rule(t, text)
		r.LabelConstraints = []Constraint{{key, op, values}}
		return r
	}
	spread := func(text string) *Rule {
		r := rule(t, text)
		r.LocationLabels = []string{"zone"}
		return r
	}
	isolated := func(text string) *Rule {
		r := spread(text)
		r.IsolationLevel = "zone"
		return r
	}
	voters := rule(t, "a/v - 3 voter")
	for _, c := range []struct {
		name   string
		region *cluster.Region
		rules  []*Rule
		want   string
		fits   bool
	}{
		{"all is well", on("1", "2", "3"), []*Rule{voters}, "1 2 3", true},
		{"one too few", on("1", "2"), []*Rule{voters}, "1 2", false},
		{"one too many", on("1", "2", "3", "4"), []*Rule{voters}, "1 2 3; orphans 4", false},
		{"of too many, the one that stands beside another", on("1", "2", "3", "4"), []*Rule{spread("a/v - 3 voter")}, "1 3 4; orphans 2", false},
		{"a learner can be made a voter", on("1", "2", "l3"), []*Rule{voters}, "1 2 3 [3]", false},
		{"a voter is taken before a learner", on("1", "l2", "3", "4"), []*Rule{voters}, "1 3 4; orphans 2", false},
		{"a learner that would stand beside a voter, where that is allowed", on("1", "l2", "3"), []*Rule{spread("a/v - 3 voter")}, "1 2 3 [2]", false},
		{"and where it is not", on("1", "l2", "3"), []*Rule{isolated("a/v - 3 voter")}, "1 3; orphans 2", false},
		{"a learner in a zone of its own", on("1", "3", "l4"), []*Rule{isolated("a/v - 3 voter")}, "1 3 4 [4]", false},
		{"two learners beside each other", on("3", "l1", "l2"), []*Rule{isolated("a/v - 3 voter")}, "3 1 [1]; orphans 2", false},
		{"voters that stand beside each other already", on("1", "2", "3"), []*Rule{isolated("a/v - 3 voter")}, "1 2 3", true},
		{"a voter does not serve a rule for learners", on("1", "2", "3"), []*Rule{rule(t, "a/l - 1 learner"), rule(t, "a/v - 3 voter")}, "; 1 2 3", false},
		{"voters and a learner", on("1", "2", "3", "l4"), []*Rule{voters, rule(t, "b/l - 1 learner")}, "1 2 3; 4", true},
		{"who leads serves the leader's rule", on("3", "1", "2"), []*Rule{rule(t, "a/l - 1 leader"), rule(t, "b/f - 2 follower")}, "3; 1 2", true},
		{
			"a leader elsewhere than the rule wants it", on("1", "4", "3"),
			[]*Rule{constrained("a/l - 1 leader", "disk", In, "ssd"), rule(t, "b/f - 2 follower")},
			"4 [4]; 1 3 [1]", false,
		},
		{"constraints that no store but one meets", on("1", "2", "4"), []*Rule{constrained("a/v - 3 voter", "disk", Exists)}, "4; orphans 1 2", false},
		{"not in", on("1", "2", "3"), []*Rule{constrained("a/v - 3 voter", "zone", NotIn, "b")}, "1 2; orphans 3", false},
		{"not exists", on("1", "2", "4"), []*Rule{constrained("a/v - 3 voter", "disk", NotExists)}, "1 2; orphans 4", false},
		{"a store that is set apart serves only who names it", on("1", "2", "3", "l5"), []*Rule{voters, rule(t, "b/l - 1 learner")}, "1 2 3; ; orphans 5", false},
		{"and who does", on("1", "2", "3", "l5"), []*Rule{voters, constrained("b/l - 1 learner", "engine", In, "columns")}, "1 2 3; 5", true},
		{
			"an earlier rule is served first, also where that leaves a later one short", on("1", "4", "3"),
			[]*Rule{constrained("a/v - 2 voter", "zone", NotIn, "b"), constrained("b/v - 1 voter", "disk", In, "ssd")},
			"1 4; ; orphans 3", false,
		},
	} {
		fit := fitOf(zones, c.region, c.rules, everyPeer)
		require.Equal(t, c.want, said(fit), c.name)
		require.Equal(t, c.fits, fit.Satisfied(), c.name)
	}
}

// Peers that are not to be used, or whose store nobody knows, serve no rule and are orphans; of equals those that are well are kept.
func TestFitLeavesOut(t *testing.T) {
	stores := labelled("", "", "", "")
	voters := []*Rule{rule(t, "a/v - 3 voter")}
	fit := fitOf(stores, on("1", "2", "3"), voters, func(p *metapb.Peer) bool { return p.StoreId != 2 })
	require.Equal(t, "1 3; orphans 2", said(fit))
	require.Equal(t, 1, fit.Rules[0].Lacks())
	require.Equal(t, "1 2; orphans 9", said(fitOf(stores, on("1", "2", "9"), voters, everyPeer)))

	r := on("1", "2", "3", "4")
	r.Pending = r.Meta.Peers[2:3]
	require.Equal(t, "1 2 4; orphans 3", said(fitOf(stores, r, voters, everyPeer)), "one that is pending goes")
	r.Pending, r.Down = nil, []cluster.DownPeer{{Peer: r.Meta.Peers[1], Seconds: 60}}
	require.Equal(t, "1 3 4; orphans 2", said(fitOf(stores, r, voters, everyPeer)), "one that is down goes")
}

// A difference in an earlier label outweighs all in later ones.
func TestDistance(t *testing.T) {
	labels := []string{"zone", "rack", "host"}
	s := labelled("zone=a rack=1 host=x", "zone=a rack=1 host=y", "zone=a rack=2 host=x", "zone=b rack=1 host=x", "zone=a rack=1 host=x")
	from := func(ids ...uint64) (list []*cluster.Store) {
		for _, id := range ids {
			list = append(list, s[id])
		}
		return list
	}
	far := func(ids ...uint64) float64 { return Distance(labels, s[1], from(ids...)) }
	require.Zero(t, far(1), "itself")
	require.Zero(t, far(5), "the same host")
	require.Positive(t, far(2))
	require.Greater(t, far(3), 10*far(2))
	require.Greater(t, far(4), 10*far(3))
	require.InDelta(t, far(2)+far(4), far(2, 4), 0)
}

// Isolated is about one level and those above it; further down nothing counts.
func TestIsolated(t *testing.T) {
	labels := []string{"zone", "rack", "host"}
	s := labelled("zone=a rack=1 host=x", "zone=a rack=1 host=y", "zone=a rack=2 host=x", "zone=b rack=1 host=x")
	for _, c := range []struct {
		level string
		other uint64
		want  bool
	}{
		{"", 2, true},
		{"host", 2, true},
		{"rack", 2, false},
		{"zone", 2, false},
		{"rack", 3, true},
		{"zone", 3, false},
		{"zone", 4, true},
		{"host", 4, true},
	} {
		require.Equal(t, c.want, Isolated(labels, c.level, s[1], []*cluster.Store{s[c.other]}), "%s, store %d", c.level, c.other)
	}
	require.False(t, Isolated(labels, "zone", s[1], []*cluster.Store{s[4], s[3]}), "from all of them")
	require.True(t, Isolated(labels, "zone", s[1], nil))
}
