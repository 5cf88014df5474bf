package server

import (
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// RaftService receives what other stores send. The raftstore's transport implements it. Its methods return when their stream breaks.
type RaftService interface {
	// Raft receives one raft message at a time.
	Raft(tikvpb.Tikv_RaftServer) error
	// BatchRaft receives raft messages in batches.
	BatchRaft(tikvpb.Tikv_BatchRaftServer) error
	// Snapshot receives one region's data in chunks.
	Snapshot(tikvpb.Tikv_SnapshotServer) error
}

var errNoRaft = status.Error(codes.Unimplemented, "this server has no raft service")

// Raft implements tikvpb.TikvServer.
func (s *Server) Raft(stream tikvpb.Tikv_RaftServer) error {
	if s.raft == nil {
		return errNoRaft
	}
	return s.life.untilDrained(func() error { return s.raft.Raft(stream) })
}

// BatchRaft implements tikvpb.TikvServer.
func (s *Server) BatchRaft(stream tikvpb.Tikv_BatchRaftServer) error {
	if s.raft == nil {
		return errNoRaft
	}
	return s.life.untilDrained(func() error { return s.raft.BatchRaft(stream) })
}

// Snapshot implements tikvpb.TikvServer.
func (s *Server) Snapshot(stream tikvpb.Tikv_SnapshotServer) error {
	if s.raft == nil {
		return errNoRaft
	}
	return s.life.untilDrained(func() error { return s.raft.Snapshot(stream) })
}
