package pdapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Schedulers returns the names of those that run; with a status, of those that are paused or disabled.
func (c *Client) Schedulers(ctx context.Context, status string) ([]string, error) {
	path := "/schedulers"
	if status != "" {
		path += "?status=" + status
	}
	var res []string
	return res, c.get(ctx, path, &res)
}

// Diagnosis is what a scheduler did when it looked last, or why it did nothing.
type Diagnosis struct {
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Summary   string    `json:"summary"`
	Timestamp time.Time `json:"timestamp"`
}

// Diagnose asks what a scheduler does.
func (c *Client) Diagnose(ctx context.Context, name string) (Diagnosis, error) {
	var res Diagnosis
	return res, c.get(ctx, "/schedulers/diagnostic/"+url.PathEscape(name), &res)
}

// AddScheduler starts a scheduler, for stores if it is one that needs any.
func (c *Client) AddScheduler(ctx context.Context, name string, stores []uint64) (string, error) {
	fields := map[string]any{"name": name}
	if len(stores) > 0 {
		fields["store_id"] = stores[0] // which is all that others in the family know
		fields["store_ids"] = stores
	}
	return c.tell(ctx, http.MethodPost, "/schedulers", fields)
}

// RemoveScheduler ends a scheduler.
func (c *Client) RemoveScheduler(ctx context.Context, name string) (string, error) {
	return c.tell(ctx, http.MethodDelete, "/schedulers/"+url.PathEscape(name), nil)
}

// PauseScheduler keeps a scheduler, or "all", from working for a while; 0 ends that.
func (c *Client) PauseScheduler(ctx context.Context, name string, pause time.Duration) (string, error) {
	return c.tell(ctx, http.MethodPost, "/schedulers/"+url.PathEscape(name), map[string]int64{"delay": int64(pause / time.Second)})
}

// SchedulerConfig is one scheduler's own configuration.
type SchedulerConfig struct {
	// Batch is how many operators it makes at once.
	Batch int `json:"batch"`
	// Stores are those that it is for, each with ranges of keys.
	Stores map[uint64]any `json:"store-id-ranges,omitempty"`
}

// SchedulerConfig returns one scheduler's configuration.
func (c *Client) SchedulerConfig(ctx context.Context, name string) (SchedulerConfig, error) {
	var res SchedulerConfig
	return res, c.get(ctx, schedulerConfig(name, "list"), &res)
}

// AddSchedulerStore has a scheduler be for one store more.
func (c *Client) AddSchedulerStore(ctx context.Context, name string, store uint64) (string, error) {
	return c.tell(ctx, http.MethodPost, schedulerConfig(name, "config"), map[string]any{"name": name, "store_id": store})
}

// RemoveSchedulerStore has a scheduler be for one store less; it ends with the last.
func (c *Client) RemoveSchedulerStore(ctx context.Context, name string, store uint64) (string, error) {
	return c.tell(ctx, http.MethodDelete, schedulerConfig(name, fmt.Sprintf("delete/%d", store)), nil)
}

// SetSchedulerBatch sets how many operators a scheduler makes at once.
func (c *Client) SetSchedulerBatch(ctx context.Context, name string, batch int) (string, error) {
	return c.tell(ctx, http.MethodPost, schedulerConfig(name, "config"), map[string]any{"name": name, "batch": batch})
}

func schedulerConfig(name, rest string) string {
	return "/scheduler-config/" + url.PathEscape(name) + "/" + rest
}
