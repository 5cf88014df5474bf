package sim

// schedulerBugs are the deliberate bugs of what the schedulers decide: PITFALLS (d), P3 to P10. What hands out timestamps and ids is with the others.
var schedulerBugs = []bug{
	{
		name: "silent-learner-promoted", pitfall: "P8", file: "scheduler/schedule/check_rules.go",
		old:    `(k.r.DownSeconds(p.Id) > 0 || !k.isUp(p.StoreId)):`,
		broken: `p == nil:`,
		also: &bug{ // or the region's leader refuses it
			file: "kv/raftstore/machine/op_confchange.go", old: `		if 2*alive <= voters {`, broken: `		if 2*alive <= voters && voters == 0 {`,
		},
	},
	{
		name: "leftover-learner-stays", pitfall: "P5, P8", file: "scheduler/schedule/check_rules.go",
		old:    `	case why == "unfit" && !k.cfg.EnableRemoveExtraReplica:`,
		broken: `	case why == "unfit":`,
	},
	{
		name: "lost-store-not-replaced", pitfall: "P8", file: "scheduler/schedule/check_rules.go",
		old:    `	return state == cluster.Down || down >= time.Duration(k.cfg.MaxStoreDownTime)`,
		broken: `	return state == cluster.Tombstone`,
	},
	{
		name: "removed-before-added", pitfall: "P8", file: "scheduler/schedule/operator/build.go",
		old:    `	for _, p := range b.add {` + "\n" + `		b.steps = append(b.steps, AddLearner{p})`,
		broken: "\tfor i := 0; len(b.remove) > 0 && b.remove[i].StoreId != b.leader && b.remove[i].Role == 0; {\n\t\tb.steps, b.remove = append(b.steps, RemovePeer{b.remove[i]}), b.remove[1:]\n\t}\n\tfor _, p := range b.add {\n\t\tb.steps = append(b.steps, AddLearner{p})",
	},
	{
		name: "balance-without-tolerance", pitfall: "P7", file: "scheduler/schedule/score.go",
		old:    "	if c.leaderScore(from, -one) < c.leaderScore(to, +one) {\n		return false\n	}",
		broken: "	if c.leaderScore(from, 0) >= 0 {\n		return true\n	}",
	},
	{
		name: "rest-without-end", pitfall: "P7", file: "scheduler/schedule/sched.go",
		old:    `			w.rest = min(maxRest, w.rest*13/10)`,
		broken: `			w.rest = w.rest * 13 / 10`,
	},
	{
		name: "operator-waits-for-a-dead-store", pitfall: "P5", file: "scheduler/schedule/operator/controller.go",
		old:    `		case c.dead(o, r, now) != "":`,
		broken: `		case c.dead(o, nil, now) == "never":`,
	},
	{
		name: "undone-step-done-again", pitfall: "P5, S7", file: "scheduler/schedule/operator/operator.go",
		old:    `	case slices.Equal(o.seen, o.shapes[o.run.at+1]) && !slices.Equal(is, o.seen):`,
		broken: `	case len(is) == 1<<20:`,
	},
	{
		name: "stores-not-saved", pitfall: "P10", file: "scheduler/machine/stores.go",
		old:    `		Ops:  []Op{{storeKey(store.Id), value}},` + "\n" + `		take: func(now time.Time) { t.Picture.PutStore(store, now) },`,
		broken: `		Ops:  []Op{{"forgotten/" + storeKey(store.Id), value}},` + "\n" + `		take: func(now time.Time) { t.Picture.PutStore(store, now) },`,
	},
	{
		name: "hole-filled-with-the-past", pitfall: "P3, P4", file: "scheduler/cluster/region.go",
		old:    `last != nil && r.behind(last) {`,
		broken: `last != nil && r == last {`,
	},
	{
		name: "older-version-takes-the-range", pitfall: "P3", file: "scheduler/cluster/region.go",
		old:    `		if epoch.GetVersion() < other.Meta.GetRegionEpoch().GetVersion() {`,
		broken: `		if epoch.GetVersion() < 0*other.Meta.GetRegionEpoch().GetVersion() {`,
	},
	{
		name: "older-configuration-taken", pitfall: "P3", file: "scheduler/cluster/region.go",
		old:    `epoch.GetVersion() < old.GetVersion() || epoch.GetConfVer() < old.GetConfVer() || r.Term`,
		broken: `epoch.GetVersion() < old.GetVersion() || r.Term`,
	},
}
