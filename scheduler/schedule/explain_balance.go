package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// BalanceExplanation is what the scheduler can say of how even the stores are, and of what is done about it.
type BalanceExplanation struct {
	// LeadersEven and RegionsEven say that the stores differ by no more than is tolerated.
	LeadersEven bool            `json:"leaders_even"`
	RegionsEven bool            `json:"regions_even"`
	Stores      []StoreStanding `json:"stores"`
	// InFlight are the operators by kind.
	InFlight []KindCount `json:"in_flight,omitempty"`
	Findings []Finding   `json:"findings"`
}

// StoreStanding is how a store compares with others.
type StoreStanding struct {
	Store       uint64  `json:"store"`
	State       string  `json:"state"`
	Leaders     int     `json:"leaders"`
	Regions     int     `json:"regions"`
	LeaderScore float64 `json:"leader_score"`
	RegionScore float64 `json:"region_score"`
	// Used is the full part of the disk, from 0 to 1.
	Used float64 `json:"used"`
	// NoLeader and NoRegion say why the store gets no more leaders or regions; empty if it may.
	NoLeader string `json:"no_leader,omitempty"`
	NoRegion string `json:"no_region,omitempty"`
}

// KindCount is how many operators of a kind there are, and may be.
type KindCount struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Limit int    `json:"limit,omitempty"`
}

// mostWaiting is how many reasons of waiting regions are told apart.
const mostWaiting = 5

// ExplainBalance says how even the stores are, and why nothing moves if they are not.
func (c *Coordinator) ExplainBalance(now time.Time) BalanceExplanation {
	e := BalanceExplanation{Findings: c.standstill(now), InFlight: c.kindCounts()}
	for _, s := range c.alive() {
		t := c.pic.Tally(s.ID())
		e.Stores = append(e.Stores, StoreStanding{
			Store: s.ID(), State: s.State(now).String(), Leaders: t.Leaders, Regions: t.Regions,
			LeaderScore: c.leaderScore(s, 0), RegionScore: c.regionScore(s, 0), Used: s.Used(),
			NoLeader: c.mayLead(s, now).says(s), NoRegion: c.mayTake(s, &cluster.Region{}, now).says(s),
		})
	}
	leaders, even := c.leaderGap(now)
	e.LeadersEven = even
	regions, even := c.regionGap(now)
	e.RegionsEven = even
	e.Findings = append(e.Findings, leaders...)
	e.Findings = append(e.Findings, regions...)
	e.Findings = append(e.Findings, c.schedulerFindings(now, e.LeadersEven, e.RegionsEven)...)
	e.Findings = append(e.Findings, c.storeFindings(now)...)
	e.Findings = append(e.Findings, c.waiting()...)
	return e
}

// storeFindings are about stores that do not take part as others do.
func (c *Coordinator) storeFindings(now time.Time) (list []Finding) {
	for _, s := range c.pic.Stores() {
		t := c.pic.Tally(s.ID())
		switch state := s.State(now); {
		case state == cluster.Offline:
			list = append(list, Finding{Level: Note, Text: fmt.Sprintf("Store %d is being drained: %s left, it leads %d", s.ID(), plural(t.Regions, "region"), t.Leaders)})
		case state == cluster.Disconnected || state == cluster.Down:
			list = append(list, Finding{
				Level: Risk, Since: s.Heard, Do: fmt.Sprintf("start store %d again; `shoal ctl explain region ID` tells what becomes of its regions", s.ID()),
				Text: fmt.Sprintf("Store %d is %s: it does not report, and gets nothing; it has %s", s.ID(), state, plural(t.Regions, "region")),
			})
		}
	}
	return list
}

// kindCounts are the operators in flight by kind, and the limits that are reached.
func (c *Coordinator) kindCounts() (list []KindCount) {
	counts := map[operator.Kind]int{}
	for _, rec := range c.ctl.Running() {
		counts[rec.Kind]++
	}
	for _, kind := range sortedKeys(counts) {
		k := KindCount{Kind: kind.String(), Count: counts[kind]}
		if limit := k.Count + c.ctl.Room(kind); limit < 1<<30 {
			k.Limit = limit
		}
		list = append(list, k)
	}
	return list
}

// leaderGap says whether leaders are even, and if not between whom.
func (c *Coordinator) leaderGap(now time.Time) ([]Finding, bool) {
	stores := ranked(c.alive(), func(s *cluster.Store) float64 { return c.leaderScore(s, 0) })
	if len(stores) < 2 {
		return nil, true
	}
	from, to := stores[0], stores[len(stores)-1]
	r := &cluster.Region{}
	if t := c.pic.Tally(from.ID()); t.Leaders > 0 {
		r.Load.Size = t.LeaderSize / uint64(t.Leaders)
	}
	if !c.evensLeaders(from, to, r) {
		return nil, true
	}
	f := Finding{
		Level: Waits,
		Text:  fmt.Sprintf("Leaders are uneven: store %d leads %d regions, store %d leads %d", from.ID(), c.pic.Tally(from.ID()).Leaders, to.ID(), c.pic.Tally(to.ID()).Leaders),
	}
	switch why := c.mayLead(to, now).says(to); {
	case why != "":
		f.Text += fmt.Sprintf(". Store %d gets no leaders: %s", to.ID(), why)
		f.Do = c.leadRemedy(to, now)
		f.Since = silentSince(to, now)
	case c.granted(from.ID()):
		f.Text += fmt.Sprintf(". Store %d keeps all its leaders (%s)", from.ID(), GrantLeader)
		f.Do = fmt.Sprintf("take that back: `shoal ctl scheduler remove grant-leader-scheduler-%d`", from.ID())
	case c.pic.CountOn(to.ID(), cluster.Follows) == 0:
		f.Text += fmt.Sprintf(". Store %d has no replica that could lead: regions must come to it first", to.ID())
	}
	return []Finding{f}, false
}

// leadRemedy is what to do about a store that gets no leaders.
func (c *Coordinator) leadRemedy(s *cluster.Store, now time.Time) string {
	why := c.mayLead(s, now).says(s)
	switch {
	case strings.Contains(why, EvictLeader):
		return fmt.Sprintf("let it lead again: `shoal ctl scheduler remove evict-leader-scheduler-%d`", s.ID())
	case strings.Contains(why, EvictSlow):
		return fmt.Sprintf("look at the disk of store %d: it leads again when it is not slow any more", s.ID())
	}
	return remedy(why)
}

// silentSince is since when a store that is not Up has not reported.
func silentSince(s *cluster.Store, now time.Time) time.Time {
	if state := s.State(now); state == cluster.Disconnected || state == cluster.Down {
		return s.Heard
	}
	return time.Time{}
}

// regionGap says whether regions are even, and if not between whom.
func (c *Coordinator) regionGap(now time.Time) ([]Finding, bool) {
	stores := ranked(c.alive(), func(s *cluster.Store) float64 { return c.regionScore(s, 0) })
	if len(stores) < 2 {
		return nil, true
	}
	from, to := stores[0], stores[len(stores)-1]
	t := c.pic.Tally(from.ID())
	r := &cluster.Region{}
	if t.Regions > 0 {
		r.Load.Size = t.RegionSize / uint64(t.Regions)
	}
	if !c.evens(from, to, r) {
		return nil, true
	}
	f := Finding{
		Level: Waits,
		Text: fmt.Sprintf("Data is uneven: store %d has %d MiB in %s, store %d has %d MiB in %s",
			from.ID(), t.RegionSize>>20, plural(t.Regions, "region"), to.ID(), c.pic.Tally(to.ID()).RegionSize>>20, plural(c.pic.Tally(to.ID()).Regions, "region")),
	}
	heavy := &cluster.Region{Load: cluster.Load{Size: 1 << 30}} // counts against the stores' limits
	switch why := c.mayTake(to, &cluster.Region{}, now).says(to); {
	case why != "":
		f.Text += fmt.Sprintf(". Store %d gets no regions: %s", to.ID(), why)
		f.Do, f.Since = remedy(why), silentSince(to, now)
	case !c.ctl.MayAdd(to.ID(), heavy, now):
		f.Text += fmt.Sprintf(". Store %d has had as many peers as may come in a minute (store limit add-peer)", to.ID())
		f.Do = "wait, or let more come: " + fmt.Sprintf("`shoal ctl store limit %d 60`", to.ID())
	case !c.ctl.MayRemove(from.ID(), heavy, now):
		f.Text += fmt.Sprintf(". From store %d as many peers have gone as may in a minute (store limit remove-peer)", from.ID())
		f.Do = "wait, or let more go: " + fmt.Sprintf("`shoal ctl store limit %d 60`", from.ID())
	}
	return []Finding{f}, false
}

// balancer is a scheduler that evens something out, the operators that it makes, and the limit on them.
type balancer struct {
	name, what, item string
	kind             operator.Kind
	limit, usual     int
	even             bool
}

// schedulerFindings are about the schedulers that should even things out, and those that keep them from it.
func (c *Coordinator) schedulerFindings(now time.Time, leadersEven, regionsEven bool) (list []Finding) {
	usual := DefaultConfig()
	for _, b := range []balancer{
		{BalanceLeader, "leaders", "leader-schedule-limit", operator.Leader, c.cfg.LeaderScheduleLimit, usual.LeaderScheduleLimit, leadersEven},
		{BalanceRegion, "regions", "region-schedule-limit", operator.Region, c.cfg.RegionScheduleLimit, usual.RegionScheduleLimit, regionsEven},
		{HotRegion, "traffic", "hot-region-schedule-limit", operator.HotRegion, c.cfg.HotRegionScheduleLimit, usual.HotRegionScheduleLimit, true},
	} {
		list = append(list, c.balancerFinding(b, now)...)
	}
	for _, w := range c.workers {
		switch w.cfg.Name {
		case EvictLeader:
			for _, id := range w.cfg.Stores {
				f := Finding{Level: Note, Text: fmt.Sprintf("Store %d is to lead nothing (%s); it leads %s", id, EvictLeader, plural(c.pic.Tally(id).Leaders, "region"))}
				if c.ctl.Room(operator.Leader) <= 0 && c.pic.Tally(id).Leaders > 0 {
					f.Text += ", and no more leaders may be moved at once (leader-schedule-limit)"
				}
				list = append(list, f)
			}
		case GrantLeader:
			list = append(list, Finding{Level: Note, Text: fmt.Sprintf("Stores %v are to lead all that they can (%s)", w.cfg.Stores, GrantLeader)})
		}
	}
	if slow := c.SlowStore(); slow != 0 {
		list = append(list, Finding{Level: Waits, Text: fmt.Sprintf("Store %d is slow and is to lead nothing (%s)", slow, EvictSlow), Do: fmt.Sprintf("look at the disk of store %d", slow)})
	}
	return list
}

// balancerFinding is why a balancer does nothing; nothing when it works, or has looked and found things even.
func (c *Coordinator) balancerFinding(b balancer, now time.Time) []Finding {
	i := slices.IndexFunc(c.workers, func(w *worker) bool { return w.cfg.Name == b.name })
	f := Finding{Level: Note}
	if !b.even {
		f.Level = Waits
	}
	short := strings.TrimSuffix(b.name, "-scheduler")
	switch {
	case i < 0:
		f.Text = fmt.Sprintf("Nothing evens out %s: %s does not run, because it was removed", b.what, b.name)
		f.Do = fmt.Sprintf("start it: `shoal ctl scheduler add %s`", short)
	case now.Before(c.workers[i].paused):
		f.Text, f.Until = fmt.Sprintf("Nothing evens out %s: %s is paused", b.what, b.name), c.workers[i].paused
		f.Do = fmt.Sprintf("let it go on: `shoal ctl scheduler resume %s`", short)
	case b.limit == 0:
		f.Text = fmt.Sprintf("Nothing evens out %s: %s is 0", b.what, b.item)
		f.Do = fmt.Sprintf("raise it: `shoal ctl config set %s %d`", b.item, b.usual)
	case b.even || c.cfg.HaltScheduling:
		return nil
	case c.ctl.Room(b.kind) <= 0:
		f.Text = fmt.Sprintf("As many %s are being moved as may be: %s is %d", b.what, b.item, b.limit)
		f.Do = fmt.Sprintf("wait, or raise it: `shoal ctl config set %s %d`", b.item, 2*b.limit)
	case c.workers[i].why == "":
		return nil
	default:
		f.Text, f.Since = fmt.Sprintf("%s did nothing when it last looked: %s", upper(b.name), c.workers[i].why), c.workers[i].looked
		f.Do = remedy(c.workers[i].why)
	}
	if b.even {
		f.Do = ""
	}
	return []Finding{f}
}

// waiting are the regions that are not as they should be, by the reason.
func (c *Coordinator) waiting() (list []Finding) {
	type group struct {
		text, do string
		since    time.Time
		regions  []uint64
	}
	groups := map[string]*group{}
	for _, r := range c.Reasons() {
		g := groups[r.Text]
		if g == nil {
			g = &group{text: r.Text, do: remedy(r.Text), since: r.Since}
			groups[r.Text] = g
		}
		g.regions = append(g.regions, r.Region)
		if r.Since.Before(g.since) {
			g.since = r.Since
		}
	}
	for _, text := range sortedKeys(groups) {
		g := groups[text]
		which := numbers(g.regions[:min(3, len(g.regions))], ", ")
		if len(g.regions) > 3 {
			which += ", …"
		}
		list = append(list, Finding{Level: Waits, Since: g.since, Do: g.do, Text: fmt.Sprintf("%s (%s) %s: %s", plural(len(g.regions), "region"), which, be(len(g.regions), "waits", "wait"), g.text)})
	}
	slices.SortStableFunc(list, func(a, b Finding) int { return cmp.Compare(a.Since.UnixNano(), b.Since.UnixNano()) })
	if len(list) > mostWaiting {
		rest := len(list) - mostWaiting
		list = append(list[:mostWaiting], Finding{Level: Note, Text: fmt.Sprintf("Regions wait for %d more reasons: `shoal ctl region check` finds them", rest)})
	}
	return list
}
