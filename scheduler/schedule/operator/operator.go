package operator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Kind says what an operator counts as when limits are looked at.
type Kind uint8

// The kinds of operators.
const (
	Admin Kind = iota
	Leader
	Region
	Replica
	HotRegion
	MergeRegions
	SplitRegions
	Scatter
	kinds
)

// String is the kind's name as the family's tools print it.
func (k Kind) String() string {
	return [...]string{"admin", "leader", "region", "replica", "hot-region", "merge", "split", "scatter"}[k]
}

// KindNames lists the names of all kinds.
func KindNames() []string {
	var names []string
	for k := range kinds {
		names = append(names, k.String())
	}
	return names
}

// Priority says which operator may take the place of which.
type Priority uint8

// The priorities. What repairs goes before what balances, and what an operator of the cluster asks for before both.
const (
	Low Priority = iota
	Medium
	High
	Urgent
)

// String is the priority's name.
func (p Priority) String() string { return [...]string{"low", "medium", "high", "urgent"}[p] }

// Status is how far an operator has come.
type Status uint8

// The states of an operator. All but the first are final.
const (
	Started Status = iota
	Success
	Canceled
	Timeout
	Replaced
)

// String is the state's name.
func (s Status) String() string {
	return [...]string{"STARTED", "SUCCESS", "CANCEL", "TIMEOUT", "REPLACE"}[s]
}

// Operator changes one region in steps.
type Operator struct {
	// Desc is who made it, for instance "balance-region"; Brief says what it does.
	Desc, Brief string
	Kind        Kind
	Priority    Priority
	Region      uint64
	Steps       []Step

	epoch *metapb.RegionEpoch
	// shapes are the region's members before the first step, and after each.
	shapes []members
	// seen and confVer are the members and the version of them in the latest report.
	seen    members
	confVer uint64
	// pair is the other half of a merge.
	pair *Operator
	run  run
}

// run is how an operator is doing.
type run struct {
	started, since, finished, told time.Time
	// at is the step it is at.
	at     int
	status Status
	why    string
	// took is how long the steps took that are done.
	took []time.Duration
}

// New makes an operator for a region as it is in the picture.
func New(desc, brief string, kind Kind, priority Priority, r *cluster.Region, steps ...Step) *Operator {
	o := &Operator{
		Desc: desc, Brief: brief, Kind: kind, Priority: priority, Region: r.ID(), Steps: steps,
		epoch: r.Meta.RegionEpoch, seen: membersOf(r), confVer: r.Meta.RegionEpoch.GetConfVer(),
	}
	o.shapes = append(o.shapes, o.seen)
	for _, s := range steps {
		o.shapes = append(o.shapes, s.after(o.shapes[len(o.shapes)-1]))
	}
	return o
}

// Pair makes one of the two operators of a merge end when the other fails.
func Pair(a, b *Operator) { a.pair, b.pair = b, a }

// String describes the operator and its steps.
func (o *Operator) String() string {
	var steps []string
	for i, s := range o.Steps {
		steps = append(steps, fmt.Sprintf("%d:{%s}", i, s))
	}
	return fmt.Sprintf("%s {%s} (kind:%s, region:%d(%d, %d), currentStep:%d, steps:[%s])",
		o.Desc, o.Brief, o.Kind, o.Region, o.epoch.GetVersion(), o.epoch.GetConfVer(), o.run.at, strings.Join(steps, ", "))
}

// judge goes on to the first step that is not done, and ends the operator when there is none, or when the region is not as any
// step leaves it.
func (o *Operator) judge(r *cluster.Region, now time.Time) {
	for o.run.at < len(o.Steps) && o.Steps[o.run.at].Done(r) {
		o.run.took = append(o.run.took, now.Sub(o.run.since))
		o.run.at++
		o.run.since, o.run.told = now, time.Time{}
	}
	if o.run.at == len(o.Steps) {
		o.end(Success, "", now)
		return
	}
	is, confVer := membersOf(r), r.Meta.RegionEpoch.GetConfVer()
	merge, merges := o.Steps[o.run.at].(Merge)
	switch {
	case !slices.Equal(is, o.shapes[o.run.at]) && !slices.Equal(is, o.shapes[o.run.at+1]):
		o.end(Canceled, "the region's peers were changed by somebody else", now)
	case slices.Equal(o.seen, o.shapes[o.run.at+1]) && !slices.Equal(is, o.seen):
		// A peer that was added and removed again is buried where it was: its id is of no use any more (S7). Found by the simulator.
		o.end(Canceled, "what the step had done was undone by somebody else", now)
	case merges && !merge.Passive && r.Meta.RegionEpoch.GetVersion() > o.epoch.GetVersion()+1:
		o.end(Canceled, "the merge was taken back", now)
	case merges && !merge.Passive && o.pair != nil && o.pair.ended():
		// Who was taken in does not report any more.
		o.end(Canceled, "the target has changed without taking the region in", now)
	case confVer != o.confVer && slices.Equal(is, o.seen) && !merges:
		o.end(Canceled, "the region's peers were changed, and changed back", now)
	}
	o.seen, o.confVer = is, confVer
}

func (o *Operator) end(s Status, why string, now time.Time) {
	if o.run.finished.IsZero() {
		o.run.status, o.run.why, o.run.finished = s, why, now
	}
}

func (o *Operator) ended() bool { return !o.run.finished.IsZero() }

// command is what to tell the region's leader now, or nil.
func (o *Operator) command(r *cluster.Region, now time.Time) *Command {
	if o.ended() || r.Leader == nil {
		return nil
	}
	order := o.Steps[o.run.at].Order(r)
	if order == nil {
		return nil
	}
	c := &Command{
		Region: o.Region, Epoch: r.Meta.RegionEpoch, Leader: r.Leader, Order: order, First: o.run.told.IsZero(),
		For: o.Desc + " {" + o.Brief + "}: " + o.Steps[o.run.at].String(),
	}
	o.run.told = now
	return c
}

// Record is an operator as it is shown. Its instants are of the monotonic clock.
type Record struct {
	Region                uint64
	Desc, Brief           string
	Kind                  Kind
	Priority              Priority
	Version, ConfVer      uint64
	Steps                 []string
	Current               int
	Status                Status
	Why                   string
	Started, At, Finished time.Time
	// Took is how long the steps took that are done.
	Took []time.Duration
	// From and To are the stores that a peer, or if none moves the lead, goes from and comes to; 0 for none.
	From, To uint64
}

func (o *Operator) record() Record {
	rec := Record{
		Region: o.Region, Desc: o.Desc, Brief: o.Brief, Kind: o.Kind, Priority: o.Priority,
		Version: o.epoch.GetVersion(), ConfVer: o.epoch.GetConfVer(), Current: o.run.at, Status: o.run.status, Why: o.run.why,
		Started: o.run.started, At: o.run.since, Finished: o.run.finished, Took: slices.Clone(o.run.took),
	}
	rec.From, rec.To = o.way()
	for _, s := range o.Steps {
		rec.Steps = append(rec.Steps, s.String())
	}
	return rec
}

func (o *Operator) way() (from, to uint64) {
	var lead TransferLeader
	for _, s := range o.Steps {
		switch s := s.(type) {
		case AddLearner:
			to = s.Peer.StoreId
		case AddPeer:
			to = s.Peer.StoreId
		case RemovePeer:
			from = s.Peer.StoreId
		case TransferLeader:
			lead = s
		}
	}
	if from == 0 && to == 0 {
		return lead.From, lead.To
	}
	return from, to
}
