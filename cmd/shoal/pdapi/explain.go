package pdapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// ExplainedRegion is a region, and what the scheduler has to say of it.
type ExplainedRegion struct {
	Region Region    `json:"region"`
	Now    time.Time `json:"now"`
	schedule.RegionExplanation
}

// ExplainedBalance is what the scheduler has to say of how even the stores are.
type ExplainedBalance struct {
	Now time.Time `json:"now"`
	schedule.BalanceExplanation
}

// ExplainRegion explains a region.
func (c *Client) ExplainRegion(ctx context.Context, id uint64) (res ExplainedRegion, err error) {
	return res, c.own(ctx, fmt.Sprintf("/explain/region/%d", id), &res)
}

// ExplainKey explains the region that holds a key.
func (c *Client) ExplainKey(ctx context.Context, key []byte) (res ExplainedRegion, err error) {
	return res, c.own(ctx, "/explain/key?hex="+hex.EncodeToString(key), &res)
}

// ExplainBalance explains how even the stores are.
func (c *Client) ExplainBalance(ctx context.Context) (res ExplainedBalance, err error) {
	return res, c.own(ctx, "/explain/balance", &res)
}

func (c *Client) own(ctx context.Context, path string, into any) error {
	return c.doAt(ctx, http.MethodGet, ownPrefix+path, nil, into)
}
