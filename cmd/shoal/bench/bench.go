// Package bench is `shoal bench`: what a cluster does under load, as its clients see it.
//
// Concurrent clients go through the public client library. In a closed loop, the usual one, an operation of a client begins
// when the one before has ended: that finds out how much the cluster can do. With a rate the loop is open: operation n is due
// at n/rate, whether or not the cluster keeps up, and its latency is counted from then on, so that a moment in which the cluster
// stood still counts for everybody who would have come in it (no coordinated omission). See drive.go.
//
// The order of a run is: load what will be read; warm up; measure; for raw with --check, read every key back and compare with
// what was acknowledged. What clients do is a workload: raw.go, ycsb.go with the distributions of keys.go. Operation n of a run
// is drawn from the seed and n alone, so that two runs ask for the same. Outcomes go to record.go, from there each second to the
// terminal (screen.go) and at the end into a Result (report.go).
//
// Beside operations per second it tells the CPU time that the servers, if they run on this machine, and the client itself spent
// on one operation: a figure that moves with the code and not with what else the machine was doing.
package bench

import (
	"context"
	"io"
	"time"

	"github.com/pingcap/errors"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/rawclient"
)

// Options say how hard and for how long a cluster is asked, whatever the workload.
type Options struct {
	PD string // schedulers, host:port,…
	// Clients is how many operations may be under way at one time.
	Clients int
	// Rate is how many operations are due in a second; 0 for as many as the clients get done.
	Rate     float64
	Warmup   time.Duration
	Duration time.Duration
	// Seed decides what the operations are.
	Seed uint64
	// Prefix begins all keys of the run.
	Prefix string
	// Progress takes a line each second; nil for none.
	Progress io.Writer
	Verbose  bool
}

const (
	maxClients = 100_000
	maxRate    = 1e6
	maxKeys    = 100_000_000
	maxValue   = 4 << 20
)

func (o *Options) validate() error {
	switch {
	case o.Clients < 1 || o.Clients > maxClients:
		return errors.Errorf("--clients is %d; it must be between 1 and %d", o.Clients, maxClients)
	case o.Rate < 0 || (o.Rate > 0 && o.Rate < 0.01) || o.Rate > maxRate:
		return errors.Errorf("--rate is %g; it must be between 0.01 and %.0f operations per second, or 0 for a closed loop", o.Rate, maxRate)
	case o.Duration <= 0:
		return errors.Errorf("--duration is %v; it must be more than nothing", o.Duration)
	case o.Warmup < 0:
		return errors.Errorf("--warmup is %v; it must not be negative", o.Warmup)
	case o.Prefix == "":
		return errors.New("--prefix is empty; the keys of a run need one, so that they do not meet others")
	}
	return nil
}

// kvClient is what a run needs of the client library.
type kvClient interface {
	Get(ctx context.Context, key []byte, options ...rawkv.RawOption) ([]byte, error)
	Put(ctx context.Context, key, value []byte, options ...rawkv.RawOption) error
	BatchGet(ctx context.Context, keys [][]byte, options ...rawkv.RawOption) ([][]byte, error)
	BatchPut(ctx context.Context, keys, values [][]byte, options ...rawkv.RawOption) error
	Scan(ctx context.Context, start, end []byte, limit int, options ...rawkv.RawOption) (keys, values [][]byte, err error)
}

// openBy is how long connecting may take; a client that reaches nobody tries for longer than a user wants to wait.
const openBy = 15 * time.Second

// connected calls run with a client of the cluster and the addresses of its servers.
func connected(ctx context.Context, o Options, run func(kvClient, *servers) (*Result, error)) (*Result, error) {
	opening, cancel := context.WithTimeout(ctx, openBy)
	client, err := rawclient.Open(opening, o.PD, o.Verbose)
	cancel()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // all answers are in
	servers, err := findServers(ctx, o.PD)
	if err != nil {
		return nil, err
	}
	return run(client, servers)
}
