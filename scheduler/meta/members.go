package meta

import (
	"context"
	"slices"
	"sort"

	"github.com/pingcap/errors"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Member is one member of the scheduler group.
type Member struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"` // empty while a member that was added has never run
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
}

func memberOf(m *membership.Member) Member {
	return Member{ID: uint64(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs}
}

// Members lists the group by name, as this member knows it.
func (n *Node) Members() []Member {
	known := n.etcd.Server.Cluster().Members()
	members := make([]Member, 0, len(known))
	for _, m := range known {
		members = append(members, memberOf(m))
	}
	sort.Slice(members, func(i, j int) bool { return members[i].Name < members[j].Name })
	return members
}

func (n *Node) isMember(id uint64) bool {
	return slices.ContainsFunc(n.Members(), func(m Member) bool { return m.ID == id })
}

// EtcdLeader is the member that leads the etcd group, which is not always the scheduler's leader.
func (n *Node) EtcdLeader() (Member, bool) {
	m := n.etcd.Server.Cluster().Member(n.etcd.Server.Leader())
	if m == nil {
		return Member{}, false
	}
	return memberOf(m), true
}

// MoveLead hands the lead over to another member. Only the leader can; its Leadership ends with it, and the other member
// wins the next election as soon as this one has resigned. It should be known to be up: while etcd waits for it, for an
// election timeout at most, nothing can be written.
func (n *Node) MoveLead(ctx context.Context, to uint64) error {
	if !n.leadsEtcd() {
		return ErrNotLeader
	}
	return errors.Annotate(n.etcd.Server.MoveLeader(ctx, n.self.ID, to), "etcd does not hand its lead over")
}

// Remove takes a member out of the group for good. It stops by itself when it learns of it, and cannot come back on the
// same data. The leader must hand the lead over first.
func (n *Node) Remove(ctx context.Context, id uint64) error {
	if id == n.self.ID {
		return errors.New("a leader does not remove itself: hand the lead over first")
	}
	_, err := n.client.MemberRemove(ctx, id)
	return errors.Annotate(err, "etcd does not remove the member")
}
