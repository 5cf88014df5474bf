package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// RegionExplanation is what the scheduler can say of one region.
type RegionExplanation struct {
	// Leader is the store that led at the latest report; 0 if this scheduler had none.
	Leader   uint64            `json:"leader_store"`
	Peers    []PeerExplanation `json:"peers"`
	Findings []Finding         `json:"findings"`
	// Places are the stores without a replica, when one is missing.
	Places []Place `json:"places,omitempty"`
}

// PeerExplanation is one peer, and how its store is.
type PeerExplanation struct {
	ID    uint64 `json:"id"`
	Store uint64 `json:"store"`
	Role  string `json:"role"`
	// State is the store's; Heard is when it reported last, zero if it has not since this scheduler leads.
	State   string    `json:"state"`
	Address string    `json:"address"`
	Heard   time.Time `json:"heard,omitzero"`
	// Down is for how long the region's leader has not heard of the peer; Pending says that the peer is not caught up.
	Down    time.Duration `json:"down,omitempty"`
	Pending bool          `json:"pending,omitempty"`
}

// Place is a store that could have a replica.
type Place struct {
	Store uint64 `json:"store"`
	// Why is why it cannot; empty if it can.
	Why string `json:"why,omitempty"`
}

// ExplainRegion says why a region is as it is.
func (c *Coordinator) ExplainRegion(r *cluster.Region, now time.Time) RegionExplanation {
	e := RegionExplanation{Leader: r.LeaderStore(), Findings: []Finding{}}
	k := &ruleCheck{Coordinator: c, r: r, now: now, told: true}
	k.fit = placement.FitRegion(c.store, r, c.rules.For(r.Meta.StartKey), k.usable)
	lost := k.quorumFinding()
	e.Findings = append(e.Findings, lost...)
	for _, p := range r.Meta.Peers {
		e.Peers = append(e.Peers, k.explainPeer(p))
		for _, f := range k.peerFindings(p) {
			if len(lost) == 0 || !f.Since.IsZero() { // nothing is replaced while nobody can lead
				if len(lost) > 0 {
					f.Do = ""
				}
				e.Findings = append(e.Findings, f)
			}
		}
	}
	if rec, ok := c.ctl.Of(r.ID()); ok {
		e.Findings = append(e.Findings, inFlight(rec))
	} else {
		e.Findings = append(e.Findings, c.lastAttempt(r.ID())...)
		e.Findings = append(e.Findings, k.ruleFindings()...)
	}
	if k.lacks() != nil {
		e.Places = k.places(k.lacks())
	}
	e.Findings = append(e.Findings, k.shapeFindings()...)
	e.Findings = append(e.Findings, k.leadFindings()...)
	wants := slices.ContainsFunc(e.Findings, func(f Finding) bool { return f.Level != Note })
	for _, f := range c.standstill(now) {
		if !wants { // what keeps everything from being moved keeps nothing from this one
			f.Level = Note
		}
		e.Findings = append(e.Findings, f)
	}
	return e
}

func (k *ruleCheck) explainPeer(p *metapb.Peer) PeerExplanation {
	e := PeerExplanation{
		ID: p.Id, Store: p.StoreId, Role: p.Role.String(), State: "unknown", Pending: k.r.IsPending(p.Id),
		Down: time.Duration(k.r.DownSeconds(p.Id)) * time.Second,
	}
	if s := k.pic.Store(p.StoreId); s != nil {
		e.State, e.Heard, e.Address = s.State(k.now).String(), s.Heard, s.Meta.Address
	}
	return e
}

// quorumFinding is there when so many voters are on stores that do not report that no majority can be left.
func (k *ruleCheck) quorumFinding() []Finding {
	for _, leaving := range []metapb.PeerRole{metapb.PeerRole_DemotingVoter, metapb.PeerRole_IncomingVoter} { // a joint state needs both majorities
		var silent []*cluster.Store
		voters := 0
		for _, p := range k.r.Meta.Peers {
			if p.Role != metapb.PeerRole_Voter && p.Role != leaving {
				continue
			}
			voters++
			if s := k.pic.Store(p.StoreId); s != nil && (s.State(k.now) == cluster.Disconnected || s.State(k.now) == cluster.Down) {
				silent = append(silent, s)
			}
		}
		spare := voters - (voters/2 + 1)
		if len(silent) <= spare {
			continue
		}
		slices.SortFunc(silent, func(a, b *cluster.Store) int { return a.Heard.Compare(b.Heard) })
		var ids []uint64
		for _, s := range silent {
			ids = append(ids, s.ID())
		}
		slices.Sort(ids)
		return []Finding{{
			Level: Unavailable, Since: silent[spare].Heard,
			Text: fmt.Sprintf("It has lost its majority: of its %s %d are on stores that do not report, and %d must be there to lead it and to take writes",
				plural(voters, "replica"), len(silent), voters/2+1),
			Do: fmt.Sprintf("start %s of the stores %s again, with their data. If they are lost for good, `shoal ctl recover plan --lost-stores %s recover.json` shows what can be had back",
				be(len(silent)-spare, "one", fmt.Sprint(len(silent)-spare)), numbers(ids, ", "), numbers(ids, ",")),
		}}
	}
	return nil
}

// peerFindings say what is wrong with one peer.
func (k *ruleCheck) peerFindings(p *metapb.Peer) []Finding {
	s := k.pic.Store(p.StoreId)
	down := time.Duration(k.r.DownSeconds(p.Id)) * time.Second
	if s == nil {
		return []Finding{{Level: Risk, Text: fmt.Sprintf("Store %d has one of its replicas, and nobody knows that store", p.StoreId)}}
	}
	switch state := s.State(k.now); {
	case state == cluster.Offline:
		return []Finding{{Level: Waits, Text: fmt.Sprintf("Store %d is being drained: its replica is to move to another store", p.StoreId)}}
	case state == cluster.Disconnected || state == cluster.Down:
		return k.silent(p, s, state, down)
	case down > 0:
		return []Finding{{
			Level: Risk, Since: k.now.Add(-down),
			Text: fmt.Sprintf("The leader does not hear of the replica on store %d, although that store reports to the scheduler", p.StoreId),
			Do:   fmt.Sprintf("look at the network between stores %d and %d, and at the log of store %d", k.r.LeaderStore(), p.StoreId, p.StoreId),
		}}
	case k.r.IsPending(p.Id):
		return []Finding{{Level: Waits, Text: fmt.Sprintf("The replica on store %d is not caught up yet; it is sent what it lacks, by log or by snapshot", p.StoreId)}}
	}
	return nil
}

// silent is about a peer whose store does not report, and what becomes of it.
func (k *ruleCheck) silent(p *metapb.Peer, s *cluster.Store, state cluster.State, down time.Duration) []Finding {
	f := Finding{
		Level: Risk, Since: s.Heard,
		Text: fmt.Sprintf("Store %d (%s), which has one of its replicas, is %s: it does not report", p.StoreId, s.Meta.Address, state),
		Do:   fmt.Sprintf("start store %d again", p.StoreId),
	}
	if s.Heard.IsZero() {
		f.Since = s.Known
		f.Text += " to the scheduler that leads now"
	}
	next := Finding{Level: Risk}
	patience := time.Duration(k.cfg.MaxStoreDownTime)
	switch {
	case !k.cfg.EnableRemoveDownReplica:
		next.Text = fmt.Sprintf("The replica on store %d is not replaced: enable-remove-down-replica is false", p.StoreId)
		next.Do = "let it be replaced: `shoal ctl config set enable-remove-down-replica true`"
	case !k.usable(p):
		next.Text = fmt.Sprintf("The replica on store %d is to be replaced: it has been silent for longer than max-store-down-time (%s)", p.StoreId, patience)
	case down > 0:
		next.Until = k.now.Add(max(0, min(patience-down, patience-k.now.Sub(f.Since))))
		next.Text = fmt.Sprintf("The replica on store %d is waited for as long as max-store-down-time (%s) says; then it is replaced", p.StoreId, patience)
		f.Do += ". If it is lost, nothing need be done: its replicas are replaced"
	default:
		next.Text = fmt.Sprintf("The leader has not said yet that it misses the replica on store %d", p.StoreId)
	}
	return []Finding{f, next}
}

// lacks is the first rule that lacks a peer, or nil.
func (k *ruleCheck) lacks() *placement.RuleFit {
	for i := range k.fit.Rules {
		if k.fit.Rules[i].Lacks() > 0 {
			return &k.fit.Rules[i]
		}
	}
	return nil
}

// places judges the stores for a rule's next peer.
func (k *ruleCheck) places(rf *placement.RuleFit) (list []Place) {
	victim, _ := k.victim()
	for _, s := range k.pic.Stores() {
		if s.Meta.State != metapb.StoreState_Tombstone && k.r.OnStore(s.ID()) == nil {
			list = append(list, Place{Store: s.ID(), Why: saysUnfit(k.unfit(rf, s, k.others(rf, victim)), rf, s)})
		}
	}
	return list
}

// ruleFindings are about what the rules ask for and the region does not have.
func (k *ruleCheck) ruleFindings() (list []Finding) {
	since := func(text string) time.Time {
		if r, ok := k.Reason(k.r.ID()); ok && r.Text == text {
			return r.Since
		}
		return time.Time{}
	}
	if rf := k.lacks(); rf != nil {
		victim, _ := k.victim()
		why, _ := k.fillWaits(rf, victim)
		noted := why
		if why == "" {
			if to, reason, _ := k.choose(rf, victim); to == nil {
				why, noted = "no store can take another: "+reason, nowhere(rf, reason)
			}
		}
		f := Finding{
			Level: Risk, Since: since(noted), Do: remedy(why),
			Text: fmt.Sprintf("Rule %s asks for %s%s, and %d can be counted on", rf.Rule.Name(), plural(rf.Rule.Count, string(rf.Rule.Role)), constrained(rf.Rule), len(rf.Peers)),
		}
		if why == "" {
			f.Text += "; another replica is about to be made"
		} else {
			f.Text += ": " + why
		}
		return append(list, f)
	}
	if r, ok := k.Reason(k.r.ID()); ok {
		return append(list, Finding{Level: Waits, Since: r.Since, Text: fmt.Sprintf("%s waits: %s", upper(r.Who), r.Text), Do: remedy(r.Text)})
	}
	return nil
}

// constrained names what a rule asks of stores.
func constrained(r *placement.Rule) string {
	var parts []string
	for _, c := range r.LabelConstraints {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Key, c.Op, strings.Join(c.Values, "|"))))
	}
	text := ""
	if len(parts) > 0 {
		text = " on stores with " + strings.Join(parts, ", ")
	}
	if r.IsolationLevel != "" {
		text += " each in another " + r.IsolationLevel
	}
	return text
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// lastAttempt is about the latest operator of a region, if it failed.
func (c *Coordinator) lastAttempt(region uint64) []Finding {
	for _, rec := range c.ctl.History(0) {
		if rec.Region != region {
			continue
		}
		if rec.Status == operator.Success {
			return nil
		}
		return []Finding{{
			Level: Note, Since: rec.Finished,
			Text: fmt.Sprintf("The latest change of it, %s (%s), ended with %s: %s", rec.Desc, rec.Brief, rec.Status, rec.Why),
		}}
	}
	return nil
}

// shapeFindings are about joint states and merges.
func (k *ruleCheck) shapeFindings() (list []Finding) {
	if k.r.InJoint() && !k.ctl.Has(k.r.ID()) {
		list = append(list, Finding{Level: Waits, Text: "It is in a joint state: the change of several of its peers is not over. It is left as soon as its leader reports"})
	}
	if keys := k.rules.Boundaries(k.r.Meta.StartKey, k.r.Meta.EndKey); len(keys) > 0 {
		list = append(list, Finding{Level: Waits, Text: fmt.Sprintf("Different placement rules hold for parts of it: it is to be split at %s", plural(len(keys), "key"))})
	}
	if text, until := k.staysSmall(); text != "" {
		list = append(list, Finding{Level: Note, Until: until, Text: fmt.Sprintf("It is small (%d MiB, about %d keys), and is not merged with a neighbour: %s", k.r.Load.Size>>20, k.r.Load.Keys, text)})
	}
	return list
}

// staysSmall says why a small region is not merged, and until when if that is known; empty for one that is large, alone, or about to be.
func (k *ruleCheck) staysSmall() (why string, until time.Time) {
	interval := time.Duration(k.cfg.SplitMergeInterval)
	if !k.small(k.r) || k.pic.RegionCount() < 2 || k.ctl.Has(k.r.ID()) || k.r.Leader == nil {
		return "", until
	}
	at, split := k.split[k.r.ID()]
	switch {
	case k.cfg.MaxMergeRegionSize == 0:
		return "max-merge-region-size is 0", until
	case k.cfg.MergeScheduleLimit == 0:
		return "merge-schedule-limit is 0", until
	case k.now.Sub(k.born) < interval:
		return fmt.Sprintf("the scheduler has not led for split-merge-interval (%s) yet", interval), k.born.Add(interval)
	case split && k.now.Sub(at) < interval:
		return fmt.Sprintf("it was split off less than split-merge-interval (%s) ago", interval), at.Add(interval)
	case !k.settled(k.r):
		return "it is not well itself", until
	case k.ctl.Room(operator.MergeRegions) < 2:
		return "as many merges are under way as may be (merge-schedule-limit)", until
	}
	var whys []string
	for _, n := range []*cluster.Region{k.pic.RegionAfter(k.r), k.pic.RegionBefore(k.r.Meta.StartKey)} {
		if n == nil {
			continue
		}
		at, split := k.split[n.ID()]
		switch {
		case split && k.now.Sub(at) < interval:
			whys = append(whys, fmt.Sprintf("region %d was split less than split-merge-interval (%s) ago", n.ID(), interval))
		case !k.settled(n):
			whys = append(whys, fmt.Sprintf("region %d is not well, or being changed", n.ID()))
		case !k.fits(k.r, n):
			whys = append(whys, fmt.Sprintf("with region %d it would be too large, or other placement rules hold there", n.ID()))
		default:
			return "", until
		}
	}
	return strings.Join(whys, "; "), until
}

// leadFindings are about who leads.
func (k *ruleCheck) leadFindings() []Finding {
	lead := k.r.LeaderStore()
	if lead == 0 {
		return []Finding{{Level: Waits, Since: k.born, Text: "No leader has reported it since this scheduler leads; what is known of it is what the scheduler before had written down"}}
	}
	why := k.sheds(lead)
	if why == Open {
		return nil
	}
	f := Finding{Level: Waits, Text: fmt.Sprintf("Store %d leads it and is not to: %s", lead, why.says(k.pic.Store(lead)))}
	var others []string
	able := map[uint64]bool{}
	for _, p := range k.canLead(k.r) {
		able[p.StoreId] = true
	}
	for _, p := range k.r.Meta.Peers {
		s := k.pic.Store(p.StoreId)
		switch {
		case p.StoreId == lead || s == nil:
		case !able[p.StoreId]:
			others = append(others, fmt.Sprintf("store %d: its replica is down, not caught up, or does not vote", p.StoreId))
		default:
			if why := k.mayLead(s, k.now).says(s); why != "" {
				others = append(others, fmt.Sprintf("store %d: %s", p.StoreId, why))
			} else {
				f.Text += fmt.Sprintf(". Store %d can take the lead", p.StoreId)
				if k.ctl.Room(operator.Leader) <= 0 {
					f.Text += ", but as many leaders are being moved as may be (leader-schedule-limit)"
					f.Do = "let more leaders move at once: `shoal ctl config set leader-schedule-limit 4`"
				}
				return []Finding{f}
			}
		}
	}
	f.Text += ". No other can take the lead: " + strings.Join(others, "; ")
	f.Do = "let another store of the region lead: `shoal ctl scheduler show` names those that are kept from it"
	return []Finding{f}
}
