package meta

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/election"
)

const (
	renewalsPerLease = 6
	resignBy         = time.Second
)

// Leadership is one term of this member's lead. It is lost once and never comes back.
type Leadership struct {
	node     *Node
	lease    clientv3.LeaseID
	revision int64 // the leader key's create revision: what guarded writes compare
	end      atomic.Pointer[time.Time]
	lost     chan struct{}
	loseOnce sync.Once
	renewing chan struct{} // closed when the renewing goroutine has ended
}

// newLeadership starts renewing; began is the instant before the lease was asked for.
func newLeadership(n *Node, lease clientv3.LeaseID, revision int64, began time.Time) *Leadership {
	l := &Leadership{
		node: n, lease: lease, revision: revision,
		lost: make(chan struct{}), renewing: make(chan struct{}),
	}
	end := election.Begun(began, n.cfg.Lease)
	l.end.Store(&end)
	go func() {
		defer close(l.renewing)
		l.renew()
	}()
	return l
}

// End is the instant of the monotonic clock until which nobody else can lead; in the past once leadership is lost.
func (l *Leadership) End() time.Time { return *l.end.Load() }

// Holds reports whether this member leads at this instant.
func (l *Leadership) Holds() bool { return l.node.cfg.Monotonic().Before(l.End()) }

// Lost is closed when the leadership is over.
func (l *Leadership) Lost() <-chan struct{} { return l.lost }

// Store is the durable map as this term may write it.
func (l *Leadership) Store() *Store { return &Store{leadership: l} }

// Resign gives the leadership up at once, so that another member need not wait for the lease to run out. It joins the
// renewing goroutine.
func (l *Leadership) Resign() {
	l.lose("resigned")
	<-l.renewing
	ctx, cancel := context.WithTimeout(context.Background(), resignBy)
	defer cancel()
	if _, err := l.node.client.Revoke(ctx, l.lease); err != nil {
		l.node.cfg.Logger.Info("the leader's lease was not revoked; it will run out", zap.Error(err))
	}
}

func (l *Leadership) lose(why string) {
	l.loseOnce.Do(func() {
		l.end.Store(&time.Time{})
		l.node.leader.CompareAndSwap(&l.node.self, nil)
		close(l.lost)
		l.node.cfg.Logger.Info("leadership is over", zap.String("reason", why))
		if l.node.cfg.Watch.Lost != nil {
			l.node.cfg.Watch.Lost(why)
		}
	})
}

func (l *Leadership) isLost() bool { return isClosed(l.lost) }

// extend moves the end to one lease after asked, the instant before the renewal was sent.
func (l *Leadership) extend(asked time.Time) {
	old := l.end.Load()
	end := election.Extended(*old, asked, l.node.cfg.Lease)
	l.end.CompareAndSwap(old, &end) // unless it was lost meanwhile
}

// renew keeps the lease alive until the leadership is lost: because the lease ran out, the leader key was taken away, or
// etcd's own lead moved to another member.
func (l *Leadership) renew() {
	every := l.node.cfg.Lease / renewalsPerLease
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		moved := l.node.etcd.Server.LeaderChangedNotify()
		select {
		case <-l.lost:
			return
		case <-moved:
		case <-tick.C:
		}
		asked := l.node.cfg.Monotonic()
		ctx, cancel := context.WithTimeout(context.Background(), 2*every)
		err := l.renewOnce(ctx)
		cancel()
		if l.node.cfg.Watch.Renewed != nil {
			l.node.cfg.Watch.Renewed(l.node.cfg.Monotonic().Sub(asked), err)
		}
		switch {
		case l.isLost():
			return
		case err == nil:
			l.extend(asked)
		default:
			l.node.cfg.Logger.Warn("the leader's lease was not renewed", zap.Error(err))
		}
		if !l.Holds() {
			l.lose("the lease ran out")
			return
		}
	}
}

// renewOnce renews the lease, provided the leader key is still there: a key that somebody deleted must not be led without.
//
// The read is confirmed by a quorum, and counts only if this member's etcd led throughout. Both matter to the next leader (package election): a
// member cut off from its group believes for a while that it leads, renews the lease with itself, and knows no better;
// and one that was deposed meanwhile would have its renewal served by its successor.
func (l *Leadership) renewOnce(ctx context.Context) error {
	moved := l.node.etcd.Server.LeaderChangedNotify()
	if !l.node.leadsEtcd() {
		return l.deposed()
	}
	res, err := l.node.client.Get(ctx, l.node.key(leaderKey))
	if err != nil {
		return errors.Annotate(err, "read the leader key")
	}
	if len(res.Kvs) == 0 || res.Kvs[0].CreateRevision != l.revision {
		l.lose("the leader key was taken away")
		return ErrNotLeader
	}
	alive, err := l.node.client.KeepAliveOnce(ctx, l.lease)
	if err != nil {
		return errors.Annotate(err, "renew the lease")
	}
	if alive.TTL <= 0 {
		return errors.New("the lease is gone")
	}
	if isClosed(moved) || !l.node.leadsEtcd() {
		return l.deposed()
	}
	return nil
}

func (l *Leadership) deposed() error {
	l.lose("this member's etcd no longer leads its group")
	return ErrNotLeader
}
