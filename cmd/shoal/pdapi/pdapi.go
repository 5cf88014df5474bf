// Package pdapi asks a scheduler's HTTP API what it knows of stores, regions and the scheduler group, for commands that show
// it to people, and has it change the group. It reads only what is shown; the API itself has more.
package pdapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pingcap/errors"
)

const (
	prefix      = "/pd/api/v1"
	answerBy    = 5 * time.Second
	answerLimit = 256 << 20 // bytes: some million regions
)

// Client talks to any of a list of schedulers.
type Client struct {
	endpoints []string
	http      http.Client
}

// New takes host:port, with or without http://, or several separated by commas.
func New(endpoints string) (*Client, error) {
	c := &Client{http: http.Client{Timeout: answerBy}}
	for e := range strings.SplitSeq(endpoints, ",") {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		u, err := url.Parse(e)
		if err != nil || u.Port() == "" {
			return nil, errors.Errorf("%q is not a scheduler's address; it must be host:port", e)
		}
		c.endpoints = append(c.endpoints, u.Scheme+"://"+u.Host)
	}
	return c, nil
}

// Store is one store as the scheduler sees it.
type Store struct {
	Store struct {
		ID            uint64  `json:"id"`
		Address       string  `json:"address"`
		StatusAddress string  `json:"status_address"`
		Version       string  `json:"version"`
		StateName     string  `json:"state_name"`
		Labels        []Label `json:"labels"`
	} `json:"store"`
	Status struct {
		Capacity      string `json:"capacity"`
		Available     string `json:"available"`
		UsedSize      string `json:"used_size"`
		LeaderCount   int    `json:"leader_count"`
		RegionCount   int    `json:"region_count"`
		LastHeartbeat string `json:"last_heartbeat_ts"`
		Uptime        string `json:"uptime"`
	} `json:"status"`
}

// Label is one of the labels that say where a store stands.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Peer is one replica.
type Peer struct {
	ID       uint64 `json:"id"`
	StoreID  uint64 `json:"store_id"`
	RoleName string `json:"role_name"`
}

// Region is one region as its leader reported it.
type Region struct {
	ID       uint64 `json:"id"`
	StartKey HexKey `json:"start_key"`
	EndKey   HexKey `json:"end_key"`
	Epoch    struct {
		ConfVer uint64 `json:"conf_ver"`
		Version uint64 `json:"version"`
	} `json:"epoch"`
	Peers   []Peer `json:"peers"`
	Leader  *Peer  `json:"leader"`
	Pending []Peer `json:"pending_peers"`
	Size    uint64 `json:"approximate_size"` // MiB
	Keys    uint64 `json:"approximate_keys"`
}

// HexKey is a key that the API writes in hexadecimal digits.
type HexKey []byte

// UnmarshalText reads the digits.
func (k *HexKey) UnmarshalText(text []byte) error {
	key, err := hex.DecodeString(string(text))
	*k = key
	return err
}

// MarshalText writes them again.
func (k HexKey) MarshalText() ([]byte, error) {
	return []byte(strings.ToUpper(hex.EncodeToString(k))), nil
}

// Stores returns all stores.
func (c *Client) Stores(ctx context.Context) ([]Store, error) {
	var res struct {
		Stores []Store `json:"stores"`
	}
	return res.Stores, c.get(ctx, "/stores", &res)
}

// Store returns one store.
func (c *Client) Store(ctx context.Context, id uint64) (Store, error) {
	var res Store
	return res, c.get(ctx, fmt.Sprintf("/store/%d", id), &res)
}

// Regions returns all regions in the order of their keys.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	var res struct {
		Regions []Region `json:"regions"`
	}
	return res.Regions, c.get(ctx, "/regions", &res)
}

// Region returns one region.
func (c *Client) Region(ctx context.Context, id uint64) (Region, error) {
	var res Region
	return res, c.get(ctx, fmt.Sprintf("/region/id/%d", id), &res)
}

// RegionOf returns the region that holds a key.
func (c *Client) RegionOf(ctx context.Context, key []byte) (Region, error) {
	var res Region
	return res, c.get(ctx, "/region/key/"+hex.EncodeToString(key)+"?format=hex", &res)
}

// Error is an answer other than 200.
type Error struct {
	Code    int
	Message string
}

// Error is the scheduler's own text.
func (e *Error) Error() string { return fmt.Sprintf("the scheduler answers %d: %s", e.Code, e.Message) }

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, into)
}

// UnreachableError says that no scheduler of a list could be talked to.
type UnreachableError struct {
	Endpoints []string
	Err       error // of the last one
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the scheduler cannot be reached at %s: %v; is it running (`shoal playground` starts a cluster), and is that where (--pd host:port)?",
		strings.Join(e.Endpoints, ", "), e.Err)
}

// Unwrap is what the last one failed with.
func (e *UnreachableError) Unwrap() error { return e.Err }

// do asks each endpoint until one answers. An answer that is an error is an answer, except for "not here".
func (c *Client) do(ctx context.Context, method, path string, into any) error {
	var err error
	for _, e := range c.endpoints {
		err = c.ask(ctx, method, e+prefix+path, into)
		var refused *Error
		if err == nil || (stderrors.As(err, &refused) && refused.Code != http.StatusServiceUnavailable) {
			return err
		}
	}
	var unreachable *url.Error
	if stderrors.As(err, &unreachable) {
		return &UnreachableError{c.endpoints, unreachable.Err}
	}
	return err
}

func (c *Client) ask(ctx context.Context, method, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return errors.WithStack(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return errors.Annotate(err, "the scheduler's answer broke off")
	}
	if res.StatusCode != http.StatusOK {
		var message string
		if json.Unmarshal(body, &message) != nil {
			message = strings.TrimSpace(string(body))
		}
		return &Error{Code: res.StatusCode, Message: message}
	}
	return errors.Annotatef(json.Unmarshal(body, into), "%s answers what is not a scheduler's JSON", address)
}
