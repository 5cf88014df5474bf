package playground

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

const (
	pollEvery = 100 * time.Millisecond
	// tellAfter is how long the same thing may be missing before it is told.
	tellAfter = 10 * time.Second
)

// cluster is what readiness is judged by.
type cluster interface {
	Stores(ctx context.Context) ([]pdapi.Store, error)
	Regions(ctx context.Context) ([]pdapi.Region, error)
}

// waitReady polls until nothing is missing, and sends what is whenever that has not changed for a while. The last message is empty: ready.
func waitReady(ctx context.Context, c cluster, stores, replicas int, missing chan<- string) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	last, since := "", time.Now()
	for {
		now := whatIsMissing(ctx, c, stores, replicas)
		switch {
		case now == "":
			send(ctx, missing, "")
			return
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > tellAfter:
			send(ctx, missing, now)
			since = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

func send(ctx context.Context, to chan<- string, s string) {
	select {
	case to <- s:
	case <-ctx.Done():
	}
}

// whatIsMissing is empty when every region has all its replicas, as far as there are stores, each of them caught up, and a leader.
func whatIsMissing(ctx context.Context, c cluster, stores, replicas int) string {
	known, err := c.Stores(ctx)
	if err != nil {
		return err.Error()
	}
	up := 0
	for _, s := range known {
		if s.Store.StateName == "Up" {
			up++
		}
	}
	if up < stores {
		return fmt.Sprintf("%d of %d stores are up", up, stores)
	}
	regions, err := c.Regions(ctx)
	if err != nil {
		return err.Error()
	}
	if len(regions) == 0 {
		return "there is no region yet"
	}
	replicas = min(stores, replicas)
	for _, r := range regions {
		if have := len(r.Peers) - len(r.Pending); have < replicas {
			return fmt.Sprintf("region %d has %d of %d replicas", r.ID, have, replicas)
		}
		if r.Leader == nil {
			return fmt.Sprintf("region %d has no leader", r.ID)
		}
	}
	return ""
}
