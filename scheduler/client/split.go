package client

import (
	"context"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
)

const (
	// maxSplitsQueued bounds what waits to be asked or told about splits; a store asks again for what was refused.
	maxSplitsQueued = 1024
	// splitBy is how long one question may take, all attempts together.
	splitBy = 5 * time.Second
)

// AskBatchSplit asks for the ids of count regions that are to be split off r. It never blocks; answer is called once, on a goroutine of the client
// or, when too much waits, on the caller's, and not at all once the client is closed.
func (c *Client) AskBatchSplit(r *metapb.Region, count int, answer func([]*pdpb.SplitID, error)) {
	c.queueSplit(func(ctx context.Context) {
		res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.AskBatchSplitResponse, error) {
			return pd.AskBatchSplit(ctx, &pdpb.AskBatchSplitRequest{Header: c.header(), Region: r, SplitCount: uint32(count)})
		})
		if err == nil {
			err = check(res.GetHeader())
		}
		answer(res.GetIds(), err)
	}, func(err error) { answer(nil, err) })
}

// ReportBatchSplit tells what a region was divided into, in the order of keys. It never blocks and may lose the report: the regions' heartbeats say
// the same.
func (c *Client) ReportBatchSplit(regions []*metapb.Region) {
	c.queueSplit(func(ctx context.Context) {
		res, err := call(ctx, c, func(ctx context.Context, pd pdpb.PDClient) (*pdpb.ReportBatchSplitResponse, error) {
			return pd.ReportBatchSplit(ctx, &pdpb.ReportBatchSplitRequest{Header: c.header(), Regions: regions})
		})
		if err == nil {
			err = check(res.GetHeader())
		}
		if err != nil {
			c.log.Info("a split was not reported to the scheduler", zap.Error(err))
		}
	}, func(error) {})
}

func (c *Client) queueSplit(do func(context.Context), refused func(error)) {
	select {
	case c.splits <- do:
	default:
		refused(errors.New("too many splits wait for the scheduler"))
	}
}

// serveSplits does what was queued, one after the other.
func (c *Client) serveSplits() {
	for {
		select {
		case do := <-c.splits:
			ctx, cancel := context.WithTimeout(c.ctx, splitBy)
			do(ctx)
			cancel()
		case <-c.ctx.Done():
			return
		}
	}
}
