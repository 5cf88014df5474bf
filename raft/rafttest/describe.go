package rafttest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
)

// DescribeEntry writes an entry as term/index and content.
func DescribeEntry(e *eraftpb.Entry) string {
	s := fmt.Sprintf("%d/%d", e.Term, e.Index)
	if e.EntryType == eraftpb.EntryType_EntryConfChange {
		var cc eraftpb.ConfChange
		if err := cc.Unmarshal(e.Data); err != nil {
			return s + " ?"
		}
		return fmt.Sprintf("%s %s(%d)", s, cc.ChangeType, cc.NodeId)
	}
	if len(e.Data) > 0 {
		s += fmt.Sprintf(" %q", e.Data)
	}
	return s
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
	if m.Commit > 0 {
		fmt.Fprintf(&b, " commit=%d", m.Commit)
	}
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

func describeContext(m *eraftpb.Message) string {
	switch {
	case len(m.Context) == 0:
		return ""
	case m.MsgType == eraftpb.MessageType_MsgHeartbeat || m.MsgType == eraftpb.MessageType_MsgHeartbeatResponse:
		return fmt.Sprintf(" round=%d", binary.BigEndian.Uint64(m.Context))
	}
	return fmt.Sprintf(" ctx=%s", m.Context)
}

func describeSnapshot(s *eraftpb.Snapshot) string {
	return fmt.Sprintf("%d/%d voters=%v", s.Metadata.Term, s.Metadata.Index, s.Metadata.ConfState.Voters)
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
