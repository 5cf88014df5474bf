package bench

import (
	"context"
	"math/rand/v2"

	"github.com/pingcap/errors"
)

// Workload says what the clients of a raw run do.
type Workload string

// The workloads: writes, reads, or each with the probability of one half.
const (
	Write Workload = "write"
	Read  Workload = "read"
	Mixed Workload = "mixed"
)

// Raw is a run of raw puts and gets of keys that are all equally likely.
type Raw struct {
	Options
	Workload  Workload
	ValueSize int
	Keys      int
	// Check gives each key to one client, which compares every value that it reads with what it has written; at the end all
	// are read back.
	Check bool
}

// minValue holds a key's number and a version.
const minValue = 16

func (o *Raw) validate() error {
	switch {
	case o.Workload != Write && o.Workload != Read && o.Workload != Mixed:
		return errors.Errorf("--workload is %q; it must be write, read or mixed", string(o.Workload))
	case o.ValueSize < minValue || o.ValueSize > maxValue:
		return errors.Errorf("--value-size is %d; it must be between %d and %d", o.ValueSize, minValue, maxValue)
	}
	if err := o.Options.validate(); err != nil {
		return err
	}
	if o.Keys < o.Clients || o.Keys > maxKeys {
		return errors.Errorf("--keys is %d; it must be between the number of clients (%d) and %d", o.Keys, o.Clients, maxKeys)
	}
	return nil
}

// RunRaw does one run. When ctx ends before the duration is over, the run ends early, with what was measured so far.
func RunRaw(ctx context.Context, o Raw) (*Result, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return connected(ctx, o.Options, func(client kvClient, servers *servers) (*Result, error) {
		return runRaw(ctx, o, client, servers)
	})
}

func runRaw(ctx context.Context, o Raw, client kvClient, servers *servers) (*Result, error) {
	b := &rawBench{Raw: o, store: client, ledger: newLedger(&o)}
	if o.Workload != Write {
		if err := b.load(ctx); err != nil {
			return nil, errors.Annotate(err, "cannot load the keys that are to be read")
		}
	}
	r := drive(ctx, o.Options, b, servers)
	r.Workload, r.Keys, r.ValueSize = "raw "+string(o.Workload), o.Keys, o.ValueSize
	if o.Check {
		// The check is not cut short with the run: it is what the run was for.
		r.Check = b.verify(context.WithoutCancel(ctx))
		r.Check.add(b.clients)
	}
	return r, nil
}

// rawBench is one raw run.
type rawBench struct {
	Raw
	store   kvClient
	ledger  *ledger
	clients []*rawClient
}

const (
	rawRead = iota
	rawWrite
)

func (b *rawBench) kinds() []string { return []string{"read", "write"} }

func (b *rawBench) client(id int) actor {
	c := &rawClient{rawBench: b, id: id, draws: newDraws(b.Seed), value: b.ledger.filler()}
	b.clients = append(b.clients, c)
	return c
}

// rawClient is one client, with the violations that it saw.
type rawClient struct {
	*rawBench
	id         int
	draws      *draws
	kind, key  int
	value      []byte
	violations int
	wrong      []string // the first of them
}

func (c *rawClient) draw(n uint64) int {
	r := c.draws.of(n)
	c.kind = rawRead
	if c.Workload == Write || (c.Workload == Mixed && r.Uint64()&1 == 0) {
		c.kind = rawWrite
	}
	c.key = c.pick(r)
	return c.kind
}

// pick chooses a key; when checking, one of the client's own.
func (c *rawClient) pick(r *rand.Rand) int {
	if !c.Check {
		return r.IntN(c.Keys)
	}
	own := (c.Keys - c.id + c.Clients - 1) / c.Clients
	return r.IntN(own)*c.Clients + c.id
}

func (c *rawClient) do(ctx context.Context) error {
	if c.kind == rawWrite {
		version := c.ledger.begin(c.key)
		stamp(c.value, c.key, version)
		if err := c.store.Put(ctx, c.ledger.key(c.key), c.value); err != nil {
			return err
		}
		c.ledger.acknowledge(c.key, version)
		return nil
	}
	value, err := c.store.Get(ctx, c.ledger.key(c.key))
	if err != nil {
		return err
	}
	if !c.Check {
		return nil
	}
	if problem := c.ledger.judge(c.key, value); problem != "" {
		c.violations++
		if len(c.wrong) < listed {
			c.wrong = append(c.wrong, "read: "+problem)
		}
	}
	return nil
}

// load writes every key once.
func (b *rawBench) load(ctx context.Context) error {
	return inBatches(b.batches(), func(first, end int) error {
		var keys, values [][]byte
		for key := first; key < end; key++ {
			value := b.ledger.filler()
			stamp(value, key, b.ledger.begin(key))
			keys, values = append(keys, b.ledger.key(key)), append(values, value)
		}
		if err := b.store.BatchPut(ctx, keys, values); err != nil {
			return err
		}
		for key := first; key < end; key++ {
			b.ledger.acknowledge(key, 1)
		}
		return ctx.Err()
	}, b.Progress)
}

func (b *rawBench) batches() batches {
	return batches{items: b.Keys, bytes: b.ValueSize, clients: b.Clients}
}
