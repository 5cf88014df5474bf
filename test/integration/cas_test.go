package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/shoaltest"
)

// One hundred clients each add themselves to one value by compare-and-swap, while stores stop and start: at the end everybody is in it, and once.
// The value is a list and not a number because the client library repeats a swap whose answer a stopping store owes it: the repeated one reports a
// failure, and only the list tells that it had succeeded.
func TestCompareAndSwapByAHundred(t *testing.T) {
	c := shoaltest.Start(t, shoaltest.Stores(3))
	cli := connect(t, c).SetAtomicForCAS(true)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key := []byte("members")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if err := join(ctx, cli, key, fmt.Sprintf("%03d", i)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	for i := range c.Addrs() {
		c.StopStore(i)
		c.StartStore(i)
	}
	all.Wait()
	value, err := cli.Get(ctx, key)
	require.NoError(t, err)
	members := strings.Fields(string(value))
	require.Len(t, members, 100)
	slices.Sort(members)
	require.Len(t, slices.Compact(members), 100)
}

type swapper interface {
	CompareAndSwap(ctx context.Context, key, previous, value []byte, options ...rawOption) ([]byte, bool, error)
}

// join adds me to the list; an undetermined swap is looked at again.
func join(ctx context.Context, cli swapper, key []byte, me string) error {
	var previous []byte
	for ctx.Err() == nil {
		if slices.Contains(strings.Fields(string(previous)), me) {
			return nil
		}
		found, swapped, err := cli.CompareAndSwap(ctx, key, previous, []byte(string(previous)+" "+me))
		switch {
		case err != nil && !strings.Contains(err.Error(), "undetermined"):
			return err
		case err == nil && swapped:
			return nil
		case err == nil:
			previous = found
		}
	}
	return ctx.Err()
}
