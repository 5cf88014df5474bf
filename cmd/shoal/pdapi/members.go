package pdapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Member is one scheduler of the group.
type Member struct {
	Name       string   `json:"name"` // empty while it was added but has never run
	ID         uint64   `json:"member_id"`
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
}

// Members is the scheduler group.
type Members struct {
	Header struct {
		ClusterID uint64 `json:"cluster_id"`
	} `json:"header"`
	Members    []Member `json:"members"`
	Leader     *Member  `json:"leader,omitempty"` // nil while there is none
	EtcdLeader *Member  `json:"etcd_leader,omitempty"`
}

// Health is whether a member answers.
type Health struct {
	ID     uint64 `json:"member_id"`
	Health bool   `json:"health"`
}

// Members returns the group.
func (c *Client) Members(ctx context.Context) (Members, error) {
	var res Members
	return res, c.get(ctx, "/members", &res)
}

// Leader returns the member that leads.
func (c *Client) Leader(ctx context.Context) (Member, error) {
	var res Member
	return res, c.get(ctx, "/leader", &res)
}

// Health asks whether the members answer.
func (c *Client) Health(ctx context.Context) ([]Health, error) {
	var res []Health
	return res, c.get(ctx, "/health", &res)
}

// Resign has the leader hand its lead over to another member. It returns what the scheduler says.
func (c *Client) Resign(ctx context.Context) (string, error) {
	return c.tell(ctx, http.MethodPost, "/leader/resign", nil)
}

// TransferLeader has the leader hand its lead over to the member with this name.
func (c *Client) TransferLeader(ctx context.Context, name string) (string, error) {
	return c.tell(ctx, http.MethodPost, "/leader/transfer/"+url.PathEscape(name), nil)
}

// RemoveMember takes a member out of the group for good.
func (c *Client) RemoveMember(ctx context.Context, name string) (string, error) {
	return c.tell(ctx, http.MethodDelete, "/members/name/"+url.PathEscape(name), nil)
}

// RemoveMemberID is RemoveMember for one that has no name yet.
func (c *Client) RemoveMemberID(ctx context.Context, id uint64) (string, error) {
	return c.tell(ctx, http.MethodDelete, fmt.Sprintf("/members/id/%d", id), nil)
}
