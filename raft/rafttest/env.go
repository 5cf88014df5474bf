package rafttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
	"github.com/shoal-kv/shoal/raft/quorum"
)

// Env plays a script over a Cluster. A command is a line; most take node ids, and without any they mean all nodes.
//
//	add-nodes N [voters=(1,2,3)] [learners=(4)] [election=10] [prevote] [check-quorum] [lazy-commit] [silence=N]
//	          [max-size=B] [max-inflight=N] [max-cached=B] [max-uncommitted=B] [max-committed=B]
//	campaign ID · propose ID DATA… · transfer ID to=N · read-index ID CTX
//	conf-change ID (add=N|remove=N|learner=N)   of one node
//	conf-change-v2 ID [implicit|explicit] [add=N] [remove=N] [learner=N] …   without changes: leave
//	tick [ID…] [n=N] · ready [ID…] · persist [ID…] [n=N] · apply [ID…] [n=N]
//	deliver [to=N] [from=N] [type=T] [keep]     keep leaves the messages in the queue, to come once more
//	drop [to=N] [from=N] [type=T] · queue
//	stabilize [ID…] [quiet]                     ready, persist, apply and deliver until nothing happens among these
//	crash ID… · restart ID… · checkpoint ID… · compact ID index=N
//	cold ID index=N · entries-available ID · snapshot-busy ID · snapshot-available ID
//	unreachable ID to=N · report-snapshot ID to=N [failed]
//	status [ID…] · rounds [ID…] · log ID · reads ID
type Env struct {
	cluster Cluster
	out     strings.Builder
}

// NewEnv returns an Env without nodes.
func NewEnv() *Env { return &Env{} }

// Handle carries out one command and returns what it has to say.
func (e *Env) Handle(t *testing.T, d datadriven.TestData) string {
	t.Helper()
	e.out.Reset()
	if err := e.handle(t, &d); err != nil {
		e.say("error: %v", err)
	}
	if e.out.Len() == 0 {
		return "ok\n"
	}
	return e.out.String()
}

func (e *Env) say(format string, args ...any) {
	fmt.Fprintf(&e.out, format+"\n", args...)
}

func (e *Env) handle(t *testing.T, d *datadriven.TestData) error {
	switch d.Cmd {
	case "add-nodes":
		return e.addNodes(t, d)
	case "deliver":
		e.deliver(selection(d))
		return nil
	case "drop":
		e.drop(selection(d))
		return nil
	case "queue":
		for i := range e.cluster.Queue {
			e.say("%s", DescribeMessage(&e.cluster.Queue[i]))
		}
		return nil
	case "stabilize":
		return e.stabilize(d)
	}
	for _, n := range e.nodes(d) {
		if !n.running && d.Cmd != "restart" {
			e.say("%d is down", n.id)
			continue
		}
		handled, err := e.nodeWork(d, n)
		if !handled {
			handled, err = e.nodeInput(d, n)
		}
		if !handled {
			handled, err = e.nodeStorage(d, n)
		}
		if !handled {
			handled = e.nodeView(d, n)
		}
		if !handled {
			d.Fatalf(t, "unknown command %s", d.Cmd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) addNodes(t *testing.T, d *datadriven.TestData) error {
	count, err := strconv.Atoi(d.CmdArgs[0].Key)
	if err != nil {
		return err
	}
	voters, learners := ids(t, d, "voters"), ids(t, d, "learners")
	for range count {
		id := uint64(len(e.cluster.Nodes)) + 1
		cfg := raft.Config{
			ID: id, ElectionTick: int(number(d, "election", 10)), HeartbeatTick: 1, Seed: 1,
			PreVote: argument(d, "prevote") != nil, CheckQuorum: argument(d, "check-quorum") != nil,
			LazyCommit: argument(d, "lazy-commit") != nil, VoteSilenceTicks: int(number(d, "silence", 0)),
			MaxSizePerMsg: number(d, "max-size", 0), MaxInflightMsgs: int(number(d, "max-inflight", 0)),
			MaxCachedBytes: number(d, "max-cached", 0), MaxUncommittedEntriesSize: number(d, "max-uncommitted", 0),
			MaxCommittedSizePerReady: number(d, "max-committed", 0),
		}
		conf := confchange.Config{Voters: quorum.JointConfig{quorum.NewMajority(voters...)}, Learners: quorum.NewMajority(learners...)}
		if !conf.Contains(id) {
			conf = confchange.Config{}
		}
		n, err := NewNode(cfg, conf)
		if err != nil {
			return err
		}
		e.cluster.Nodes = append(e.cluster.Nodes, n)
	}
	return nil
}

// nodeWork is what a node's owner does all the time.
func (e *Env) nodeWork(d *datadriven.TestData, n *Node) (bool, error) {
	count := int(number(d, "n", 1))
	switch d.Cmd {
	case "tick":
		for range count {
			n.Tick()
		}
	case "ready":
		if !e.ready(n) {
			e.say("%d has nothing to do", n.id)
		}
	case "persist":
		for range count {
			if !e.persist(n) {
				e.say("%d has nothing to persist", n.id)
			}
		}
	case "apply":
		for range count {
			if !e.apply(n) {
				e.say("%d has nothing to apply", n.id)
			}
		}
	default:
		return false, nil
	}
	return true, nil
}

// nodeInput is what is asked of a node.
func (e *Env) nodeInput(d *datadriven.TestData, n *Node) (bool, error) {
	switch d.Cmd {
	case "campaign":
		return true, n.Campaign()
	case "propose":
		for _, arg := range d.CmdArgs[1:] {
			if err := n.Propose([]byte(arg.Key)); err != nil {
				return true, err
			}
		}
	case "conf-change":
		var cc eraftpb.ConfChange
		for _, one := range changes(d) {
			cc = eraftpb.ConfChange{ChangeType: one.ChangeType, NodeId: one.NodeId}
		}
		return true, n.ProposeConfChange(cc)
	case "conf-change-v2":
		return true, n.ProposeConfChangeV2(eraftpb.ConfChangeV2{Transition: transition(d), Changes: changes(d)})
	case "transfer":
		n.TransferLeader(number(d, "to", 0))
	case "read-index":
		n.ReadIndex([]byte(d.CmdArgs[1].Key))
	case "unreachable":
		n.ReportUnreachable(number(d, "to", 0))
	case "report-snapshot":
		n.ReportSnapshot(number(d, "to", 0), argument(d, "failed") == nil)
	default:
		return false, nil
	}
	return true, nil
}

// changes returns the changes of members that are asked for, in the order in which they are written.
func changes(d *datadriven.TestData) (list []*eraftpb.ConfChangeSingle) {
	kinds := map[string]eraftpb.ConfChangeType{
		"add": eraftpb.ConfChangeType_AddNode, "remove": eraftpb.ConfChangeType_RemoveNode, "learner": eraftpb.ConfChangeType_AddLearnerNode,
	}
	for i := range d.CmdArgs {
		kind, ok := kinds[d.CmdArgs[i].Key]
		if !ok {
			continue
		}
		id, err := strconv.ParseUint(d.CmdArgs[i].Vals[0], 10, 64)
		if err != nil {
			panic(err)
		}
		list = append(list, &eraftpb.ConfChangeSingle{ChangeType: kind, NodeId: id})
	}
	return list
}

func transition(d *datadriven.TestData) eraftpb.ConfChangeTransition {
	switch {
	case argument(d, "implicit") != nil:
		return eraftpb.ConfChangeTransition_Implicit
	case argument(d, "explicit") != nil:
		return eraftpb.ConfChangeTransition_Explicit
	}
	return eraftpb.ConfChangeTransition_Auto
}

// ids returns the nodes that an argument lists.
func ids(t *testing.T, d *datadriven.TestData, key string) (ids []uint64) {
	arg := argument(d, key)
	if arg == nil {
		return nil
	}
	for _, v := range arg.Vals {
		id, err := strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

// nodeStorage is what happens to a node's disk, or by it.
func (e *Env) nodeStorage(d *datadriven.TestData, n *Node) (bool, error) {
	switch d.Cmd {
	case "crash":
		n.Crash()
	case "restart":
		return true, n.Restart()
	case "checkpoint":
		n.Checkpoint()
	case "compact":
		return true, n.Compact(number(d, "index", 0))
	case "cold":
		n.Disk.Cold = number(d, "index", 0)
	case "entries-available":
		n.Disk.Cold = 0
		n.EntriesAvailable()
	case "snapshot-busy":
		n.Disk.SnapshotBusy = true
	case "snapshot-available":
		n.Disk.SnapshotBusy = false
		n.SnapshotAvailable()
	default:
		return false, nil
	}
	return true, nil
}

// nodeView shows a node.
func (e *Env) nodeView(d *datadriven.TestData, n *Node) bool {
	switch d.Cmd {
	case "status":
		e.say("%s", n.Status())
	case "rounds":
		e.say("%d: round %d, by a quorum %d", n.id, n.HeartbeatRound(), n.QuorumRound())
	case "reads":
		for _, rs := range n.Reads {
			e.say("%d: read %s from %d", n.id, rs.RequestCtx, rs.Index)
		}
	case "log":
		first, _ := n.Disk.FirstIndex()
		last, _ := n.Disk.LastIndex()
		ents, _ := n.Disk.MemoryStorage.Entries(first, last+1)
		for i := range ents {
			e.say("%s", DescribeEntry(&ents[i]))
		}
	default:
		return false
	}
	return true
}

func (e *Env) ready(n *Node) bool {
	rd, ok := n.Process()
	if ok {
		e.out.WriteString(DescribeReady(n.id, &rd))
		e.cluster.Send(rd.Messages...)
	}
	return ok
}

func (e *Env) persist(n *Node) bool {
	rd, ok := n.Persist()
	if ok {
		e.say("%d persisted %d", n.id, rd.Number)
		e.cluster.Send(rd.PersistedMessages...)
	}
	return ok
}

func (e *Env) apply(n *Node) bool {
	ent, ok := n.Apply()
	if ok {
		e.say("%d applied %s", n.id, DescribeEntry(&ent))
	}
	return ok
}

// choice selects messages of the queue; zero values select all.
type choice struct {
	from, to uint64
	kind     string
	among    []uint64
	keep     bool
}

func selection(d *datadriven.TestData) choice {
	c := choice{from: number(d, "from", 0), to: number(d, "to", 0), keep: argument(d, "keep") != nil}
	if arg := argument(d, "type"); arg != nil {
		c.kind = arg.Vals[0]
	}
	return c
}

func (c choice) matches(m *eraftpb.Message) bool {
	return (c.from == 0 || c.from == m.From) && (c.to == 0 || c.to == m.To) &&
		(c.kind == "" || "Msg"+c.kind == m.MsgType.String()) &&
		(c.among == nil || slices.Contains(c.among, m.From) && slices.Contains(c.among, m.To))
}

// deliver gives the chosen messages that are on their way now to their receivers.
func (e *Env) deliver(c choice) bool {
	var now, rest []eraftpb.Message
	for _, m := range e.cluster.Queue {
		if !c.matches(&m) || c.keep {
			rest = append(rest, m)
		}
		if c.matches(&m) {
			now = append(now, m)
		}
	}
	e.cluster.Queue = rest
	for i := range now {
		note := ""
		if err := e.cluster.Deliver(clone(&now[i])); err != nil {
			note = " (" + err.Error() + ")"
		}
		e.say("%s%s", DescribeMessage(&now[i]), note)
	}
	return len(now) > 0
}

func (e *Env) drop(c choice) {
	e.cluster.Queue = slices.DeleteFunc(e.cluster.Queue, func(m eraftpb.Message) bool {
		if c.matches(&m) {
			e.say("dropped %s", DescribeMessage(&m))
		}
		return c.matches(&m)
	})
}

// maxSteps ends a stabilize that would go on for ever.
const maxSteps = 1000

func (e *Env) stabilize(d *datadriven.TestData) error {
	nodes := e.nodes(d)
	c := choice{}
	for _, n := range nodes {
		c.among = append(c.among, n.id)
	}
	for range maxSteps {
		busy := false
		for _, n := range nodes {
			for _, step := range []func(*Node) bool{e.ready, e.persist, e.apply} {
				for step(n) {
					busy = true
				}
			}
		}
		if !e.deliver(c) && !busy {
			if argument(d, "quiet") != nil {
				e.out.Reset()
			}
			return nil
		}
	}
	return fmt.Errorf("not stable after %d steps", maxSteps)
}

// nodes returns the nodes whose ids lead the arguments, all of them if there are none.
func (e *Env) nodes(d *datadriven.TestData) (nodes []*Node) {
	for _, arg := range d.CmdArgs {
		id, err := strconv.ParseUint(arg.Key, 10, 64)
		if err != nil || len(arg.Vals) > 0 {
			break
		}
		if n := e.cluster.Node(id); n != nil {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return e.cluster.Nodes
	}
	return nodes
}

func argument(d *datadriven.TestData, key string) *datadriven.CmdArg {
	for i := range d.CmdArgs {
		if d.CmdArgs[i].Key == key {
			return &d.CmdArgs[i]
		}
	}
	return nil
}

func number(d *datadriven.TestData, key string, fallback uint64) uint64 {
	arg := argument(d, key)
	if arg == nil || len(arg.Vals) == 0 {
		return fallback
	}
	n, err := strconv.ParseUint(arg.Vals[0], 10, 64)
	if err != nil {
		return fallback
	}
	return n
}
