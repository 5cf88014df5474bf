package server

import (
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// view is a term as the dashboard sees it.
type view struct {
	*term
	node *meta.Node
}

// view is nil unless this member leads.
func (s *Server) view() dashboard.Source {
	t, node := s.term.Load(), s.node.Load()
	if t == nil || node == nil {
		return nil
	}
	return view{t, node}
}

// Overview implements dashboard.Source.
func (v view) Overview(history int) dashboard.Overview {
	at := v.moment()
	o := dashboard.Overview{
		Now: at.Now, Wall: at.Wall, ClusterID: v.clusterID, Leader: v.node.Self().Name,
	}
	for _, m := range v.node.Members() {
		o.Members = append(o.Members, dashboard.Member{Name: m.Name, URLs: m.ClientURLs})
	}
	v.desk.mu.RLock()
	defer v.desk.mu.RUnlock()
	pic, sched := v.machine.Picture, v.machine.Schedule
	o.Version, o.Regions, o.Heard = pic.Version(), pic.RegionCount(), pic.Heard()
	o.Halted = sched.Config().HaltScheduling
	o.Running, o.Ended = sched.Operators().Running(), sched.Operators().History(history)
	for _, s := range pic.Stores() {
		o.Stores = append(o.Stores, dashboard.Store{Store: s, Tally: pic.Tally(s.ID())})
	}
	return o
}

// Regions implements dashboard.Source.
func (v view) Regions(start, end []byte) []*cluster.Region {
	return read(v.term, func(p *cluster.Picture) []*cluster.Region { return p.Scan(start, end, scanPage) })
}

// Region implements dashboard.Source.
func (v view) Region(id uint64) (dashboard.Region, bool) {
	at := v.moment()
	op, hasOp := v.operator(id)
	v.desk.mu.RLock()
	defer v.desk.mu.RUnlock()
	r := dashboard.Region{Region: v.machine.Picture.Region(id), Now: at.Now, Wall: at.Wall}
	if r.Region == nil {
		return r, false
	}
	if hasOp {
		r.Operator = &op
	}
	if reason, ok := v.machine.Schedule.Reason(id); ok {
		r.Reason = &reason
	}
	return r, true
}

// Events implements dashboard.Source.
func (v view) Events(limit int) (time.Time, []machine.Event) {
	v.desk.mu.RLock()
	defer v.desk.mu.RUnlock()
	return v.machine.Began(), v.machine.Events(limit)
}
