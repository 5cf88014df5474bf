package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// What the scheduler can say of a region (explain_region.go), or of the balance of the stores (explain_balance.go), when a person asks why it is as it is, or why nothing
// moves. It is found out anew at every question, with the same functions that decide, so that what is said is what would be done. Nothing is changed, but quotas
// are brought up to date: the caller must have the coordinator for itself.

// Level says how much a finding matters.
type Level string

// The levels, what matters most first.
const (
	// Unavailable: requests fail. Risk: all is served, with fewer replicas than wanted. Waits: something is wanted and not done. Note: for the whole picture.
	Unavailable Level = "unavailable"
	Risk        Level = "risk"
	Waits       Level = "waits"
	Note        Level = "note"
)

// Finding is one thing to be said.
type Finding struct {
	Level Level  `json:"level"`
	Text  string `json:"text"` // a sentence without its full stop
	// Since is when it began, Until when it ends by itself; zero if that is not known. They are instants as the coordinator is given them.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Do is what a person can do about it; empty if nothing need be done.
	Do string `json:"do,omitempty"`
}

// remedies say what to do about a reason in which a word occurs.
var remedies = []struct{ word, do string }{
	{"replica-schedule-limit", "let more replicas be made at once: `shoal ctl config set replica-schedule-limit 64`"},
	{"store limit remove-peer", "wait, or let more peers a minute move: `shoal ctl store limit all 60`"},
	{"store limit add-peer", "wait, or let more peers a minute move: `shoal ctl store limit all 60`"},
	{"max-snapshot-count", "wait, or let a store handle more snapshots at once: `shoal ctl config set max-snapshot-count 64`"},
	{"max-pending-peer-count", "wait, or let more peers of a store catch up at once: `shoal ctl config set max-pending-peer-count 64`"},
	{"low-space-ratio", "start another store, or free space on the disks"},
	{"isolation-level", "start a store elsewhere, label one (`shoal ctl store label`), or ask for less isolation"},
	{"constraints", "label a store as the rule asks (`shoal ctl store label`), or change the rule (`shoal ctl placement show`, `placement set`)"},
	{"every store holds one already", "start another store"},
	{"enable-make-up-replica", "let replicas be made: `shoal ctl config set enable-make-up-replica true`"},
	{"enable-remove-extra-replica", "let replicas be removed: `shoal ctl config set enable-remove-extra-replica true`"},
	{"it is Disconnected", "start the stores that do not report, or another one"},
	{"it is Down", "start the stores that do not report, or another one"},
	{"it is Offline", "start another store, or take back one that is being drained: `shoal ctl store cancel-delete`"},
}

// remedy is what to do about a reason: of all that would help the first two.
func remedy(reason string) string {
	var list []string
	for _, r := range remedies {
		if strings.Contains(reason, r.word) && !slices.Contains(list, r.do) && len(list) < 2 {
			list = append(list, r.do)
		}
	}
	return strings.Join(list, "; or ")
}

// standstill is what keeps everything from being moved.
func (c *Coordinator) standstill(now time.Time) []Finding {
	list := []Finding{}
	if c.cfg.HaltScheduling {
		list = append(list, Finding{
			Level: Waits, Text: "Nothing is scheduled at all: halt-scheduling is true",
			Do: "go on with scheduling: `shoal ctl config set halt-scheduling false`",
		})
	}
	if !c.Prepared(now) {
		list = append(list, Finding{
			Level: Waits, Since: c.born, Until: c.born.Add(waitLongest),
			Text: fmt.Sprintf("The scheduler has begun to lead, and moves and removes nothing until it has heard of most regions: %d of %d have reported", c.pic.Heard(), c.pic.RegionCount()),
		})
	}
	return list
}

// inFlight says what an operator is at.
func inFlight(rec operator.Record) Finding {
	step := ""
	if rec.Current < len(rec.Steps) {
		step = fmt.Sprintf(", step %d of %d: %s", rec.Current+1, len(rec.Steps), rec.Steps[rec.Current])
	}
	return Finding{
		Level: Note, Since: rec.Started,
		Text: fmt.Sprintf("It is being changed by %s (%s)%s", rec.Desc, rec.Brief, step),
	}
}

// plural is a number with what it counts.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// be chooses the word that goes with a number.
func be(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// numbers writes ids with something between them.
func numbers(ids []uint64, between string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ids), "[]"), " ", between)
}
