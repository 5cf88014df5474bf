package client

import (
	"context"
	"slices"
	"strings"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// leaderClient is the leader as last known, or found anew.
func (c *Client) leaderClient(ctx context.Context) (pdpb.PDClient, string, error) {
	c.mu.Lock()
	addr := c.leader
	c.mu.Unlock()
	if addr == "" {
		var err error
		if addr, err = c.findLeader(ctx); err != nil {
			return nil, "", err
		}
	}
	conn, err := c.conn(addr)
	if err != nil {
		return nil, "", err
	}
	return pdpb.NewPDClient(conn), addr, nil
}

// forgetLeader makes the next call look again, unless another leader was found meanwhile.
func (c *Client) forgetLeader(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader == addr {
		c.leader = ""
	}
}

// findLeader asks one member after the other who leads. Callers that come together share one search.
func (c *Client) findLeader(ctx context.Context) (string, error) {
	c.finding.Lock()
	defer c.finding.Unlock()
	c.mu.Lock()
	found, members := c.leader, slices.Clone(c.members)
	c.mu.Unlock()
	if found != "" {
		return found, nil
	}
	err := errors.New("no member names a leader")
	for _, addr := range members {
		leader, askErr := c.askLeader(ctx, addr)
		if askErr != nil {
			err = errors.Annotatef(askErr, "ask %s", addr)
			continue
		}
		if leader != "" {
			c.mu.Lock()
			c.leader = leader
			c.mu.Unlock()
			return leader, nil
		}
	}
	return "", err
}

// askLeader asks one member; "" if it knows no leader. Other members it names are remembered. The first answer fixes the
// cluster's id: a member of another cluster is an error from then on.
func (c *Client) askLeader(ctx context.Context, addr string) (string, error) {
	conn, err := c.conn(addr)
	if err != nil {
		return "", err
	}
	conn.ResetConnectBackoff() // it may have been down for long, and is asked because it may be back
	ctx, cancel := context.WithTimeout(ctx, askMemberBy)
	defer cancel()
	res, err := pdpb.NewPDClient(conn).GetMembers(ctx, &pdpb.GetMembersRequest{Header: c.header()})
	if err != nil {
		return "", err
	}
	id := res.GetHeader().GetClusterId()
	switch {
	case id == 0:
		return "", errors.New("the member names no cluster id")
	case c.clusterID == 0:
		c.clusterID = id // under finding, and New has not returned yet
	case c.clusterID != id:
		c.log.Error("an endpoint belongs to another cluster", zap.String("addr", addr),
			zap.Uint64("its-cluster-id", id), zap.Uint64("cluster-id", c.clusterID))
		return "", errors.Errorf("it belongs to cluster %d, not to %d", id, c.clusterID)
	}
	c.mu.Lock()
	for _, m := range res.GetMembers() {
		for _, url := range m.GetClientUrls() {
			if a := address(url); a != "" && !slices.Contains(c.members, a) {
				c.members = append(c.members, a)
			}
		}
	}
	c.mu.Unlock()
	for _, url := range res.GetLeader().GetClientUrls() {
		if a := address(url); a != "" {
			return a, nil
		}
	}
	return "", nil
}

func (c *Client) conn(addr string) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, errors.New("the scheduler's client is closed")
	}
	if conn := c.conns[addr]; conn != nil {
		return conn, nil
	}
	conn, err := c.dial(c.ctx, addr)
	if err != nil {
		return nil, errors.Annotatef(err, "dial %s", addr)
	}
	c.conns[addr] = conn
	return conn, nil
}

// address strips a URL down to host:port.
func address(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		url = rest
	}
	return strings.TrimSuffix(strings.TrimSpace(url), "/")
}
