package machine

import (
	"fmt"
	"slices"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

const (
	// mostEvents bounds the events that are remembered.
	mostEvents = 256
	// alikeWithin is for how long events that say the same are counted as one, so that a busy hour does not push out what happened before it.
	alikeWithin = 15 * time.Second
)

// EventKind says what an event is about.
type EventKind string

// The kinds of events.
const (
	TermBegan         EventKind = "term-began"
	StoreJoined       EventKind = "store-joined"
	StoreRestarted    EventKind = "store-restarted"
	StoreUp           EventKind = "store-up"
	StoreDisconnected EventKind = "store-disconnected"
	StoreDown         EventKind = "store-down"
	StoreOffline      EventKind = "store-offline"
	StoreTombstone    EventKind = "store-tombstone"
	StoreForgotten    EventKind = "store-forgotten"
	RegionsSplit      EventKind = "regions-split"
	RegionsMerged     EventKind = "regions-merged"
	OperatorDone      EventKind = "operator-done"
	OperatorReplaced  EventKind = "operator-replaced"
	OperatorFailed    EventKind = "operator-failed"
	SettingsChanged   EventKind = "settings-changed"
)

// Event is something that happened in the cluster, as people are told of it. Nothing is decided by events, and the next leader knows none of them.
type Event struct {
	// ID grows from event to event of a term.
	ID   uint64
	Kind EventKind
	// Count is how many alike there were between First and Last, which are times of day.
	Count       int
	First, Last time.Time
	// Store and Region are what it happened to, 0 if that is not one; of several regions it is the last.
	Store, Region uint64
	// Text says what happened, and Detail what was special about the last one.
	Text, Detail string
}

// events are the latest things that happened, and how things were when they were last looked at.
type events struct {
	list   []Event // the latest last
	lastID uint64
	began  time.Time
	stores map[uint64]watched
	// ended is how many operators have.
	ended uint64
}

// watched is how a store was. The state is 0 until the store has been heard of in this term.
type watched struct {
	state   cluster.State
	started uint32
}

// Events lists at most limit events, the latest first; all that are remembered if limit is 0.
func (t *Term) Events(limit int) []Event {
	list := t.events.list
	if limit > 0 && limit < len(list) {
		list = list[len(list)-limit:]
	}
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// Began is the time of day at which the term did.
func (t *Term) Began() time.Time { return t.events.began }

// note takes an event in, at the moment of the decision at hand. What repeats a late event is counted with it.
func (t *Term) note(e Event) {
	at, ev := t.moment.Wall, &t.events
	for i := len(ev.list) - 1; i >= 0 && at.Sub(ev.list[i].First) < alikeWithin; i-- {
		if old := &ev.list[i]; old.Kind == e.Kind && old.Store == e.Store && old.Text == e.Text {
			old.Count++
			old.Last, old.Region, old.Detail = at, e.Region, e.Detail
			return
		}
	}
	if len(ev.list) == mostEvents {
		ev.list = append(ev.list[:0:0], ev.list[mostEvents/4:]...)
	}
	ev.lastID++
	e.ID, e.Count, e.First, e.Last = ev.lastID, 1, at, at
	ev.list = append(ev.list, e)
}

// beginEvents notes the term's begin, and how the stores are that it finds.
func (t *Term) beginEvents(leader string) {
	t.events.began, t.events.stores = t.moment.Wall, make(map[uint64]watched)
	for _, s := range t.Picture.Stores() {
		w := watched{}
		if state := s.State(t.moment.Now); state >= cluster.Offline {
			w.state = state
		}
		t.events.stores[s.ID()] = w
	}
	t.note(Event{Kind: TermBegan, Text: "leads the schedulers", Detail: leader})
}

// watch notes what has become of stores and operators since it was last called.
func (t *Term) watch() {
	stores := t.Picture.Stores()
	for _, s := range stores {
		t.watchStore(s)
	}
	if len(t.events.stores) > len(stores) {
		t.forgetStores()
	}
	ended, n := t.Schedule.Operators().EndedSince(t.events.ended)
	t.events.ended = n
	for _, op := range slices.Backward(ended) {
		t.noteOperator(op)
	}
}

func (t *Term) watchStore(s *cluster.Store) {
	was, known := t.events.stores[s.ID()]
	if !known {
		t.note(Event{Kind: StoreJoined, Store: s.ID(), Text: "joined", Detail: s.Meta.Address})
	}
	is := watched{s.State(t.moment.Now), s.Stats.StartTime}
	if is.state == cluster.Disconnected && s.Heard.IsZero() && t.moment.Now.Sub(s.Known) < cluster.DisconnectedAfter {
		is.state = was.state // it has time yet to report
	}
	if was.started != 0 && is.started > was.started {
		t.note(Event{Kind: StoreRestarted, Store: s.ID(), Text: "has restarted"})
	}
	if is.state != was.state && (was.state != 0 || is.state != cluster.Up) {
		t.noteState(s, was.state, is.state)
	}
	t.events.stores[s.ID()] = is
}

func (t *Term) noteState(s *cluster.Store, was, is cluster.State) {
	e := Event{Store: s.ID()}
	switch is {
	case cluster.Up:
		e.Kind, e.Text = StoreUp, "is back"
		if was == cluster.Offline {
			e.Text = "is taken back, and not drained any more"
		}
	case cluster.Disconnected:
		e.Kind, e.Text = StoreDisconnected, "is silent"
	case cluster.Down:
		e.Kind, e.Text = StoreDown, "is down: its replicas are made anew elsewhere"
	case cluster.Offline:
		e.Kind, e.Text = StoreOffline, "is being drained"
	case cluster.Tombstone:
		e.Kind, e.Text = StoreTombstone, "is empty and a tombstone now"
	default:
		return
	}
	t.note(e)
}

func (t *Term) forgetStores() {
	var gone []uint64
	for id := range t.events.stores { // order-free: sorted below
		if t.Picture.Store(id) == nil {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	for _, id := range gone {
		t.note(Event{Kind: StoreForgotten, Store: id, Text: "is forgotten, a tombstone that was removed"})
		delete(t.events.stores, id)
	}
}

func (t *Term) noteOperator(op operator.Record) {
	e := Event{Kind: OperatorDone, Region: op.Region, Text: op.Desc, Detail: op.Brief}
	switch op.Status {
	case operator.Success:
	case operator.Replaced:
		e.Kind, e.Text = OperatorReplaced, op.Desc+" was replaced "+op.Why
	default:
		e.Kind, e.Text = OperatorFailed, fmt.Sprintf("%s ended as %s: %s", op.Desc, op.Status, op.Why)
	}
	t.note(e)
}

// noteRegions notes the splits and merges that a region's report shows; old is the region as it was known before.
func (t *Term) noteRegions(r, old *cluster.Region, change cluster.Change) {
	if change.New {
		t.note(Event{Kind: RegionsSplit, Region: r.ID(), Text: "split off"})
	}
	if old == nil {
		return
	}
	for _, other := range change.Overlapped {
		if r.Covers(other) {
			t.note(Event{Kind: RegionsMerged, Region: other.ID(), Text: "merged into a neighbour", Detail: fmt.Sprintf("into region %d", r.ID())})
		}
	}
}
