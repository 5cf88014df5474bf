package rafttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/confchange"
)

// DescribeEntry writes an entry as term/index and content.
func DescribeEntry(e *eraftpb.Entry) string {
	s := fmt.Sprintf("%d/%d", e.Term, e.Index)
	if cc, ok := changeOf(e); ok {
		return s + " " + describeChange(cc)
	}
	if len(e.Data) > 0 {
		s += fmt.Sprintf(" %q", e.Data)
	}
	return s
}

// describeChange writes a simple change by itself, and the changes that enter a joint configuration together with how it is
// left.
func describeChange(cc eraftpb.ConfChangeV2) string {
	parts := make([]string, len(cc.Changes))
	for i, one := range cc.Changes {
		parts[i] = fmt.Sprintf("%s(%d)", one.ChangeType, one.NodeId)
	}
	changes := strings.Join(parts, " ")
	autoLeave, enters := confchange.Enters(cc)
	switch {
	case confchange.Leaves(cc):
		return "LeaveJoint"
	case enters && autoLeave:
		return "EnterJoint{" + changes + "} auto-leave"
	case enters:
		return "EnterJoint{" + changes + "}"
	}
	return changes
}

func describeEntries[E any](ents []E, describe func(*E) string) string {
	parts := make([]string, len(ents))
	for i := range ents {
		parts[i] = describe(&ents[i])
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func describePointer(e **eraftpb.Entry) string { return DescribeEntry(*e) }

// DescribeMessage writes a message with the fields that are set.
func DescribeMessage(m *eraftpb.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d->%d %s", m.From, m.To, strings.TrimPrefix(m.MsgType.String(), "Msg"))
	if m.Term > 0 {
		fmt.Fprintf(&b, " term=%d", m.Term)
	}
	switch m.MsgType {
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgRequestVote, eraftpb.MessageType_MsgRequestPreVote:
		fmt.Fprintf(&b, " log=%d/%d", m.LogTerm, m.Index)
	case eraftpb.MessageType_MsgTimeoutNow:
		fmt.Fprintf(&b, " ticket=%d", m.Index)
	case eraftpb.MessageType_MsgHeartbeat:
		if m.Index > 0 {
			fmt.Fprintf(&b, " withdrawn=%d", m.Index)
		}
	case eraftpb.MessageType_MsgAppendResponse, eraftpb.MessageType_MsgReadIndexResp:
		fmt.Fprintf(&b, " index=%d", m.Index)
	}
	b.WriteString(describeCommit(m))
	if m.Reject {
		b.WriteString(" reject")
		if m.MsgType == eraftpb.MessageType_MsgAppendResponse {
			fmt.Fprintf(&b, " hint=%d/%d", m.LogTerm, m.RejectHint)
		}
	}
	if len(m.Entries) > 0 {
		fmt.Fprintf(&b, " entries=%s", describeEntries(m.Entries, describePointer))
	}
	if m.Snapshot != nil {
		fmt.Fprintf(&b, " snapshot=%s", describeSnapshot(m.Snapshot))
	}
	b.WriteString(describeContext(m))
	return b.String()
}

// describeCommit writes the commit index that a message tells; vote messages tell its term, too.
func describeCommit(m *eraftpb.Message) string {
	switch {
	case m.Commit == 0:
		return ""
	case m.RejectHint > 0 && m.MsgType != eraftpb.MessageType_MsgAppendResponse:
		return fmt.Sprintf(" commit=%d/%d", m.RejectHint, m.Commit)
	}
	return fmt.Sprintf(" commit=%d", m.Commit)
}

func describeContext(m *eraftpb.Message) string {
	switch {
	case len(m.Context) == 0:
		return ""
	case m.MsgType == eraftpb.MessageType_MsgHeartbeat || m.MsgType == eraftpb.MessageType_MsgHeartbeatResponse:
		return fmt.Sprintf(" round=%d", binary.BigEndian.Uint64(m.Context))
	}
	if ticket, ok := bytes.CutPrefix(m.Context, []byte("CampaignTransfer")); ok {
		return fmt.Sprintf(" ticket=%d", binary.BigEndian.Uint64(ticket))
	}
	return fmt.Sprintf(" ctx=%s", m.Context)
}

func describeSnapshot(s *eraftpb.Snapshot) string {
	return fmt.Sprintf("%d/%d %s", s.Metadata.Term, s.Metadata.Index, machineOf(s).Conf)
}

// DescribeReady writes what a Ready holds, one line a part.
func DescribeReady(id uint64, rd *raft.Ready) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ready %d", id, rd.Number)
	if rd.MustSync {
		b.WriteString(" sync")
	}
	b.WriteByte('\n')
	if rd.SoftState != nil {
		fmt.Fprintf(&b, "  %s lead=%d\n", rd.RaftState, rd.Lead)
	}
	if hs := rd.HardState; !raft.IsEmptyHardState(hs) {
		fmt.Fprintf(&b, "  term=%d vote=%d commit=%d\n", hs.Term, hs.Vote, hs.Commit)
	}
	if len(rd.Entries) > 0 {
		fmt.Fprintf(&b, "  write %s\n", describeEntries(rd.Entries, DescribeEntry))
	}
	if !raft.IsEmptySnap(&rd.Snapshot) {
		fmt.Fprintf(&b, "  install %s\n", describeSnapshot(&rd.Snapshot))
	}
	if len(rd.CommittedEntries) > 0 {
		fmt.Fprintf(&b, "  apply %s\n", describeEntries(rd.CommittedEntries, DescribeEntry))
	}
	for i := range rd.Messages {
		fmt.Fprintf(&b, "  send %s\n", DescribeMessage(&rd.Messages[i]))
	}
	for i := range rd.PersistedMessages {
		fmt.Fprintf(&b, "  then %s\n", DescribeMessage(&rd.PersistedMessages[i]))
	}
	for _, rs := range rd.ReadStates {
		fmt.Fprintf(&b, "  read %s from %d\n", rs.RequestCtx, rs.Index)
	}
	return b.String()
}
