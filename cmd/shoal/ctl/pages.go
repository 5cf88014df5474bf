package ctl

import (
	"bytes"
	"context"

	"github.com/tikv/client-go/v2/rawkv"
)

// How much of a range is asked for at once. A page must be full unless the range is at its end, so a store refuses one that would be too
// large (256 MiB) instead of shortening it: pages are as many rows as the last ones let expect.
const (
	pageBytes   = 1 << 20 // what a page aims at
	firstPage   = 64      // rows, while nothing is known of their size
	longestPage = 1024    // rows
)

// pages walks through a range page by page, in the order of the keys or, in reverse, against it.
type pages struct {
	client     *rawkv.Client
	start, end []byte
	reverse    bool
	keysOnly   bool

	rows int  // of the next page
	done bool // there are no more
}

// next reads at most limit rows. It moves on only when it succeeds.
func (p *pages) next(ctx context.Context, limit int) (keys, values [][]byte, err error) {
	var opts []rawkv.RawOption
	if p.keysOnly {
		opts = append(opts, rawkv.ScanKeyOnly())
	}
	page := p.client.Scan
	if p.reverse {
		page = p.client.ReverseScan
	}
	if p.rows == 0 {
		p.rows = firstPage
	}
	want := min(limit, p.rows)
	keys, values, err = page(ctx, p.start, p.end, want, opts...)
	if err != nil {
		p.rows = max(1, p.rows/8)
		return nil, nil, err
	}
	p.done = len(keys) < want
	p.learn(keys, values)
	if len(keys) > 0 {
		p.start = keys[len(keys)-1]
		if !p.reverse {
			p.start = append(bytes.Clone(p.start), 0)
		}
	}
	return keys, values, nil
}

// learn sizes the next page.
func (p *pages) learn(keys, values [][]byte) {
	size := 0
	for i := range keys {
		size += len(keys[i]) + len(values[i])
	}
	if size > 0 {
		p.rows = min(max(1, len(keys)*pageBytes/size), 2*p.rows, longestPage)
	}
}

// keyRange is which keys `kv scan` and `kv export` are about: from start, up to but without end. An empty bound is none.
type keyRange struct{ start, end []byte }

// prefixRange is all keys that begin with prefix.
func prefixRange(prefix []byte) keyRange { return keyRange{prefix, prefixEnd(prefix)} }

// prefixEnd is the first key after all that begin with prefix; nil when there is none.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
