package raftstore

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Router knows where mail goes: which worker owns a region. It also keeps the regions' published views, and the
// budgets behind which requests are refused and appends dropped. Nothing here blocks.
type Router struct {
	storeID uint64
	raft    []*mailbox[machine.Mail]
	store   *mailbox[machine.Mail]
	views   sync.Map // region id → *atomic.Pointer[machine.RegionView]
	// writes is the bytes of proposals that have no answer yet, reads the number of reads; requests beyond their limits are refused.
	writes, reads           atomic.Int64
	maxWrites, maxReads     int64
	logBytes                atomic.Int64 // handed to the log writer and not written yet
	maxLogBytes             int64
	droppedSteps, busyCount atomic.Uint64
}

// busyBackoff is what a refused client is told to wait: about as long as a full queue takes to drain.
const busyBackoff = 50 * time.Millisecond

func newRouter(storeID uint64, workers int, lim Limits) *Router {
	r := &Router{
		storeID: storeID, store: newMailbox[machine.Mail](lim.MailboxMessages),
		maxWrites: lim.ProposalBytes, maxReads: lim.Reads, maxLogBytes: lim.LogQueueBytes,
	}
	for range workers {
		r.raft = append(r.raft, newMailbox[machine.Mail](lim.MailboxMessages))
	}
	return r
}

func (r *Router) owner(regionID uint64) *mailbox[machine.Mail] { return r.raft[r.worker(regionID)] }

func (r *Router) worker(regionID uint64) int {
	return int((regionID * 0x9E3779B97F4A7C15 >> 32) % uint64(len(r.raft)))
}

// View returns what may be known of a region without asking its owner; nil when the store has no such region.
func (r *Router) View(regionID uint64) *machine.RegionView {
	if p, ok := r.views.Load(regionID); ok {
		return p.(*atomic.Pointer[machine.RegionView]).Load()
	}
	return nil
}

// Views calls visit with the view of every region, in no order, until it answers false.
func (r *Router) Views(visit func(regionID uint64, v *machine.RegionView) bool) {
	r.views.Range(func(id, p any) bool {
		v := p.(*atomic.Pointer[machine.RegionView]).Load()
		return v == nil || v.Gone || visit(id.(uint64), v)
	})
}

func (r *Router) publish(v *machine.RegionView) {
	p, ok := r.views.Load(v.Region.Id)
	if !ok {
		p, _ = r.views.LoadOrStore(v.Region.Id, new(atomic.Pointer[machine.RegionView]))
	}
	p.(*atomic.Pointer[machine.RegionView]).Store(v)
}

// Deliver takes messages of other stores' peers; it may drop them. A worker gets all of its own at once: woken by the first, it would make a
// round, and a sync, of that one.
func (r *Router) Deliver(msgs []*raft_serverpb.RaftMessage) {
	full := r.logBytes.Load() > r.maxLogBytes
	sorted := make([][]machine.Mail, len(r.raft))
	for _, msg := range msgs {
		if msg.RegionId == 0 { // from store to store
			if !r.store.tryPut(machine.Step{Msg: msg}) {
				r.droppedSteps.Add(1)
			}
			continue
		}
		// Appends make work for the log writer; while it is far behind they are dropped, and raft sends them again (S23).
		if full && msg.Message.GetMsgType() == eraftpb.MessageType_MsgAppend {
			r.droppedSteps.Add(1)
			continue
		}
		w := r.worker(msg.RegionId)
		if sorted[w] == nil {
			sorted[w] = make([]machine.Mail, 0, len(msgs))
		}
		sorted[w] = append(sorted[w], machine.Step{Msg: msg})
	}
	for w, mail := range sorted {
		if len(mail) > 0 {
			r.droppedSteps.Add(uint64(r.raft[w].tryPutAll(mail)))
		}
	}
}

// Propose hands a write over; its Done is called exactly once, also when it is refused here.
func (r *Router) Propose(p *machine.Proposal) {
	size := int64(len(p.Command.Body)) + 256
	if r.writes.Add(size) > r.maxWrites {
		r.writes.Add(-size)
		r.busyCount.Add(1)
		p.Done(&region.ServerIsBusyError{Reason: "too many writes are waiting (raftstore.max-proposal-bytes)", Backoff: busyBackoff})
		return
	}
	done := p.Done
	p.Done = func(err error) {
		r.writes.Add(-size)
		done(err)
	}
	if !r.owner(p.RegionID).put(machine.Propose{Proposal: p}) {
		p.Done(&region.StoppedError{StoreID: r.storeID})
	}
}

// Read asks the region's owner when a read may go on; its Grant is called exactly once.
func (r *Router) Read(q *machine.ReadRequest) {
	if r.reads.Add(1) > r.maxReads {
		r.reads.Add(-1)
		r.busyCount.Add(1)
		q.Grant(machine.ReadGrant{}, &region.ServerIsBusyError{Reason: "too many reads are waiting (raftstore.max-waiting-reads)", Backoff: busyBackoff})
		return
	}
	grant := q.Grant
	q.Grant = func(g machine.ReadGrant, err error) {
		r.reads.Add(-1)
		grant(g, err)
	}
	if !r.owner(q.RegionID).put(machine.Read{ReadRequest: q}) {
		q.Grant(machine.ReadGrant{}, &region.StoppedError{StoreID: r.storeID})
	}
}

// Admin asks the region's leader for a change of the region.
func (r *Router) Admin(a *machine.AdminRequest) {
	if !r.owner(a.RegionID).tryPut(machine.Admin{AdminRequest: a}) && a.Done != nil {
		a.Done(&region.ServerIsBusyError{Reason: "the raft worker's mailbox is full", Backoff: busyBackoff})
	}
}

// Force orders a survivor to be its region's only member; its Done is called exactly once.
func (r *Router) Force(f *machine.ForceRequest) {
	if !r.owner(f.RegionID).put(machine.Force{ForceRequest: f}) {
		f.Done(&region.StoppedError{StoreID: r.storeID})
	}
}

// Inspect asks a region's owner for what it knows; tell is called exactly once, with nil when there is no such peer.
func (r *Router) Inspect(regionID uint64, tell func(*machine.PeerReport)) {
	if !r.owner(regionID).tryPut(machine.Inspect{RegionID: regionID, Tell: tell}) {
		tell(nil)
	}
}

// Damaged tells a region's owner that a read of its data on this store met damage. It may be lost: the next read meets it again.
func (r *Router) Damaged(regionID, peerID uint64, err error) {
	r.owner(regionID).tryPut(machine.Damaged{RegionID: regionID, PeerID: peerID, Reason: err.Error()})
}

// Distrust has a peer's data replaced as if it were damaged; false when the store is stopping.
func (r *Router) Distrust(regionID, peerID uint64, reason string) bool {
	return r.owner(regionID).put(machine.Damaged{RegionID: regionID, PeerID: peerID, Reason: reason})
}

// post delivers mail between machines, and completions. It must arrive, unless the store is closing.
func (r *Router) post(a machine.Addressed) {
	switch {
	case a.Store:
		r.store.put(a.Mail)
	case a.All:
		r.all(a.Mail)
	default:
		r.owner(a.RegionID).put(a.Mail)
	}
}

// postAll is post for what belongs together: a worker gets all of its own at once.
func (r *Router) postAll(mail []machine.Addressed) {
	sorted := make([][]machine.Mail, len(r.raft))
	for _, a := range mail {
		if a.Store || a.All {
			r.post(a)
			continue
		}
		w := r.worker(a.RegionID)
		if sorted[w] == nil {
			sorted[w] = make([]machine.Mail, 0, len(mail))
		}
		sorted[w] = append(sorted[w], a.Mail)
	}
	for w, mine := range sorted {
		if len(mine) > 0 {
			r.raft[w].put(mine...)
		}
	}
}

// all tells every raft worker.
func (r *Router) all(m machine.Mail) {
	for _, b := range r.raft {
		b.put(m)
	}
}

// Unreachable reports that messages to a store are being lost.
func (r *Router) Unreachable(storeID uint64) {
	for _, b := range r.raft {
		b.tryPut(machine.Unreachable{StoreID: storeID})
	}
}

// SnapshotSent reports how the sending of a snapshot ended.
func (r *Router) SnapshotSent(regionID, toPeer uint64, ok bool) {
	r.post(machine.Addressed{RegionID: regionID, Mail: machine.SnapshotSent{RegionID: regionID, ToPeer: toPeer, OK: ok}})
}

// Dropped counts the messages of other stores that were dropped, and the requests that were refused, because too much was waiting.
func (r *Router) Dropped() (messages, requests uint64) {
	return r.droppedSteps.Load(), r.busyCount.Load()
}
