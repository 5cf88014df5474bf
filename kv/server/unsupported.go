package server

import (
	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
)

// The short names of this file's many cases.
type (
	request  = tikvpb.BatchCommandsRequest_Request
	response = tikvpb.BatchCommandsResponse_Response
)

const unsupportedText = "this request is not supported by this server"

// unsupported answers a command that is not built with its own response type, because clients take any other, or none, for a broken
// stream, and with an error that they do not retry where the type has room for one.
func unsupported(req *request) *response {
	if resp := unsupportedTxn(req); resp != nil {
		return resp
	}
	const text = unsupportedText
	switch req.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_Import:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Import{Import: &kvrpcpb.ImportResponse{Error: text}}}
	case *tikvpb.BatchCommandsRequest_Request_DeleteRange:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_DeleteRange{DeleteRange: &kvrpcpb.DeleteRangeResponse{Error: text}}}
	case *tikvpb.BatchCommandsRequest_Request_Coprocessor:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Coprocessor{Coprocessor: &coprocessor.Response{OtherError: text}}}
	case *tikvpb.BatchCommandsRequest_Request_RawCoprocessor:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawCoprocessor{RawCoprocessor: &kvrpcpb.RawCoprocessorResponse{Error: text}}}
	case *tikvpb.BatchCommandsRequest_Request_FlashbackToVersion:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_FlashbackToVersion{FlashbackToVersion: &kvrpcpb.FlashbackToVersionResponse{Error: text}}}
	case *tikvpb.BatchCommandsRequest_Request_PrepareFlashbackToVersion:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_PrepareFlashbackToVersion{
			PrepareFlashbackToVersion: &kvrpcpb.PrepareFlashbackToVersionResponse{Error: text},
		}}
	case *tikvpb.BatchCommandsRequest_Request_BroadcastTxnStatus:
		// A hint that may be ignored, and its response has no error.
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_BroadcastTxnStatus{BroadcastTxnStatus: &kvrpcpb.BroadcastTxnStatusResponse{}}}
	}
	// A command that this protocol version does not know: the client gets at least an answer.
	return emptyResponse(0)
}

// unsupportedTxn answers the transactional commands, whose responses carry key errors; nil for any other command.
func unsupportedTxn(req *request) *response {
	abort := &kvrpcpb.KeyError{Abort: unsupportedText}
	aborts := []*kvrpcpb.KeyError{abort}
	switch req.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_Get:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Get{Get: &kvrpcpb.GetResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_Scan:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Scan{Scan: &kvrpcpb.ScanResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_Prewrite:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Prewrite{Prewrite: &kvrpcpb.PrewriteResponse{Errors: aborts}}}
	case *tikvpb.BatchCommandsRequest_Request_Commit:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Commit{Commit: &kvrpcpb.CommitResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_Cleanup:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Cleanup{Cleanup: &kvrpcpb.CleanupResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_BatchGet:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_BatchGet{BatchGet: &kvrpcpb.BatchGetResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_BatchRollback:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_BatchRollback{BatchRollback: &kvrpcpb.BatchRollbackResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_ScanLock:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_ScanLock{ScanLock: &kvrpcpb.ScanLockResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_ResolveLock:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_ResolveLock{ResolveLock: &kvrpcpb.ResolveLockResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_GC:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_GC{GC: &kvrpcpb.GCResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_PessimisticLock:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_PessimisticLock{PessimisticLock: &kvrpcpb.PessimisticLockResponse{Errors: aborts}}}
	case *tikvpb.BatchCommandsRequest_Request_PessimisticRollback:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_PessimisticRollback{PessimisticRollback: &kvrpcpb.PessimisticRollbackResponse{Errors: aborts}}}
	case *tikvpb.BatchCommandsRequest_Request_CheckTxnStatus:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_CheckTxnStatus{CheckTxnStatus: &kvrpcpb.CheckTxnStatusResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_TxnHeartBeat:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_TxnHeartBeat{TxnHeartBeat: &kvrpcpb.TxnHeartBeatResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_CheckSecondaryLocks:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_CheckSecondaryLocks{CheckSecondaryLocks: &kvrpcpb.CheckSecondaryLocksResponse{Error: abort}}}
	case *tikvpb.BatchCommandsRequest_Request_Flush:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_Flush{Flush: &kvrpcpb.FlushResponse{Errors: aborts}}}
	case *tikvpb.BatchCommandsRequest_Request_BufferBatchGet:
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_BufferBatchGet{BufferBatchGet: &kvrpcpb.BufferBatchGetResponse{Error: abort}}}
	}
	return nil
}
