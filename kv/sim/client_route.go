package sim

import (
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/sim/history"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// task is what a client wants done. It may take several requests: one for each region at least.
type task struct {
	name string
	// keys are those that no answer has dealt with, in order; the next request goes to the region that holds the first.
	keys [][]byte
	// replica says that any peer may answer, one that does not lead, or a learner: what it answers must be as good.
	replica bool
	// attempt makes a request to a region, for as many of the keys as are in it.
	attempt func(ctx *kvrpcpb.Context, r *metapb.Region) attempt
}

// attempt is one request, and how the history knows it.
type attempt struct {
	request proto.Message
	op      *history.Op
	// answered takes a response that has no error, and moves the task on.
	answered func(resp any)
}

// errand is a task on its way: what a real client's sender does. It finds the region, asks the peer that should lead it, and lets
// what it is told in return decide: ask again at once, elsewhere, after a while, or of newer knowledge.
type errand struct {
	cl       *client
	task     *task
	deadline world.Time
	waits    [waitKinds]int
	// asked is the peer that the last request went to.
	asked *metapb.Peer
	done  func(ok bool)
}

// wait says what a client waits for; each kind grows by itself.
type wait int

const (
	waitAnswer wait = iota // a store did not answer
	waitRegion             // the cache was wrong
	waitLeader             // nobody leads
	waitStale              // leadership changed
	waitReady              // a peer has no data yet, or cannot read yet
	waitBusy               // a queue is full
	waitScheduler
	waitSpace // a disk is full
	waitKinds
)

// waits are the shortest and the longest wait of each kind, and whether half of it is left to chance.
var waits = [waitKinds]struct {
	least, most time.Duration
	jitter      bool
}{
	waitAnswer:    {100 * time.Millisecond, 2 * time.Second, true},
	waitRegion:    {2 * time.Millisecond, 500 * time.Millisecond, false},
	waitLeader:    {2 * time.Millisecond, 500 * time.Millisecond, false},
	waitStale:     {2 * time.Millisecond, time.Second, false},
	waitReady:     {2 * time.Millisecond, time.Second, false},
	waitBusy:      {2 * time.Second, 10 * time.Second, true},
	waitScheduler: {500 * time.Millisecond, 3 * time.Second, true},
	waitSpace:     {500 * time.Millisecond, 5 * time.Second, true},
}

const (
	// answerTimeout is how long a client waits for one answer, maxTries how many requests it makes on the same knowledge of a region.
	answerTimeout = 2 * time.Second
	maxTries      = 10
)

// step takes the task one request further.
func (e *errand) step() {
	if len(e.task.keys) == 0 {
		e.done(true)
		return
	}
	r := e.cl.cache.find(e.task.keys[0])
	if r == nil {
		e.lookUp()
		return
	}
	if r.tries++; r.tries > maxTries {
		e.cl.cache.drop(r)
		e.wait(waitRegion, 0)
		return
	}
	e.send(r)
}

func (e *errand) lookUp() {
	e.cl.c.sched.locate(e.cl.p, e.task.keys[0], func(r *metapb.Region, leader *metapb.Peer) {
		if r == nil {
			e.wait(waitScheduler, 0)
			return
		}
		e.cl.cache.put(r, leader)
		if e.cl.cache.find(e.task.keys[0]) == nil {
			e.wait(waitRegion, 0) // the cache knows better than the scheduler, but not enough
			return
		}
		e.step()
	})
}

func (e *errand) send(r *cachedRegion) {
	c, peer := e.cl.c, r.target()
	if e.task.replica {
		peer = r.Peers[e.cl.rng.IntN(len(r.Peers))]
	}
	e.asked = peer
	s := c.storeWith(peer.StoreId)
	if s == nil { // its disk was lost: at its address is another store now, which says so, and real clients look the region up again
		e.cl.cache.drop(r)
		e.wait(waitRegion, 0)
		return
	}
	ctx := &kvrpcpb.Context{RegionId: r.Id, RegionEpoch: r.RegionEpoch, Peer: peer, ReplicaRead: e.task.replica}
	a := e.task.attempt(ctx, r.Region)
	e.cl.note(a.request)
	c.call(e.cl.p, s.p, answerTimeout, func(answer func(any)) { s.front.handle(a.request, answer) }, func(resp any) {
		e.heard(r, a, resp)
	})
}

// nextPeer turns to another peer; who asks any replica draws one anyway.
func (e *errand) nextPeer(r *cachedRegion) {
	if !e.task.replica {
		r.nextPeer()
	}
}

// heard takes what a request came to. An attempt that was not answered stays open in the history.
func (e *errand) heard(r *cachedRegion, a attempt, resp any) {
	answer, ok := resp.(interface{ GetRegionError() *errorpb.Error })
	if !ok { // lost, refused, or late
		e.nextPeer(r)
		e.wait(waitAnswer, 0)
		return
	}
	if failed := answer.GetRegionError(); failed != nil {
		if failed.StaleCommand == nil { // which may also mean that nobody knows
			a.op.Reject()
		}
		e.refused(r, failed)
		return
	}
	if text, ok := resp.(interface{ GetError() string }); ok && text.GetError() != "" {
		e.done(false) // final: the user hears of it
		return
	}
	r.tries, e.waits = 0, [waitKinds]int{}
	a.answered(resp)
	e.step()
}

// refused does what a region error calls for.
func (e *errand) refused(r *cachedRegion, failed *errorpb.Error) {
	switch {
	case failed.NotLeader.GetLeader() != nil:
		if !r.lead(failed.NotLeader.Leader) {
			e.forget(r)
			return
		}
		e.step()
	case failed.NotLeader != nil:
		e.nextPeer(r)
		e.wait(waitLeader, 0)
	case failed.EpochNotMatch != nil:
		e.reshape(r, failed.EpochNotMatch.CurrentRegions)
	case failed.ServerIsBusy != nil:
		e.wait(waitBusy, time.Duration(failed.ServerIsBusy.BackoffMs)*time.Millisecond)
	case failed.StaleCommand != nil:
		e.wait(waitStale, 0)
	case failed.RegionNotInitialized != nil, failed.ReadIndexNotReady != nil:
		e.wait(waitReady, 0)
	case failed.DiskFull != nil:
		e.wait(waitSpace, 0)
	case failed.RaftEntryTooLarge != nil:
		e.cl.c.violate("client %d: a small request is too large: %s", e.cl.id, failed)
	default: // RegionNotFound, KeyNotInRegion, StoreNotMatch, MismatchPeerId: the cache is wrong
		e.forget(r)
	}
}

func (e *errand) forget(r *cachedRegion) {
	e.cl.cache.drop(r)
	e.wait(waitRegion, 0)
}

// reshape takes in what the range looks like now. A store that knows less than the client is given time.
func (e *errand) reshape(r *cachedRegion, now []*metapb.Region) {
	if len(now) == 0 {
		e.forget(r)
		return
	}
	for _, n := range now {
		if n.Id == r.Id && region.IsEpochStale(n.RegionEpoch, r.RegionEpoch) {
			e.wait(waitRegion, 0)
			return
		}
	}
	e.cl.cache.drop(r)
	for _, n := range now {
		e.cl.cache.put(n, region.FindPeerOn(n, e.asked.StoreId))
	}
	e.step()
}

// wait goes on after a while, longer each time, unless the client's patience ends before.
func (e *errand) wait(kind wait, hint time.Duration) {
	w := &waits[kind]
	d := min(w.least<<min(e.waits[kind], 16), w.most)
	if w.jitter {
		d = d/2 + world.Between(e.cl.rng, 0, d/2)
	}
	if hint > 0 {
		d = hint
	}
	e.waits[kind]++
	if e.cl.c.w.Now()+world.Time(d) > e.deadline {
		e.done(false)
		return
	}
	e.cl.p.After(d, e.step)
}
