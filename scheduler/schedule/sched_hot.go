package schedule

import (
	"fmt"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// hotRegion spreads traffic: of the store that serves most it takes a hot region whose traffic, elsewhere, makes the two more even. Reads move with the
// leader, writes with any peer.
type hotRegion struct{ turn int }

const (
	// hotShare is by how much a store must be above the average to count as hot, and hotGain how much more even two stores must become.
	hotShare = 1.15
	hotGain  = 1.2
	// hotLooked is how many hot regions of a store are looked at.
	hotLooked = 256
)

// HotChoice is a store that was looked at for the sake of hot traffic.
type HotChoice struct {
	What  HotEvent
	Store uint64
}

// HotEvent is what a look at a store came to.
type HotEvent uint8

// What a look can come to: the store with the most traffic has so much more than the others that some is to leave it, or it has not; a store was chosen to take traffic over.
const (
	ReadSource HotEvent = iota
	ReadEven
	ReadLeaderTarget
	ReadPeerTarget
	WriteSource
	WriteEven
	WritePeerTarget
	HotEvents // how many there are
)

// String is the event's name as the family's tools print it.
func (e HotEvent) String() string {
	return [...]string{
		"src-store-succ-read-leader", "src-store-failed-read-leader", "dst-store-succ-read-leader", "dst-store-succ-read-peer",
		"src-store-succ-write-peer", "src-store-failed-write-peer", "dst-store-succ-write-peer",
	}[e]
}

func (h *hotRegion) schedule(j *job) {
	if j.ctl.Room(operator.HotRegion) < max(1, j.cfg.HotRegionScheduleLimit) {
		j.idle("hot regions are on their way: what they change is waited for")
		return
	}
	h.turn++
	for i := range 2 {
		if (h.turn+i)%2 == 0 {
			j.coolReads()
		} else {
			j.coolWrites()
		}
		if j.done > 0 {
			return
		}
	}
	if j.w.why == "" {
		j.idle("no store serves much more than the others, or none of its hot regions would make that better")
	}
}

// hottestStore is the store with the most traffic; ok if it is hot, and counted as one of the two events. Where there is no traffic nothing was looked at.
func (j *job) hottestStore(flow func(*cluster.Store) int64, hot, even HotEvent) (most *cluster.Store, ok bool) {
	sum, n := int64(0), int64(0)
	for _, s := range j.alive() {
		f := flow(s)
		sum += f
		n++
		if most == nil || f > flow(most) {
			most = s
		}
	}
	if sum == 0 {
		return most, false
	}
	if float64(flow(most)) > hotShare*float64(sum)/float64(n) {
		j.choices.noteHot(hot, most)
		return most, true
	}
	j.choices.noteHot(even, most)
	return most, false
}

func (j *job) readFlow(s *cluster.Store) int64  { return j.pic.Tally(s.ID()).Read.Bytes }
func (j *job) writeFlow(s *cluster.Store) int64 { return j.pic.Tally(s.ID()).Write.Bytes }

// gain is how much better it gets when traffic goes from one store to another; not above 0 if it does not.
func gain(from, to, rate int64) int64 {
	if float64(from-to) <= hotGain*float64(rate) {
		return 0
	}
	return min(rate, from-to-rate)
}

func (j *job) coolReads() {
	from, hot := j.hottestStore(j.readFlow, ReadSource, ReadEven)
	if !hot {
		return
	}
	var region *cluster.Region
	var target *cluster.Store
	most := int64(0)
	for _, r := range j.hottest(from.ID(), cluster.ReadHot) {
		for _, p := range j.canLead(r) {
			s := j.pic.Store(p.StoreId)
			if s == nil || s == from || !j.leads(s) {
				continue
			}
			if g := gain(j.readFlow(from), j.readFlow(s), int64(r.Flow.Read.Bytes)); g > most {
				region, target, most = r, s, g
			}
		}
	}
	if region != nil {
		op := transfer("hot-read", operator.Medium, operator.HotRegion, region, target.ID())
		op.Brief = "transfer hot read leader" + op.Brief[len("transfer leader"):]
		if j.add(op) {
			j.choices.noteHot(ReadLeaderTarget, target)
		}
		return
	}
	j.moveHot(from, cluster.ReadHot, "hot-read", func(r *cluster.Region) int64 { return int64(r.Flow.Read.Bytes) }, j.readFlow)
}

func (j *job) coolWrites() {
	if from, hot := j.hottestStore(j.writeFlow, WriteSource, WriteEven); hot {
		j.moveHot(from, cluster.WriteHot, "hot-write", func(r *cluster.Region) int64 { return int64(r.Flow.Write.Bytes) }, j.writeFlow)
	}
}

// moveHot takes a hot region's peer from a store to where its traffic makes things most even.
func (j *job) moveHot(from *cluster.Store, role cluster.Role, desc string, rate func(*cluster.Region) int64, flow func(*cluster.Store) int64) {
	var region *cluster.Region
	var target *cluster.Store
	most := int64(0)
	for _, r := range j.hottest(from.ID(), role) {
		rules := j.rules.For(r.Meta.StartKey)
		for _, s := range j.alive() {
			if r.OnStore(s.ID()) != nil {
				continue
			}
			if g := gain(flow(from), flow(s), rate(r)); g > most && j.takes(s, r) && j.settled(r) && j.asGood(r, rules, from, s) {
				region, target, most = r, s, g
			}
		}
	}
	if region == nil {
		return
	}
	op, err := j.move(desc, operator.HotRegion, operator.Medium, region, from.ID(), target.ID())
	if err != nil {
		j.idle("%s", err.Error())
		return
	}
	if role == cluster.ReadHot && region.LeaderStore() == from.ID() {
		opts := j.options()
		opts.Lead = target.ID() // the reads move with the leader
		targets := present(region)
		for i := range targets {
			if targets[i].Store == from.ID() {
				targets[i].Store = target.ID()
			}
		}
		steps, err := operator.Build(region, targets, opts)
		if err != nil {
			return
		}
		op = operator.New(desc, fmt.Sprintf("mv peer: store [%d] to [%d]", from.ID(), target.ID()), operator.HotRegion, operator.Medium, region, steps...)
	}
	if j.add(op) {
		j.choices.noteHot(map[cluster.Role]HotEvent{cluster.ReadHot: ReadPeerTarget, cluster.WriteHot: WritePeerTarget}[role], target)
	}
}

// hottest are regions that have been hot for long enough on a store.
func (j *job) hottest(store uint64, role cluster.Role) []*cluster.Region {
	var list []*cluster.Region
	n := j.pic.CountOn(store, role)
	from := 0
	if n > hotLooked {
		from = j.rng.below(n)
	}
	for i := range min(n, hotLooked) {
		r := j.pic.RegionOn(store, role, (from+i)%n)
		heat := r.Flow.WriteHeat
		if role == cluster.ReadHot {
			heat = r.Flow.ReadHeat
		}
		if int(heat) >= j.cfg.HotRegionCacheHitsThreshold && !j.ctl.Has(r.ID()) {
			list = append(list, r)
		}
	}
	return list
}
