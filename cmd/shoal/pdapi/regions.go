package pdapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Peer is one replica.
type Peer struct {
	ID       uint64 `json:"id"`
	StoreID  uint64 `json:"store_id"`
	RoleName string `json:"role_name"`
}

// DownPeer is a replica that its leader has not heard of for a while.
type DownPeer struct {
	Peer    Peer   `json:"peer"`
	Seconds uint64 `json:"down_seconds"`
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
	Peers   []Peer     `json:"peers"`
	Leader  *Peer      `json:"leader"`
	Down    []DownPeer `json:"down_peers,omitempty"`
	Pending []Peer     `json:"pending_peers"`
	// What flowed between the last two reports of the leader.
	WrittenBytes uint64 `json:"written_bytes"`
	ReadBytes    uint64 `json:"read_bytes"`
	WrittenKeys  uint64 `json:"written_keys"`
	ReadKeys     uint64 `json:"read_keys"`
	Size         uint64 `json:"approximate_size"` // MiB
	Keys         uint64 `json:"approximate_keys"`
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

// Regions returns all regions in the order of their keys.
func (c *Client) Regions(ctx context.Context) ([]Region, error) { return c.regions(ctx, "/regions") }

func (c *Client) regions(ctx context.Context, path string) ([]Region, error) {
	var res struct {
		Regions []Region `json:"regions"`
	}
	return res.Regions, c.get(ctx, path, &res)
}

// RegionsBetween returns at most limit regions that hold keys in [start, end), in their order; an empty end is none.
func (c *Client) RegionsBetween(ctx context.Context, start, end []byte, limit int) ([]Region, error) {
	return c.regions(ctx, fmt.Sprintf("/regions/key?key=%s&end_key=%s&limit=%d", url.QueryEscape(string(start)), url.QueryEscape(string(end)), limit))
}

// RegionsOn returns the regions that have a replica on a store.
func (c *Client) RegionsOn(ctx context.Context, store uint64) ([]Region, error) {
	return c.regions(ctx, fmt.Sprintf("/regions/store/%d", store))
}

// TopRegions returns the regions that have most of something: size, keys, readflow, writeflow, confver or version.
func (c *Client) TopRegions(ctx context.Context, by string, limit int) ([]Region, error) {
	return c.regions(ctx, fmt.Sprintf("/regions/%s?limit=%d", by, limit))
}

// CheckRegions returns the regions in a state such as miss-peer or empty-region.
func (c *Client) CheckRegions(ctx context.Context, state string) ([]Region, error) {
	return c.regions(ctx, "/regions/check/"+state)
}

// Siblings returns the regions before and after one.
func (c *Client) Siblings(ctx context.Context, id uint64) ([]Region, error) {
	return c.regions(ctx, fmt.Sprintf("/regions/sibling/%d", id))
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

// Scattered is how many percent of what was asked for is done or under way.
type Scattered struct {
	Percentage int       `json:"processed-percentage"`
	Failures   []Unmoved `json:"failures,omitempty"`
}

// Unmoved is a region that could not be scattered, and why.
type Unmoved struct {
	Region uint64 `json:"region-id"`
	Why    string `json:"why"`
}

// ScatterRegions spreads regions over the stores, away from others of the same group.
func (c *Client) ScatterRegions(ctx context.Context, ids []uint64, group string) (Scattered, error) {
	var res Scattered
	return res, c.do(ctx, http.MethodPost, "/regions/scatter", map[string]any{"regions_id": ids, "group": group}, &res)
}
