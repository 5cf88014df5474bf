package pdapi

import (
	"context"
	"encoding/json"
	"net/http"
)

// Config is the configuration of the cluster by section and key, as far as sections have keys.
type Config map[string]map[string]json.RawMessage

// Config returns the configuration that holds.
func (c *Client) Config(ctx context.Context) (Config, error) { return c.config(ctx, "/config") }

// DefaultConfig returns the configuration that holds where nothing was set.
func (c *Client) DefaultConfig(ctx context.Context) (Config, error) {
	return c.config(ctx, "/config/default")
}

func (c *Client) config(ctx context.Context, path string) (Config, error) {
	var all map[string]json.RawMessage
	if err := c.get(ctx, path, &all); err != nil {
		return nil, err
	}
	sections := Config{}
	for name, text := range all { // order-free: a map is made
		var keys map[string]json.RawMessage
		if json.Unmarshal(text, &keys) == nil && keys != nil {
			sections[name] = keys
		}
	}
	return sections, nil
}

// SetConfig changes keys.
func (c *Client) SetConfig(ctx context.Context, values map[string]any) (string, error) {
	return c.tell(ctx, http.MethodPost, "/config", values)
}
