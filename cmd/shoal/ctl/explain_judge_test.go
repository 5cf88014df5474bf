package ctl

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// answered is a region with replicas in these roles on stores 1, 2, …, all of which answer; the first leads.
func answered(roles ...string) *explainedRegion {
	a := &explainedRegion{}
	a.Region.ID = 7
	for i, role := range roles {
		store := uint64(i + 1)
		a.Peers = append(a.Peers, schedule.PeerExplanation{ID: 10 + store, Store: store, Role: role, State: pdapi.Up})
		a.Replicas = append(a.Replicas, replica{StoreID: store, PeerID: 10 + store, IsLeader: i == 0, Term: 6})
	}
	return a
}

// TestJudge is what is made of what a region's stores say, where that is not easily brought about.
func TestJudge(t *testing.T) {
	voters := []string{"Voter", "Voter", "Voter"}
	silence := func(a *explainedRegion, stores ...int) {
		for _, s := range stores {
			a.Replicas[s-1].Error, a.Replicas[s-1].IsLeader = "connection refused", false
		}
	}
	for name, tc := range map[string]struct {
		roles         []string
		trouble       func(a *explainedRegion)
		verdict, text string
	}{
		"well":     {voters, func(*explainedRegion) {}, "is well: store 1 leads it", ""},
		"election": {voters, func(a *explainedRegion) { a.Replicas[0].IsLeader = false }, "is unavailable", "None of its replicas leads"},
		"frozen":   {voters, func(a *explainedRegion) { a.Replicas[0].Peer.MergeInto = 9 }, "is unavailable", "merged into region 9"},
		"differs":  {voters, func(a *explainedRegion) { a.Replicas[2].Peer.Consistency.Differs = true }, "not as safe", "store 3 was not like the leader's"},
		"installs": {voters, func(a *explainedRegion) { a.Replicas[2].Peer.Snapshot.Installing = 5 }, "is well", "Store 3 installs a snapshot"},
		"old leader": {voters, func(a *explainedRegion) {
			a.Replicas[2].IsLeader, a.Replicas[2].Term = true, 7
		}, "is well: store 3 leads it", ""},
		"still leads":  {voters, func(a *explainedRegion) { silence(a, 2, 3) }, "not as safe", "Store 1 says that it leads, but stores 2, 3 do not answer"},
		"no majority":  {voters, func(a *explainedRegion) { silence(a, 1, 3) }, "is unavailable", "stores 1, 3 do not"},
		"lone learner": {[]string{"Voter", "Learner", "Learner"}, func(a *explainedRegion) { silence(a, 2, 3) }, "not as safe", "store 2 as Up, but it does not tell"},
		"joint, old majority gone": {
			[]string{"IncomingVoter", "IncomingVoter", "Voter", "DemotingVoter", "DemotingVoter"},
			func(a *explainedRegion) { silence(a, 4, 5); a.Replicas[0].IsLeader = false }, "is unavailable", "stores 4, 5 do not",
		},
		"joint, both there": {
			[]string{"IncomingVoter", "IncomingVoter", "Voter", "DemotingVoter", "DemotingVoter"},
			func(a *explainedRegion) { silence(a, 5) }, "not as safe", "",
		},
		"only the scheduler is deaf": {voters, func(a *explainedRegion) {
			a.find(schedule.Finding{Level: schedule.Unavailable, Text: "It has lost its majority", Do: "start them"})
		}, "not as safe", "Yet store 1 leads it"},
	} {
		a := answered(tc.roles...)
		tc.trouble(a)
		a.judge()
		a.conclude(a.Findings)
		require.Contains(t, a.verdict(form.Escaped), tc.verdict, name)
		all := ""
		for _, f := range a.Findings {
			all += f.Text + "\n"
		}
		require.Contains(t, all, tc.text, name)
		if a.has(schedule.Unavailable) || a.has(schedule.Risk) {
			require.NotEmpty(t, a.Do, "%s: something is to be done", name)
		} else {
			require.Empty(t, a.Do, name)
		}
	}
}
