package raftstore

import (
	"context"

	"github.com/pingcap/errors"
	"golang.org/x/time/rate"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// throttle bounds the bytes a second of one kind of background work; a nil limiter bounds nothing.
type throttle struct {
	ctx     context.Context // ends with the store
	limiter *rate.Limiter
}

// throttleBurst is how much may go at once.
const throttleBurst = 4 << 20

func newThrottle(ctx context.Context, bytesPerSec int64) throttle {
	t := throttle{ctx: ctx}
	if bytesPerSec > 0 {
		t.limiter = rate.NewLimiter(rate.Limit(bytesPerSec), throttleBurst)
	}
	return t
}

// pace lets work go on as fast as the throttle says, while it is wanted and the store runs.
func (t throttle) pace(wanted func() bool) snapfile.Pace {
	return func(n int) error {
		if !wanted() {
			return errUnwanted
		}
		if t.limiter == nil {
			return t.ctx.Err()
		}
		for n > 0 {
			part := min(n, throttleBurst)
			if err := t.limiter.WaitN(t.ctx, part); err != nil {
				return errors.Trace(err)
			}
			n -= part
		}
		return nil
	}
}

// errUnwanted ends work for a peer that is not there any more.
var errUnwanted = errors.New("the peer that needed it is gone")
