package ctl

import (
	"context"
	"io"
	"os"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
	"github.com/shoal-kv/shoal/kv/config"
)

// Import reads a file row by row, checks each row against the limits, and writes rows in batches, one batch after the other. So at any moment all
// rows before some row are written, those of one batch may be, and those after it are not.

// A batch ends with either of these. The client cuts it into requests for each region and sends those at once.
const (
	batchRows  = 1024
	batchBytes = 1 << 20
)

// imports is what `kv import` is asked for.
type imports struct {
	*kv
	plain         form.Form
	format        rowfile.Format
	skip          int64
	dryRun, quiet bool
	limits        rowLimits
}

func (k *kv) importCommand() *cobra.Command {
	i := imports{kv: k, plain: form.Text, limits: defaultRowLimits()}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put the rows of a CSV or NDJSON file",
		Long: `Put the rows of a CSV or NDJSON file, such as "kv export" writes.

FILE ends in .csv, .ndjson or .jsonl, or --format says what it is; - is standard
input. A CSV begins with key,value; a line of NDJSON is {"key":"…","value":"…"}.
The file says in which form its keys and values are: in the header as
key:FORM,value:FORM, in each line of NDJSON as "encoding":"FORM". Where it does
not, --encoding does; without it, they are text byte for byte. (--read-as is for
arguments only.)

Rows are put in batches, in the file's order; this is no transaction. At the
first row that is wrong or cannot be written the import stops, and says which
rows are written and which may be. Putting a row again does no harm: run the
import again, or go on from there with --skip. --dry-run reads and checks the
whole file and writes nothing.`,
		Example: `  shoal ctl kv import all.csv
  shoal ctl kv import users.ndjson --dry-run
  gunzip < a-m.csv.gz | shoal ctl kv import - --format csv
  printf 'key,value\nhello,world\n' | shoal ctl kv import - --format csv`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRowFile,
		RunE:              func(cmd *cobra.Command, args []string) error { return i.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.Var(&i.format, "format", "what FILE is: csv or ndjson; by its name if not given")
	f.Var(&i.plain, "encoding", "how keys and values are written where the file does not say: escaped, hex, base64 or text")
	f.Int64Var(&i.skip, "skip", 0, "leave out this `number` of rows at the beginning")
	f.BoolVar(&i.dryRun, "dry-run", false, "check the file and write nothing")
	f.BoolVar(&i.quiet, "quiet", false, "show no progress")
	f.Var(&i.limits.key, "max-key-size", "longest key: the stores' storage.max-key-size")
	f.Var(&i.limits.row, "max-row-size", "largest key and value together: the stores' raftstore.raft-entry-max-size")
	return cmd
}

func (i *imports) run(cmd *cobra.Command, name string) error {
	format, err := fileFormat(name, i.format)
	if err != nil {
		return err
	}
	if i.skip < 0 {
		return errors.Errorf("--skip is %d; it must be at least 0", i.skip)
	}
	src, size, err := openRows(cmd, name)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // it was only read
	ctx, stop := i.interruptible(cmd)
	defer stop()
	verb, state := "imported", "written"
	if i.dryRun {
		verb, state = "checked", "good"
	}
	p := newProgress(cmd.ErrOrStderr(), verb, size, i.quiet)
	counted := &countedReader{r: src}
	b := batcher{
		rows: rowfile.NewReader(counted, format, i.plain, i.limits.fileRow()), limits: i.limits, skip: i.skip, timeout: i.timeout, state: state,
	}
	b.done = func(rows int, bytes int64) { p.add(rows, bytes, counted.n) }
	if i.dryRun {
		b.put = func(ctx context.Context, _, _ [][]byte) error { return ctx.Err() }
		err = b.run(ctx)
	} else {
		err = i.withKV(ctx, func(c *rawkv.Client) error {
			b.put = func(ctx context.Context, keys, values [][]byte) error { return c.BatchPut(ctx, keys, values) }
			return b.run(ctx)
		})
	}
	if err != nil {
		p.end()
		return err
	}
	p.summary()
	if i.output == asJSON {
		o := p.outcome()
		o.Skipped, o.DryRun = i.skip, i.dryRun
		return i.print(cmd.OutOrStdout(), o, nil)
	}
	return nil
}

// openRows opens a file, and tells its size where there is one.
func openRows(cmd *cobra.Command, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, errors.Trace(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.Errorf("%s is a directory", name)
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, 0, err
	}
	size := int64(0)
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// countedReader knows how far a file has been read.
type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// rowLimits are what stores refuse.
type rowLimits struct{ key, row size }

func defaultRowLimits() rowLimits {
	c := config.Default()
	return rowLimits{size(c.Storage.MaxKeySize), size(c.Raftstore.RaftEntryMaxSize)}
}

// fileRow is how long a row within the limits can be in a file: JSON writes a byte as six, and some room for the rest.
func (l rowLimits) fileRow() int { return 6*int(l.row) + 64<<10 }

func (l rowLimits) check(r rowfile.Row) error {
	switch n := size(len(r.Key)); {
	case n == 0:
		return errors.New("the key is empty, which no key can be")
	case n > l.key:
		return errors.Errorf("the key has %d bytes; the limit is %d (--max-key-size)", n, l.key)
	case n+size(len(r.Value)) > l.row:
		return errors.Errorf("key and value have %d bytes; the limit is %d (--max-row-size)", n+size(len(r.Value)), l.row)
	}
	return nil
}

// size is config.Size as a flag.
type size config.Size

// String, Set and Type make it one.
func (s *size) String() string { return config.Size(*s).String() }

// Set reads what the configuration reads too.
func (s *size) Set(text string) error { return (*config.Size)(s).UnmarshalText([]byte(text)) }

// Type is what help texts call the flag's value.
func (s *size) Type() string { return "size" }
