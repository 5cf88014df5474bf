package meta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pingcap/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	leaderKey      = "leader"
	campaignEvery  = 50 * time.Millisecond
	electionCallBy = 3 * time.Second
	// driftShare bounds by how much two members' monotonic clocks may run apart: one part in so many.
	driftShare = 10
)

// sighting is a leader key that was left behind: the one of another member, while this member's etcd leads the group.
type sighting struct {
	revision int64           // the key's create revision; 0 for none
	since    time.Time       // of the monotonic clock
	moved    <-chan struct{} // closed when the etcd group gets a leader again, be it this member
}

// Leader is the member that leads the scheduler group as this member last saw it.
func (n *Node) Leader() (Member, bool) {
	if m := n.leader.Load(); m != nil {
		return *m, true
	}
	return Member{}, false
}

// Campaign blocks until this member leads, or ctx ends. Only the member whose etcd leads its group campaigns, so that
// the leader's writes take one round trip, and a member cut off from the group does not try.
//
// A leader key that names this very member is left over from a term that ended (in this process, or in one before it on
// the same data directory): it is deleted rather than waited out. One that names another member is deleted once that
// member's lease is over for certain (see outwaited); etcd, when its lead changes, grants every lease a second time and
// its election timeout on top, and the group would be without a leader for all of that.
func (n *Node) Campaign(ctx context.Context) (*Leadership, error) {
	for {
		l, err := n.tryCampaign(ctx)
		if err != nil && ctx.Err() == nil {
			n.cfg.Logger.Warn("campaign for leadership failed; it will be tried again", zap.Error(err))
		}
		if l != nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(campaignEvery):
		}
	}
}

func (n *Node) tryCampaign(ctx context.Context) (*Leadership, error) {
	ctx, cancel := context.WithTimeout(ctx, electionCallBy)
	defer cancel()
	key := n.key(leaderKey)
	res, err := n.client.Get(ctx, key, clientv3.WithSerializable())
	if err != nil {
		return nil, errors.Annotate(err, "read the leader key")
	}
	if len(res.Kvs) == 0 {
		n.leader.Store(nil)
		if !n.leadsEtcd() {
			return nil, nil
		}
		return n.takeLead(ctx)
	}
	var holder Member
	if err := json.Unmarshal(res.Kvs[0].Value, &holder); err != nil {
		return nil, errors.Annotate(err, "decode the leader key")
	}
	if holder.ID != n.self.ID {
		n.leader.Store(&holder)
		if !n.isMember(holder.ID) || !n.outwaited(res.Kvs[0].CreateRevision) {
			return nil, nil
		}
	}
	n.leader.Store(nil)
	_, err = n.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", res.Kvs[0].ModRevision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	return nil, errors.Annotate(err, "delete the leader key of an earlier term")
}

// outwaited reports whether the leader of another member's key is past its lease although the key is still there.
//
// A leader reckons its lease from before a read that its etcd, as the leader of the group, had confirmed by a quorum; or,
// the first time, from before it created the key. So whatever it counts on began before this member's etcd was elected,
// or before this member saw the key: one lease after both it is over, if the clocks keep about the same pace.
func (n *Node) outwaited(revision int64) bool {
	moved := n.etcd.Server.LeaderChangedNotify()
	if !n.leadsEtcd() {
		n.sighted = sighting{}
		return false
	}
	now := n.cfg.Monotonic()
	if n.sighted.revision != revision || isClosed(n.sighted.moved) {
		n.sighted = sighting{revision: revision, since: now, moved: moved}
		return false
	}
	return now.Sub(n.sighted.since) > n.cfg.Lease+n.cfg.Lease/driftShare
}

// leadsEtcd is what this member believes; another may have been elected without its knowing.
func (n *Node) leadsEtcd() bool { return uint64(n.etcd.Server.Leader()) == n.self.ID }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// takeLead creates the leader key under a fresh lease; nil if another member was faster.
func (n *Node) takeLead(ctx context.Context) (*Leadership, error) {
	began := n.cfg.Monotonic()
	lease, err := n.client.Grant(ctx, int64(n.cfg.Lease/time.Second))
	if err != nil {
		return nil, errors.Annotate(err, "grant a lease")
	}
	value, err := json.Marshal(n.self)
	if err != nil {
		return nil, errors.Trace(err)
	}
	key := n.key(leaderKey)
	res, err := n.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(lease.ID))).
		Commit()
	if err != nil || !res.Succeeded {
		// The lease would run out by itself; giving it back merely lets somebody else lead sooner.
		_, _ = n.client.Revoke(ctx, lease.ID)
		return nil, errors.Annotate(err, "create the leader key")
	}
	n.leader.Store(&n.self)
	return newLeadership(n, lease.ID, res.Header.Revision, began), nil
}
