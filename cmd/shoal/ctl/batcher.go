package ctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
)

// batcher puts the rows of a file, batch by batch.
type batcher struct {
	rows    rowfile.Reader
	limits  rowLimits
	skip    int64         // rows to leave out
	timeout time.Duration // of one batch
	put     func(ctx context.Context, keys, values [][]byte) error
	done    func(rows int, bytes int64) // is told of each batch
	state   string                      // what rows are when they are put: "written"

	keys, values [][]byte // the batch, whose first row stands on line first
	first        int
	bytes        int64
	written      int64 // rows of the file, skipped ones included, that are dealt with
}

// run puts all rows. Its error says how far it came.
func (b *batcher) run(ctx context.Context) error {
	for n := int64(0); ; n++ {
		row, err := b.rows.Next()
		if err == nil && n >= b.skip {
			if err = b.limits.check(row); err != nil {
				err = &rowfile.RowError{Row: int(n + 1), Line: b.rows.Line(), Err: err}
			}
		}
		if err != nil {
			return b.end(ctx, n, err)
		}
		if n < b.skip {
			b.written++
			continue
		}
		if len(b.keys) == 0 {
			b.first = b.rows.Line()
		}
		b.keys, b.values = append(b.keys, row.Key), append(b.values, row.Value)
		b.bytes += int64(len(row.Key) + len(row.Value))
		if len(b.keys) >= batchRows || b.bytes >= batchBytes {
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// end puts what is left when there are no more rows after the first n, because of err.
func (b *batcher) end(ctx context.Context, n int64, err error) error {
	if flushErr := b.flush(ctx); flushErr != nil {
		return flushErr
	}
	if err != io.EOF {
		return fmt.Errorf("%w; %s: mend the file and run again, with --skip %d to leave those out", err, b.progress(), b.written)
	}
	if err := ctx.Err(); err != nil { // what ends us may have ended who writes the file
		return fmt.Errorf("%w; %s", err, b.progress())
	}
	if n < b.skip {
		return errors.Errorf("the file has %d rows, and --skip leaves out %d", n, b.skip)
	}
	return nil
}

// flush puts the batch.
func (b *batcher) flush(ctx context.Context) error {
	if len(b.keys) == 0 {
		return nil
	}
	patient, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if err := b.put(patient, b.keys, b.values); err != nil {
		if patient.Err() != nil {
			err = fmt.Errorf("%w: %w", patient.Err(), err) // why it ended, and what held it up
		}
		return fmt.Errorf("%w; %s, rows %d to %d (from line %d on) may be or not: run again, with --skip %d to go on from there",
			err, b.progress(), b.written+1, b.written+int64(len(b.keys)), b.first, b.written)
	}
	b.written += int64(len(b.keys))
	b.done(len(b.keys), b.bytes)
	b.keys, b.values, b.bytes = b.keys[:0], b.values[:0], 0
	return nil
}

// progress says which rows are dealt with.
func (b *batcher) progress() string {
	switch {
	case b.written <= b.skip:
		return "no row is " + b.state
	case b.skip > 0:
		return fmt.Sprintf("rows %d to %d are %s", b.skip+1, b.written, b.state)
	case b.written == 1:
		return "the first row is " + b.state
	default:
		return fmt.Sprintf("the first %d rows are %s", b.written, b.state)
	}
}
