package machine

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// told are the events of a term in words, the first one first.
func told(t *Term) []string {
	var list []string
	for _, e := range t.Events(0) {
		list = append([]string{fmt.Sprintf("%s store %d region %d: %s [%s] x%d", e.Kind, e.Store, e.Region, e.Text, e.Detail, e.Count)}, list...)
	}
	return list
}

// later is a moment after now.
func later(d time.Duration) Moment {
	return Moment{Now: t0.Add(d), LeaseEnd: t0.Add(24 * time.Hour), Wall: wall.Add(d)}
}

func TestEventsTellTheLifeOfAStore(t *testing.T) {
	d, m := bootstrapped(t)
	m.Tick(now())
	start := uint32(100)
	pass := func(after time.Duration, ids ...uint64) {
		for _, id := range ids {
			require.NoError(t, m.StoreHeartbeat(id, cluster.StoreStats{StartTime: start}, later(after)))
		}
		m.Tick(later(after))
	}
	save, err := m.PutStore(store(9))
	d.save(t, save, err)
	pass(time.Second, 3)
	pass(2*time.Second, 3, 9)
	start++
	pass(10*time.Second, 3)
	pass(22*time.Second, 9)
	pass(31*time.Second, 9)
	pass(40*time.Minute, 9)
	pass(40*time.Minute, 3, 9)
	save, err = m.DeleteStore(9, false)
	d.save(t, save, err)
	pass(40*time.Minute, 3, 9)
	save, err = m.Upkeep(later(40 * time.Minute))
	require.NotNil(t, save)
	d.save(t, save, err)
	pass(40*time.Minute, 3)
	d.save(t, m.ForgetTombstones(), nil)
	pass(40*time.Minute, 3)
	var words []string
	for _, e := range m.Events(0) {
		if e.Store == 3 || e.Store == 9 {
			words = append([]string{fmt.Sprint(e.Store, " ", e.Text)}, words...)
		}
	}
	require.Equal(t, []string{
		"3 joined", "9 joined", "3 has restarted", "9 has restarted", "3 is silent", "3 is down: its replicas are made anew elsewhere", "3 is back",
		"9 is being drained", "9 is empty and a tombstone now", "9 is forgotten, a tombstone that was removed",
	}, words)
}

// A new leader knows the stores: that they report to it is no news, and that one does not is.
func TestEventsBeginWithTheTerm(t *testing.T) {
	d, _ := bootstrapped(t)
	m := d.load(t, now())
	require.Equal(t, []string{"term-began store 0 region 0: leads the schedulers [] x1"}, told(m))
	m.Tick(now())
	for _, after := range []time.Duration{time.Second, 11 * time.Second, 21 * time.Second} {
		require.NoError(t, m.StoreHeartbeat(1, cluster.StoreStats{StartTime: 7}, later(after)))
		require.NoError(t, m.StoreHeartbeat(2, cluster.StoreStats{StartTime: 7}, later(after)))
		m.Tick(later(after))
	}
	require.Equal(t, []string{"store-disconnected store 3 region 0: is silent [] x1"}, told(m)[1:])
}

func TestEventsCountSplitsAndMerges(t *testing.T) {
	_, m := bootstrapped(t)
	at := func(id uint64, start, end string, version uint64) *cluster.Region {
		return report(&metapb.Region{
			Id: id, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: 1},
			Peers: []*metapb.Peer{{Id: id + 1, StoreId: 1}},
		}, 5)
	}
	for _, r := range []*cluster.Region{
		at(2, "", "", 1),
		at(10, "b", "d", 3), // split off, and the first to report: the one that was split is out until it reports
		at(2, "d", "", 3),
		at(20, "", "b", 3),
		at(10, "b", "d", 3), // nothing new
		at(2, "d", "", 3),
		at(10, "b", "", 4), // has taken 2 in
	} {
		_, err := m.RegionHeartbeat(r, later(time.Second))
		require.NoError(t, err)
	}
	var regions []string
	for _, e := range m.Events(0) {
		if e.Kind == RegionsSplit || e.Kind == RegionsMerged {
			regions = append(regions, fmt.Sprintf("%s x%d, last %d %s", e.Text, e.Count, e.Region, e.Detail))
		}
	}
	require.Equal(t, []string{"merged into a neighbour x1, last 2 into region 10", "split off x2, last 20 "}, regions)
}

func TestEventsTellHowOperatorsEnded(t *testing.T) {
	_, m := bootstrapped(t)
	m.moment = now()
	for range 3 {
		m.noteOperator(operator.Record{Region: 2, Desc: "balance-region", Brief: "mv", Status: operator.Success})
	}
	m.noteOperator(operator.Record{Region: 4, Desc: "balance-region", Brief: "mv", Status: operator.Timeout, Why: "too long"})
	m.noteOperator(operator.Record{Region: 4, Desc: "balance-region", Brief: "mv", Status: operator.Replaced, Why: "by fix"})
	m.moment = later(alikeWithin)
	m.noteOperator(operator.Record{Region: 5, Desc: "balance-region", Brief: "mv", Status: operator.Success})
	all := told(m)
	require.Equal(t, []string{
		"operator-done store 0 region 2: balance-region [mv] x3",
		"operator-failed store 0 region 4: balance-region ended as TIMEOUT: too long [mv] x1",
		"operator-replaced store 0 region 4: balance-region was replaced by fix [mv] x1",
		"operator-done store 0 region 5: balance-region [mv] x1",
	}, all[len(all)-4:])
}

// However much happens, the latest events are there, and their ids tell them apart.
func TestEventsAreBounded(t *testing.T) {
	_, m := bootstrapped(t)
	for i := range 10 * mostEvents {
		m.moment = later(time.Duration(i) * time.Second)
		m.note(Event{Kind: StoreUp, Store: uint64(i), Text: "is back"})
		require.LessOrEqual(t, len(m.Events(0)), mostEvents)
	}
	list := m.Events(5)
	require.Len(t, list, 5)
	for i, e := range list {
		require.Equal(t, uint64(10*mostEvents-1-i), e.Store)
		require.True(t, i == 0 || e.ID == list[i-1].ID-1)
	}
}
