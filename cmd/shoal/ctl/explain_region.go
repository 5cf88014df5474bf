package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// explainedRegion is the whole answer about a region: the scheduler's, with what its stores add.
type explainedRegion struct {
	account
	pdapi.ExplainedRegion
	// Leads is the store that says that it leads; 0 if none does.
	Leads    uint64    `json:"leads"`
	Replicas []replica `json:"replicas"`
}

func (o *options) explainRegion(ctx context.Context, w io.Writer, api *pdapi.Client, out form.Form, ask func() (pdapi.ExplainedRegion, error)) error {
	e, err := ask()
	if err != nil {
		return err
	}
	servers, err := findStatusServers(ctx, api)
	if err != nil {
		return err
	}
	a := explainedRegion{ExplainedRegion: e, Replicas: servers.replicas(ctx, e.Region)}
	a.judge()
	a.conclude(a.Findings)
	a.Verdict = a.verdict(out)
	return o.narrate(w, a, a.account, a.Findings, a.Now, func(t table.Writer) { explainedRows(t, &a) })
}

// judge adds to the findings what the stores say.
func (a *explainedRegion) judge() {
	leader := a.leader()
	if leader != nil {
		a.Leads = leader.StoreID
	}
	switch missing := a.majorityMissing(); {
	case a.has(schedule.Unavailable) && leader != nil && !missing:
		a.soften(fmt.Sprintf(". Yet store %d leads it and a majority answers: those stores live, and only the scheduler does not hear of them", leader.StoreID),
			"look at the network between these stores and the scheduler")
	case a.has(schedule.Unavailable): // said by the scheduler, with a time
	case missing && leader != nil:
		a.find(schedule.Finding{
			Level: schedule.Risk,
			Text:  fmt.Sprintf("Store %d says that it leads, but %s do not answer. Either they have just stopped, and then it will not lead for long, or they cannot be reached from here", leader.StoreID, a.silent()),
			Do:    fmt.Sprintf("ask again in a few seconds, and find out why %s do not answer", a.silent()),
		})
	case missing:
		a.find(schedule.Finding{
			Level: schedule.Unavailable,
			Text:  fmt.Sprintf("Too few of its replicas answer for a majority, which it takes to lead it and to write: %s do not", a.silent()),
			Do:    fmt.Sprintf("find out why %s do not answer, and start them again", a.silent()),
		})
	case leader == nil:
		a.find(schedule.Finding{
			Level: schedule.Unavailable, Text: "None of its replicas leads: one is being elected, which takes a few seconds",
			Do: "ask again in a few seconds. If it stays so, look at the logs of its stores",
		})
	case leader.Peer.MergeInto != 0:
		a.find(schedule.Finding{
			Level: schedule.Unavailable,
			Text:  fmt.Sprintf("It is about to be merged into region %d, and serves nothing until that is done or taken back", leader.Peer.MergeInto),
			Do:    fmt.Sprintf("ask again in a few seconds. If it stays so, explain region %d: the merge waits for its stores", leader.Peer.MergeInto),
		})
	}
	for i := range a.Replicas {
		a.judgeReplica(&a.Replicas[i])
	}
}

// judgeReplica is about what one store says of its replica.
func (a *explainedRegion) judgeReplica(r *replica) {
	switch {
	case r.Error != "":
		if a.Peers[a.index(r.PeerID)].State == pdapi.Up {
			a.find(schedule.Finding{
				Level: schedule.Risk, Text: fmt.Sprintf("The scheduler counts store %d as Up, but it does not tell of its replica: %s", r.StoreID, r.Error),
				Do: fmt.Sprintf("start store %d again if it does not run", r.StoreID),
			})
		}
	case r.Peer.Damaged != "":
		level := schedule.Risk
		if r.StoreID == a.Leads {
			level = schedule.Unavailable
		}
		f := schedule.Finding{
			Level: level, Text: fmt.Sprintf("The replica on store %d is damaged and serves nobody: %s", r.StoreID, r.Peer.Damaged),
			Do: fmt.Sprintf("wait: it is rebuilt from the others. Look at the disk of store %d", r.StoreID),
		}
		if len(a.Replicas) == 1 {
			f.Do = "restore it from a backup: it has no other replica to be rebuilt from"
		}
		a.find(f)
	case r.Peer.Consistency.Differs:
		a.find(schedule.Finding{
			Level: schedule.Risk, Text: fmt.Sprintf("The replica on store %d was not like the leader's when they were last compared", r.StoreID),
			Do: fmt.Sprintf("find the odd one: `shoal ctl consistency-check %d`, and with --repair have it rebuilt", a.Region.ID),
		})
	case r.Peer.Snapshot.Installing > 0:
		a.find(schedule.Finding{Level: schedule.Note, Text: fmt.Sprintf("Store %d installs a snapshot of it", r.StoreID)})
	}
}

// soften takes back that the region is unavailable.
func (a *explainedRegion) soften(text, do string) {
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Level == schedule.Unavailable {
			f.Level, f.Text, f.Do = schedule.Risk, f.Text+text, do
		}
	}
}

func (a *explainedRegion) find(f schedule.Finding) { a.Findings = append(a.Findings, f) }

func (a *explainedRegion) has(level schedule.Level) bool {
	for _, f := range a.Findings {
		if f.Level == level {
			return true
		}
	}
	return false
}

// leader is the replica that says that it leads, in the latest term if there are several.
func (a *explainedRegion) leader() (leader *replica) {
	for i := range a.Replicas {
		if r := &a.Replicas[i]; r.Error == "" && r.IsLeader && (leader == nil || r.Term > leader.Term) {
			leader = r
		}
	}
	return leader
}

// majorityMissing says that too few voters answer; of a joint state, in either configuration.
func (a *explainedRegion) majorityMissing() bool {
	for _, leaving := range []string{"DemotingVoter", "IncomingVoter"} {
		voters, answer := 0, 0
		for i, p := range a.Peers {
			if p.Role == "Learner" || p.Role == leaving {
				continue
			}
			voters++
			if a.Replicas[i].Error == "" {
				answer++
			}
		}
		if 2*answer <= voters {
			return true
		}
	}
	return false
}

// silent names the stores that do not answer.
func (a *explainedRegion) silent() string {
	var ids []uint64
	for _, r := range a.Replicas {
		if r.Error != "" {
			ids = append(ids, r.StoreID)
		}
	}
	return "stores " + list(ids)
}

func (a *explainedRegion) index(peer uint64) int {
	for i, p := range a.Peers {
		if p.ID == peer {
			return i
		}
	}
	panic("a replica was asked for each peer")
}

func (a *explainedRegion) verdict(out form.Form) string {
	r := a.Region
	what := fmt.Sprintf("Region %d, from %s to %s, ", r.ID, showKey(out, r.StartKey, "first"), showKey(out, r.EndKey, "last"))
	switch {
	case a.has(schedule.Unavailable):
		return what + "is unavailable."
	case a.has(schedule.Risk):
		return what + fmt.Sprintf("is available: store %d leads it. It is not as safe as it should be.", a.Leads)
	case a.has(schedule.Waits):
		return what + fmt.Sprintf("is available: store %d leads it. Something is waited for.", a.Leads)
	}
	return what + fmt.Sprintf("is well: store %d leads it, and all its replicas are there.", a.Leads)
}

// explainedRows are the replicas, and the stores where a missing one could go.
func explainedRows(t table.Writer, a *explainedRegion) {
	head(t, "store>", "address", "state", "heard of", "replica", "behind>")
	behind := map[uint64]string{}
	for _, r := range a.Replicas {
		for _, f := range r.Peer.Followers {
			behind[f.PeerID] = fmt.Sprint(f.Lag)
		}
	}
	for i, p := range a.Peers {
		r := a.Replicas[i]
		role := strings.ToLower(p.Role)
		if role == "voter" {
			role = "follower"
		}
		if r.StoreID == a.Leads {
			role = "leader"
		}
		switch {
		case r.Error != "":
			role += ", does not answer"
		case r.Peer.Damaged != "":
			role += ", damaged"
		case p.Pending:
			role += ", catching up"
		}
		heard := "never"
		if !p.Heard.IsZero() {
			heard = brief(max(0, a.Now.Sub(p.Heard)).Round(time.Second)) + " ago"
		}
		t.AppendRow(table.Row{p.Store, p.Address, p.State, heard, role, behind[p.ID]})
	}
	for _, p := range a.Places {
		why := "none; it can take one"
		if p.Why != "" {
			why = wrap("none; "+p.Why, 40)
		}
		t.AppendRow(table.Row{p.Store, "", "", "", why, ""})
	}
}
