package server

import (
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

// Writes of a stream that must be atomic with compare-and-swaps: they may wait for latches, so they go the way of the long reads, not that of
// the other writes.

// latched returns what performs a command that says for_cas, and its Context; run is nil for any other command.
func (st *stream) latched(req *request) (c *kvrpcpb.Context, run func() *response) {
	s := st.server
	switch cmd := req.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_RawPut: // without for_cas it was decoded before
		return cmd.RawPut.GetContext(), func() *response {
			resp, err := s.RawPut(st.ctx, cmd.RawPut)
			resp.RegionError = orStatus(resp.RegionError, err)
			return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawPut{RawPut: resp}}
		}
	case *tikvpb.BatchCommandsRequest_Request_RawDelete:
		return cmd.RawDelete.GetContext(), func() *response {
			resp, err := s.RawDelete(st.ctx, cmd.RawDelete)
			resp.RegionError = orStatus(resp.RegionError, err)
			return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawDelete{RawDelete: resp}}
		}
	case *tikvpb.BatchCommandsRequest_Request_RawBatchPut:
		if cmd.RawBatchPut.GetForCas() {
			return cmd.RawBatchPut.Context, func() *response {
				resp, err := s.RawBatchPut(st.ctx, cmd.RawBatchPut)
				resp.RegionError = orStatus(resp.RegionError, err)
				return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawBatchPut{RawBatchPut: resp}}
			}
		}
	case *tikvpb.BatchCommandsRequest_Request_RawBatchDelete:
		if cmd.RawBatchDelete.GetForCas() {
			return cmd.RawBatchDelete.Context, func() *response {
				resp, err := s.RawBatchDelete(st.ctx, cmd.RawBatchDelete)
				resp.RegionError = orStatus(resp.RegionError, err)
				return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawBatchDelete{RawBatchDelete: resp}}
			}
		}
	}
	return nil, nil
}

// orStatus is a command's region error; a status would end the whole stream, and becomes one too.
func orStatus(e *errorpb.Error, status error) *errorpb.Error {
	if status != nil {
		return failure{status: status}.inStream().region
	}
	return e
}
