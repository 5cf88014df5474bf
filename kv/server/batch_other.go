package server

import (
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/storage"
)

// Commands that are not point reads or writes: larger writes go the way of the point writes, one call each; long reads go to a few workers,
// so that they do not hold up what comes behind them in the stream; what is not built is answered so.

// longRead is a command that may read much, or wait.
type longRead struct {
	id   uint64
	size int
	run  func() *response
}

// longQueue is a stream's long reads; it is bounded by what the stream admits.
type longQueue struct {
	waiting []longRead
	workers int
}

// maxLongWorkers bounds the long reads of one stream that run at a time.
const maxLongWorkers = 16

// other performs a command that is not decoded yet. The error ends the stream.
func (st *stream) other(c *command, id uint64, start time.Time) error {
	req := &request{}
	if err := req.Unmarshal(c.whole); err != nil {
		return status.Errorf(codes.InvalidArgument, "request %d cannot be decoded: %v", id, err)
	}
	s, size := st.server, len(c.whole)
	if c, run := st.latched(req); run != nil {
		return st.long(c, longRead{id: id, size: size, run: run})
	}
	switch cmd := req.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_RawBatchPut:
		batch, err := s.batchPutModifies(cmd.RawBatchPut)
		return st.largeWrite(cmd.RawBatchPut.GetContext(), command{method: rawBatchPut, whole: c.whole}, id, start, batch, err)
	case *tikvpb.BatchCommandsRequest_Request_RawBatchDelete:
		batch, err := s.batchDeleteModifies(cmd.RawBatchDelete)
		return st.largeWrite(cmd.RawBatchDelete.GetContext(), command{method: rawBatchDelete, whole: c.whole}, id, start, batch, err)
	case *tikvpb.BatchCommandsRequest_Request_RawDeleteRange:
		batch, err := s.deleteRangeModifies(cmd.RawDeleteRange)
		return st.largeWrite(cmd.RawDeleteRange.GetContext(), command{method: rawDeleteRange, whole: c.whole}, id, start, batch, err)
	case *tikvpb.BatchCommandsRequest_Request_RawBatchGet:
		return st.long(cmd.RawBatchGet.GetContext(), longRead{id: id, size: size, run: func() *response {
			resp, err := s.RawBatchGet(st.ctx, cmd.RawBatchGet)
			if err != nil { // without an error in it, an empty answer says that there is nothing
				resp.RegionError = failure{status: err}.inStream().region
			}
			return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawBatchGet{RawBatchGet: resp}}
		}})
	case *tikvpb.BatchCommandsRequest_Request_RawScan:
		return st.long(cmd.RawScan.GetContext(), longRead{id: id, size: size, run: func() *response {
			resp, err := s.RawScan(st.ctx, cmd.RawScan)
			if err != nil {
				resp.RegionError = failure{status: err}.inStream().region
			}
			return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawScan{RawScan: resp}}
		}})
	case *tikvpb.BatchCommandsRequest_Request_RawBatchScan:
		return st.long(cmd.RawBatchScan.GetContext(), longRead{id: id, size: size, run: func() *response {
			resp, err := s.RawBatchScan(st.ctx, cmd.RawBatchScan)
			if err != nil {
				resp.RegionError = failure{status: err}.inStream().region
			}
			return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawBatchScan{RawBatchScan: resp}}
		}})
	case *tikvpb.BatchCommandsRequest_Request_GetHealthFeedback:
		return st.answerHealth(id, size)
	case *tikvpb.BatchCommandsRequest_Request_Empty:
		return st.long(nil, longRead{id: id, size: size, run: func() *response { return st.delayed(cmd.Empty) }})
	default:
		return st.answerMessage(id, size, unsupported(req))
	}
}

// largeWrite hands over a batch of its own; invalid, when not nil, is why there is none.
func (st *stream) largeWrite(c *kvrpcpb.Context, as command, id uint64, start time.Time, batch []storage.Modify, invalid error) error {
	from, err := st.server.newCaller(c)
	if err != nil {
		return err
	}
	if from.refusal != nil {
		invalid = from.refusal
	}
	if invalid != nil || len(batch) == 0 {
		st.refuse(&as, id, newFailure(invalid, from.at.RegionID))
		return nil
	}
	w := st.newWriteCall(from, start)
	w.batch = append(w.batch, batch...)
	w.add(id, as.method, len(as.whole))
	w.issue()
	return nil
}

// long queues a long read, and starts a worker when few are running. The error ends the stream: the request is for another cluster.
func (st *stream) long(c *kvrpcpb.Context, read longRead) error {
	if _, err := st.server.newCaller(c); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.longs.waiting = append(st.longs.waiting, read)
	if st.longs.workers < maxLongWorkers {
		st.longs.workers++
		st.server.life.work.Go(st.workLong)
	}
	return nil
}

// workLong performs long reads until none is waiting.
func (st *stream) workLong() {
	for {
		st.mu.Lock()
		q := &st.longs
		if len(q.waiting) == 0 {
			q.workers--
			st.mu.Unlock()
			return
		}
		read := q.waiting[0]
		q.waiting = q.waiting[1:]
		st.mu.Unlock()
		// Errors are the stream's: its own goroutines meet them too.
		if err := st.answerMessage(read.id, read.size, read.run()); err == nil {
			_ = st.flushLarge()
		}
	}
}

func (st *stream) answerMessage(id uint64, size int, resp *response) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	err := st.answers.addMessage(id, resp)
	st.answered(size)
	return err
}

// delayed answers the test command after the time that it asks for.
func (st *stream) delayed(req *tikvpb.BatchCommandsEmptyRequest) *response {
	timer := time.NewTimer(time.Duration(req.GetDelayTime()) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-st.ctx.Done():
	}
	return emptyResponse(req.GetTestId())
}

func emptyResponse(testID uint64) *response {
	return &response{
		Cmd: &tikvpb.BatchCommandsResponse_Response_Empty{Empty: &tikvpb.BatchCommandsEmptyResponse{TestId: testID}},
	}
}
