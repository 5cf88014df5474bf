package ctl

import (
	"bytes"
	"context"
	stderrors "errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
)

// file is a CSV of n rows with values of some bytes.
func file(n, valueBytes int) rowfile.Reader {
	var text strings.Builder
	text.WriteString("key,value\n")
	for i := range n {
		fmt.Fprintf(&text, "%d,%s\n", i, strings.Repeat("x", valueBytes))
	}
	return rowfile.NewReader(strings.NewReader(text.String()), rowfile.CSV, form.Text, 1<<20)
}

func newBatcher(rows rowfile.Reader, put func(ctx context.Context, keys, values [][]byte) error) *batcher {
	return &batcher{
		rows: rows, limits: defaultRowLimits(), timeout: time.Minute, state: "written", put: put, done: func(int, int64) {},
	}
}

func TestBatchesAreBounded(t *testing.T) {
	for _, tc := range []struct {
		rows, valueBytes int
		want             []int
	}{
		{0, 0, nil},
		{1, 0, []int{1}},
		{2*batchRows + 1, 1, []int{batchRows, batchRows, 1}},
		{batchRows, 1, []int{batchRows}},
		{10, batchBytes / 4, []int{4, 4, 2}},
	} {
		var got []int
		next := 0
		b := newBatcher(file(tc.rows, tc.valueBytes), func(_ context.Context, keys, values [][]byte) error {
			got = append(got, len(keys))
			for i, key := range keys {
				require.Equal(t, fmt.Sprint(next), string(key))
				require.Len(t, values[i], tc.valueBytes)
				next++
			}
			return nil
		})
		rows, bytes := 0, int64(0)
		b.done = func(n int, size int64) { rows, bytes = rows+n, bytes+size }
		require.NoError(t, b.run(t.Context()))
		require.Equal(t, tc.want, got)
		require.Equal(t, tc.rows, rows)
		require.GreaterOrEqual(t, bytes, int64(tc.rows*tc.valueBytes))
	}
}

// TestAFailedBatchIsNamed: what is written, what may be, and how to go on.
func TestAFailedBatchIsNamed(t *testing.T) {
	for skip, want := range map[int64]string{
		0: "no luck; the first 1024 rows are written, rows 1025 to 2048 (from line 1026 on) may be or not: run again, with --skip 1024 to go on from there",
		2: "no luck; rows 3 to 1026 are written, rows 1027 to 2050 (from line 1028 on) may be or not: run again, with --skip 1026 to go on from there",
	} {
		calls := 0
		b := newBatcher(file(3*batchRows, 0), func(context.Context, [][]byte, [][]byte) error {
			if calls++; calls == 2 {
				return stderrors.New("no luck")
			}
			return nil
		})
		b.skip = skip
		require.EqualError(t, b.run(t.Context()), want)
		require.Equal(t, 2, calls, "nothing is written after a failure")
	}
}

func TestAnInterruptedImportSaysHowFarItCame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := newBatcher(file(2*batchRows, 0), func(context.Context, [][]byte, [][]byte) error {
		cancel()
		return nil
	})
	b.put = func(ctx context.Context, _, _ [][]byte) error {
		defer cancel()
		return ctx.Err()
	}
	err := b.run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "the first 1024 rows are written")

	// The writer of a pipe hears the same Ctrl-C: its end is not the end of the rows.
	ctx, cancel = context.WithCancel(t.Context())
	b = newBatcher(file(batchRows, 0), func(context.Context, [][]byte, [][]byte) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, b.run(ctx), context.Canceled)
}

func TestImportsPatienceIsABatchs(t *testing.T) {
	b := newBatcher(file(1, 0), func(ctx context.Context, _, _ [][]byte) error {
		<-ctx.Done()
		return stderrors.New("busy")
	})
	b.timeout = time.Millisecond
	err := b.run(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "busy; no row is written, rows 1 to 1 (from line 2 on) may be or not")
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "imported", 100, false)
	p.add(1, 10, 10)
	require.Empty(t, out.String(), "a line every ten seconds is enough")
	p.every = 0
	p.add(2, 1014, 20)
	require.Regexp(t, `^imported 3 rows \(1KiB of keys and values\) in \d+m?s, \d+ rows/s\n$`, out.String())
	out.Reset()
	p.summary()
	require.Regexp(t, `^imported 3 rows`, out.String())
	o := p.outcome()
	require.EqualValues(t, 3, o.Rows)
	require.EqualValues(t, 1024, o.Bytes)

	out.Reset()
	p = newProgress(&out, "imported", 0, true)
	p.every = 0
	p.add(1, 1, 1)
	p.summary()
	require.Empty(t, out.String())
}
