package ctl

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/rawclient"
)

// kv is `shoal ctl kv`.
type kv struct {
	*options
	form form
	cf   string
}

// pair is a key with its value as JSON and tables show them.
type pair struct {
	Key   string  `json:"key"`
	Value *string `json:"value,omitempty"`
}

func kvCommand(opts *options) *cobra.Command {
	k := &kv{options: opts}
	cmd := &cobra.Command{
		Use:   "kv",
		Short: "Read and write raw keys",
		Long: `Read and write raw keys.

Keys and values are text as it stands; bytes that cannot be printed are shown as \xNN. With --format escaped, \xNN and the like
are understood in arguments too; with --format hex everything is hexadecimal digits.`,
		Example: `  shoal ctl kv put hello world
  shoal ctl kv get hello
  shoal ctl kv scan --prefix he
  shoal ctl kv put --format escaped 'a\x00b' 'line\n'
  shoal ctl kv get --format hex 610062`,
	}
	f := cmd.PersistentFlags()
	f.StringVar((*string)(&k.form), "format", string(formText), "`form` of keys and values: text, hex or escaped")
	f.StringVar(&k.cf, "cf", "", "column `family`: default, lock or write")
	cmd.AddCommand(k.getCommand(), k.putCommand(), k.delCommand(), k.scanCommand())
	return cmd
}

// do opens a client for one action on keys; words are the arguments that are keys or values.
func (k *kv) do(cmd *cobra.Command, words []string, action func(ctx context.Context, c *rawkv.Client, words [][]byte) error) error {
	if err := k.form.validate(); err != nil {
		return err
	}
	var parsed [][]byte
	for _, w := range words {
		b, err := k.form.parse(w)
		if err != nil {
			return err
		}
		parsed = append(parsed, b)
	}
	ctx, cancel := k.context(cmd)
	defer cancel()
	client, err := rawclient.Open(ctx, k.pd, k.verbose)
	if err != nil {
		return k.explain(err)
	}
	defer func() { _ = client.Close() }() // the answer is known already
	return k.explain(action(ctx, client.SetColumnFamily(k.cf), parsed))
}

func (k *kv) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				value, err := c.Get(ctx, words[0])
				if err != nil {
					return err
				}
				if value == nil {
					return errors.Errorf("key %q is not there", args[0])
				}
				shown := k.form.show(value)
				if k.output == "json" {
					return k.print(cmd.OutOrStdout(), pair{k.form.show(words[0]), &shown}, nil)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), shown)
				return err
			})
		},
	}
}

func (k *kv) putCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "put KEY VALUE",
		Short: "Set the value of a key; VALUE - reads it from standard input, byte for byte",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			words := args
			var value []byte
			if args[1] == "-" {
				var err error
				if value, err = io.ReadAll(cmd.InOrStdin()); err != nil {
					return errors.Annotate(err, "standard input")
				}
				words = args[:1]
			}
			return k.do(cmd, words, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				if len(words) == 2 {
					value = words[1]
				}
				return k.done(cmd, c.Put(ctx, words[0], value))
			})
		},
	}
}

func (k *kv) delCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "del KEY…",
		Short: "Delete keys; one that is not there is no error",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				return k.done(cmd, c.BatchDelete(ctx, words))
			})
		},
	}
}

// done says that a write has happened.
func (k *kv) done(cmd *cobra.Command, err error) error {
	if err != nil {
		return err
	}
	if k.output == "json" {
		return k.print(cmd.OutOrStdout(), struct {
			OK bool `json:"ok"`
		}{true}, nil)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "OK")
	return err
}

// scan is what `kv scan` is asked for.
type scan struct {
	end, prefix []byte
	limit       int
	reverse     bool
	keysOnly    bool
}

func (k *kv) scanCommand() *cobra.Command {
	var s scan
	var end, prefix string
	cmd := &cobra.Command{
		Use:   "scan [START]",
		Short: "List keys in order, from START up to --end",
		Example: `  shoal ctl kv scan
  shoal ctl kv scan a --end m --limit 1000 --keys-only
  shoal ctl kv scan --reverse m`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if s.end, err = k.form.parse(end); err != nil {
				return errors.Annotate(err, "--end")
			}
			if s.prefix, err = k.form.parse(prefix); err != nil {
				return errors.Annotate(err, "--prefix")
			}
			if err := s.validate(len(args) > 0); err != nil {
				return err
			}
			return k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				var start []byte
				if len(words) > 0 {
					start = words[0]
				}
				if len(s.prefix) > 0 {
					start, s.end = s.prefix, prefixEnd(s.prefix)
				}
				pairs, err := s.run(ctx, c, start, k.form)
				if err != nil {
					return err
				}
				return k.printPairs(cmd.OutOrStdout(), pairs)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&end, "end", "", "`key` to stop before (with --reverse: to stop at)")
	f.StringVar(&prefix, "prefix", "", "list the keys that begin with this `key`")
	f.IntVar(&s.limit, "limit", 100, "at most this `number` of keys")
	f.BoolVar(&s.reverse, "reverse", false, "go down from before START")
	f.BoolVar(&s.keysOnly, "keys-only", false, "leave the values out")
	return cmd
}

func (s *scan) validate(hasStart bool) error {
	switch {
	case s.limit < 1:
		return errors.Errorf("--limit is %d; it must be at least 1", s.limit)
	case s.reverse && !hasStart:
		return errors.New("--reverse needs START, the key to begin below")
	case len(s.prefix) > 0 && (hasStart || len(s.end) > 0 || s.reverse):
		return errors.New("--prefix says both ends of the range: leave START, --end and --reverse out")
	}
	return nil
}

// run pages through the range.
func (s *scan) run(ctx context.Context, c *rawkv.Client, start []byte, f form) ([]pair, error) {
	pairs := []pair{}
	var opts []rawkv.RawOption
	if s.keysOnly {
		opts = append(opts, rawkv.ScanKeyOnly())
	}
	page := c.Scan
	if s.reverse {
		page = c.ReverseScan
	}
	for len(pairs) < s.limit {
		want := min(s.limit-len(pairs), rawkv.MaxRawKVScanLimit)
		keys, values, err := page(ctx, start, s.end, want, opts...)
		if err != nil {
			return nil, err
		}
		for i, key := range keys {
			p := pair{Key: f.show(key)}
			if !s.keysOnly {
				value := f.show(values[i])
				p.Value = &value
			}
			pairs = append(pairs, p)
		}
		if len(keys) < want {
			break
		}
		start = keys[len(keys)-1]
		if !s.reverse {
			start = append(bytes.Clone(start), 0)
		}
	}
	return pairs, nil
}

func (k *kv) printPairs(w io.Writer, pairs []pair) error {
	return k.print(w, pairs, func(t table.Writer) {
		t.AppendHeader(table.Row{"key", "value"})
		for _, p := range pairs {
			if p.Value == nil {
				t.AppendRow(table.Row{p.Key})
			} else {
				t.AppendRow(table.Row{p.Key, *p.Value})
			}
		}
		if len(pairs) == 1 {
			t.SetCaption("1 key")
		} else {
			t.SetCaption("%d keys", len(pairs))
		}
	})
}

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
