package ctl

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
)

// Export reads a range page by page and writes each page to a file before it asks for the next one. The file has another name until it is
// complete.

// export is what `kv export` is asked for.
type export struct {
	*kv
	start, end, prefix string // as they were written
	encoding           form.Form
	format             rowfile.Format
	quiet              bool
}

func (k *kv) exportCommand() *cobra.Command {
	e := export{kv: k, encoding: form.Escaped}
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write the keys of a range and their values to a CSV or NDJSON file",
		Long: `Write the keys of a range and their values to a CSV or NDJSON file, in the order
of the keys.

FILE ends in .csv, .ndjson or .jsonl, or --format says what it is; - is standard
output. The file says in which form its keys and values are (--encoding), so
that "kv import" reads back exactly the bytes that there were. A file is written
under another name and renamed when it is complete: FILE is the old one or a
whole new one.

This is not a snapshot: raw keys have no versions. Keys are read page by page,
and what is written meanwhile may be in the file or not. When keys expire (put
--ttl) is not exported.`,
		Example: `  shoal ctl kv export all.csv
  shoal ctl kv export users.ndjson --prefix user/
  shoal ctl kv export - --format csv --start a --end m | gzip > a-m.csv.gz
  shoal ctl kv export binary.csv --encoding base64`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRowFile,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&e.start, "start", "", "`key` to begin with; the first one if empty")
	f.StringVar(&e.end, "end", "", "`key` to stop before; after the last one if empty")
	f.StringVar(&e.prefix, "prefix", "", "export the keys that begin with this `key`")
	f.Var(&e.format, "format", "what FILE is: csv or ndjson; by its name if not given")
	f.Var(&e.encoding, "encoding", "how keys and values are written in the file: escaped, hex, base64 or text")
	f.BoolVar(&e.quiet, "quiet", false, "show no progress")
	return cmd
}

func (e *export) run(cmd *cobra.Command, name string) error {
	format, err := fileFormat(name, e.format)
	if err != nil {
		return err
	}
	r, err := e.keyRange()
	if err != nil {
		return err
	}
	ctx, stop := e.interruptible(cmd)
	defer stop()
	p := newProgress(cmd.ErrOrStderr(), "exported", 0, e.quiet)
	write := func(w io.Writer) error {
		rows, err := rowfile.NewWriter(w, format, e.encoding)
		if err != nil {
			return err
		}
		return e.withKV(ctx, func(c *rawkv.Client) error { return e.copy(ctx, c, r, rows, p) })
	}
	if name == "-" {
		err = write(cmd.OutOrStdout())
	} else {
		err = replaceFile(name, write)
	}
	if err != nil {
		p.end()
		return err
	}
	p.summary()
	if e.output == asJSON && name != "-" {
		return e.print(cmd.OutOrStdout(), p.outcome(), nil)
	}
	return nil
}

// keyRange reads which keys are asked for.
func (e *export) keyRange() (r keyRange, err error) {
	if e.prefix != "" {
		if e.start != "" || e.end != "" {
			return r, errors.New("--prefix says both ends of the range: leave --start and --end out")
		}
		prefix, err := e.parseFlag("prefix", e.prefix)
		return prefixRange(prefix), err
	}
	if r.start, err = e.parseFlag("start", e.start); err != nil {
		return r, err
	}
	r.end, err = e.parseFlag("end", e.end)
	return r, err
}

// copy writes all rows. An error says from which key on they are missing.
func (e *export) copy(ctx context.Context, c *rawkv.Client, r keyRange, w rowfile.Writer, p *progress) error {
	from := pages{client: c, start: r.start, end: r.end}
	for !from.done {
		at := from.start
		keys, values, err := e.page(ctx, &from)
		if err != nil {
			return errors.Annotatef(err, "stopped after %d rows, before key '%s'", p.rows, form.Escaped.Show(at))
		}
		size := int64(0)
		for i, key := range keys {
			if err := w.Write(rowfile.Row{Key: key, Value: values[i]}); err != nil {
				return errors.Annotatef(err, "stopped after %d rows, at key '%s'", p.rows+int64(i), form.Escaped.Show(key))
			}
			size += int64(len(key) + len(values[i]))
		}
		if err := w.Flush(); err != nil {
			return errors.Annotatef(err, "stopped after %d rows", p.rows)
		}
		p.add(len(keys), size, p.bytes+size)
	}
	return nil
}

// page reads the next page, with a timeout of its own. A page that fails is asked for once more with fewer rows: it may have been
// larger than a store answers.
func (e *export) page(ctx context.Context, from *pages) (keys, values [][]byte, err error) {
	for range 2 {
		patient, cancel := context.WithTimeout(ctx, e.timeout)
		keys, values, err = from.next(patient, longestPage)
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return keys, values, err
}

// fileFormat is what a file is by flag or by name.
func fileFormat(name string, flag rowfile.Format) (rowfile.Format, error) {
	if flag != "" {
		return flag, nil
	}
	f, ok := rowfile.FormatOf(name)
	switch {
	case ok:
		return f, nil
	case name == "-":
		return "", errors.New("for standard input or output say --format csv or --format ndjson")
	}
	return "", errors.Errorf("%s ends in none of .csv, .ndjson and .jsonl; say --format csv or --format ndjson", name)
}

// replaceFile has a file written under another name beside it, and gives it its own when it is complete and on disk.
func replaceFile(name string, write func(w io.Writer) error) (err error) {
	old, statErr := os.Stat(name)
	if statErr == nil && !old.Mode().IsRegular() {
		return errors.Errorf("%s is no regular file, and cannot be replaced by one; - writes to standard output", name)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".partial-*")
	if err != nil {
		return errors.Annotate(err, "cannot write there")
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name()) // what remains is of no use, and named so that one can tell
			err = errors.Annotatef(err, "%s is as it was", name)
		}
	}()
	if statErr == nil {
		if err := tmp.Chmod(old.Mode().Perm()); err != nil {
			return errors.Trace(err)
		}
	}
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return errors.Trace(err)
	}
	if err := tmp.Close(); err != nil {
		return errors.Trace(err)
	}
	return errors.Trace(os.Rename(tmp.Name(), name))
}
