package meta

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pingcap/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/election"
)

const (
	leaderKey      = "leader"
	campaignEvery  = 50 * time.Millisecond
	electionCallBy = 3 * time.Second
)

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
// What it does about the leader key is decided by election.Candidate.
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
	var look election.Look
	var other *Member
	if len(res.Kvs) > 0 {
		var holder Member
		if err := json.Unmarshal(res.Kvs[0].Value, &holder); err != nil {
			return nil, errors.Annotate(err, "decode the leader key")
		}
		look = election.Look{Held: true, Revision: res.Kvs[0].CreateRevision, Own: holder.ID == n.self.ID, Stranger: !n.isMember(holder.ID)}
		if !look.Own {
			other = &holder
		}
	}
	n.leader.Store(other)
	switch n.candidate.Decide(n.seeEtcd(look)) {
	case election.Take:
		return n.takeLead(ctx)
	case election.Wait:
		return nil, nil
	}
	n.leader.Store(nil)
	_, err = n.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", res.Kvs[0].ModRevision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	return nil, errors.Annotate(err, "delete the leader key of an earlier term")
}

// seeEtcd adds to a look what there is to see of etcd's lead.
func (n *Node) seeEtcd(l election.Look) election.Look {
	l.Moved = n.moved != nil && isClosed(n.moved)
	n.moved = n.etcd.Server.LeaderChangedNotify()
	l.LeadsEtcd = n.leadsEtcd()
	l.Now = n.cfg.Monotonic()
	return l
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
