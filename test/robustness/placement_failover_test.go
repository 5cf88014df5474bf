package robustness

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	pd "github.com/tikv/pd/client"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
)

// killLeaders kills the schedulers' leader and starts it again, until it is told to stop and has done it as often as it should.
func (f *fleet) killLeaders(over *atomic.Bool) (kills int) {
	least, pause := sized("SHOAL_PLACEMENT_KILLS", 3), time.Duration(sized("SHOAL_PLACEMENT_EVERY", 6))*time.Second
	for !f.t.Failed() && (!over.Load() || kills < least) {
		<-time.After(pause)
		if i := f.leader(); i >= 0 {
			f.schedulers[i].kill()
			<-time.After(time.Second)
			f.spawn(f.schedulers[i])
			kills++
		}
	}
	return kills
}

// leader is the scheduler that leads; -1 while nobody knows.
func (f *fleet) leader() int {
	var l struct {
		URLs []string `json:"client_urls"`
	}
	if !f.ask(http.MethodGet, "/leader", nil, &l) || len(l.URLs) == 0 {
		return -1
	}
	return slices.IndexFunc(f.urls, func(u string) bool { return "http://"+u == l.URLs[0] })
}

// watchGrants asks for timestamps and ids all along: each must be above the one before. What it returns ends that, and says how many there were.
func (f *fleet) watchGrants() (stop func() (stamps, ids int)) {
	ctx, cancel := context.WithCancel(context.Background())
	urls := make([]string, len(f.urls))
	for i, u := range f.urls {
		urls[i] = "http://" + u
	}
	setup, end := context.WithTimeout(ctx, time.Minute)
	defer end()
	clock, err := pd.NewClientWithContext(ctx, urls, pd.SecurityOption{})
	require.NoError(f.t, err)
	dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) }
	allocator, err := client.New(setup, urls, dial, zap.NewNop())
	require.NoError(f.t, err)
	var wg sync.WaitGroup
	var stamps, ids int
	wg.Go(func() {
		stamps = f.increases(ctx, "timestamp", func(ctx context.Context) (uint64, error) {
			physical, logical, err := clock.GetTS(ctx)
			return uint64(physical)<<18 | uint64(logical), err
		})
	})
	wg.Go(func() { ids = f.increases(ctx, "id", allocator.AllocID) })
	return func() (int, int) {
		cancel()
		wg.Wait()
		clock.Close()
		allocator.Close()
		return stamps, ids
	}
}

// increases asks for one after the other; who asks has a minute, and asks again meanwhile, as client-go does.
func (f *fleet) increases(ctx context.Context, what string, next func(context.Context) (uint64, error)) (n int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	answered := time.Now()
	for last := uint64(0); ; {
		select {
		case <-ctx.Done():
			return n
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		got, err := next(limited)
		cancel()
		switch {
		case err == nil && got <= last:
			f.t.Errorf("%s %d after %d", what, got, last)
		case err == nil:
			last, answered = got, time.Now()
			n++
		case ctx.Err() == nil && time.Since(answered) > time.Minute:
			f.t.Errorf("no %s for a minute: %v", what, err)
			return n
		}
	}
}
