package ctl

import (
	"context"

	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/rawclient"
)

// connection is the client of one command, or of all commands of a shell.
type connection struct {
	// keep holds the client open for the next command.
	keep bool

	client  *rawkv.Client // nil while there is none
	pd      string        // what it was opened with
	verbose bool
}

// with opens a client, unless the last one is still good, for one action.
func (o *options) with(ctx context.Context, action func(c *rawkv.Client) error) error {
	c := o.connection
	if c.client != nil && (c.pd != o.pd || c.verbose != o.verbose) {
		c.close()
	}
	if c.client == nil {
		client, err := rawclient.Open(ctx, o.pd, o.verbose)
		if err != nil {
			return o.explain(ctx, err)
		}
		c.client, c.pd, c.verbose = client, o.pd, o.verbose
	}
	err := action(c.client)
	if err != nil || !c.keep {
		c.close() // after an error the next command looks anew for the cluster
	}
	return o.explain(ctx, err)
}

func (c *connection) close() {
	if c.client != nil {
		_ = c.client.Close() // the answer is known already
		c.client = nil
	}
}
