package raft

import "github.com/pingcap/kvproto/pkg/eraftpb"

// What the owner of a node may look at without a copy. Status is the same for people.

// Committed is the last index that is known to be on a quorum.
func (l *RaftLog) Committed() uint64 { return l.committed }

// Stabled is the last index that is durable here.
func (l *RaftLog) Stabled() uint64 { return l.stabled }

// LeadTransferee is the node that a leader is handing its leadership to, or None.
func (r *Raft) LeadTransferee() uint64 { return r.leadTransferee }

// HardState is what must be durable of the node beside its log, as of now.
func (r *Raft) HardState() eraftpb.HardState { return r.hardState() }
