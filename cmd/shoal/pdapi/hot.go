package pdapi

import "context"

// HotPeer is a replica through which much flows; rates are a second.
type HotPeer struct {
	StoreID   uint64  `json:"store_id"`
	RegionID  uint64  `json:"region_id"`
	HotDegree int     `json:"hot_degree"`
	Bytes     float64 `json:"flow_bytes"`
	Keys      float64 `json:"flow_keys"`
	Queries   float64 `json:"flow_query"`
}

// HotStore is what flows through one store.
type HotStore struct {
	StoreBytes float64   `json:"store_bytes"`
	StoreKeys  float64   `json:"store_keys"`
	StoreQuery float64   `json:"store_query"`
	TotalBytes float64   `json:"total_flow_bytes"`
	TotalKeys  float64   `json:"total_flow_keys"`
	Count      int       `json:"regions_count"`
	Peers      []HotPeer `json:"statistics"`
}

// HotRegions is what is hot, by the stores' ids: with leaders alone, or with all replicas.
type HotRegions struct {
	AsPeer   map[string]HotStore `json:"as_peer"`
	AsLeader map[string]HotStore `json:"as_leader"`
}

// HotRegions returns the regions through which much flows: what is "read" or "write".
func (c *Client) HotRegions(ctx context.Context, what string) (HotRegions, error) {
	var res HotRegions
	return res, c.get(ctx, "/hotspot/regions/"+what, &res)
}

// StoreFlow is what flows through stores a second, by their ids.
type StoreFlow struct {
	BytesWritten map[string]float64 `json:"bytes-write-rate,omitempty"`
	BytesRead    map[string]float64 `json:"bytes-read-rate,omitempty"`
	KeysWritten  map[string]float64 `json:"keys-write-rate,omitempty"`
	KeysRead     map[string]float64 `json:"keys-read-rate,omitempty"`
}

// StoreFlow asks for the flow of all stores.
func (c *Client) StoreFlow(ctx context.Context) (StoreFlow, error) {
	var res StoreFlow
	return res, c.get(ctx, "/hotspot/stores", &res)
}
