package pdapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Operator is something that is done to a region, or was.
type Operator struct {
	Desc     string `json:"desc"`  // who wants it, for instance balance-leader
	Brief    string `json:"brief"` // what it does
	RegionID uint64 `json:"region_id"`
	Kind     string `json:"kind"`
	Priority string `json:"priority"`
	Status   string `json:"status"`
	// Why is what ended it, unless it succeeded.
	Why        string    `json:"why,omitempty"`
	Steps      []string  `json:"steps"`
	Current    int       `json:"current_step"` // of Steps, from 0
	CreatedAt  time.Time `json:"create_at"`
	FinishedAt time.Time `json:"finish_at,omitzero"`
}

// The states of an operator that commands know by name.
const (
	OperatorStarted = "STARTED"
	OperatorSuccess = "SUCCESS"
)

// Operators returns what is being done; with kinds, only those of one of them.
func (c *Client) Operators(ctx context.Context, kinds []string) ([]Operator, error) {
	query := url.Values{"object": {"true"}}
	if len(kinds) > 0 {
		query["kind"] = kinds
	}
	var res []Operator
	return res, c.get(ctx, "/operators?"+query.Encode(), &res)
}

// Operator returns a region's operator, or the last that it had.
func (c *Client) Operator(ctx context.Context, region uint64) (Operator, error) {
	var res Operator
	return res, c.get(ctx, fmt.Sprintf("/operators/%d?object=true", region), &res)
}

// OperatorHistory returns the operators that ended since an instant, the latest first.
func (c *Client) OperatorHistory(ctx context.Context, since time.Time) ([]Operator, error) {
	var res []Operator
	return res, c.get(ctx, fmt.Sprintf("/operators/records?object=true&from=%d", since.Unix()), &res)
}

// AddOperator has something done. The fields are what the kind of operator, under "name", asks for.
func (c *Client) AddOperator(ctx context.Context, fields map[string]any) (string, error) {
	return c.tell(ctx, http.MethodPost, "/operators", fields)
}

// CancelOperator ends a region's operator.
func (c *Client) CancelOperator(ctx context.Context, region uint64) (string, error) {
	return c.tell(ctx, http.MethodDelete, fmt.Sprintf("/operators/%d", region), nil)
}
