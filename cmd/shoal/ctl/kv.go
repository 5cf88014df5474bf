package ctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

// kv is `shoal ctl kv`.
type kv struct {
	*options
	forms
	cf string
}

// forms are how keys and values are written: in arguments and flags, and in answers.
type forms struct{ in, out form.Form }

// flags adds what says so to a command.
func (f *forms) flags(cmd *cobra.Command) {
	f.in, f.out = form.Escaped, form.Escaped
	cmd.PersistentFlags().Var(&f.in, "read-as", "how keys and values are written in arguments: escaped, hex, base64 or text")
	cmd.PersistentFlags().Var(&f.out, "show-as", "how keys and values are written in answers: escaped, hex, base64 or text")
}

// parse reads words of the command line.
func (f *forms) parse(words []string) ([][]byte, error) {
	var parsed [][]byte
	for _, w := range words {
		b, err := f.in.Parse(w)
		if err != nil {
			return nil, errors.Annotatef(err, "--read-as is %s", f.in)
		}
		parsed = append(parsed, b)
	}
	return parsed, nil
}

// parseFlag reads the value of a flag.
func (f *forms) parseFlag(name, word string) ([]byte, error) {
	b, err := f.in.Parse(word)
	return b, errors.Annotatef(err, "--%s (--read-as is %s)", name, f.in)
}

func kvCommand(opts *options) *cobra.Command {
	k := &kv{options: opts}
	cmd := &cobra.Command{
		Use:   "kv",
		Short: "Read and write raw keys",
		Long: `Read and write raw keys.

Keys and values are any bytes. In arguments and in answers they are written as

  escaped  (default) text as it stands, in which \xNN is a byte and \\ a
           backslash; \n, \t, \r, \" and \' work too
  hex      two hexadecimal digits a byte
  base64   the standard alphabet with padding
  text     byte for byte; bytes that cannot be printed are shown as \xNN, which
           is not read back

--read-as chooses for arguments, --show-as for answers. What an answer shows can
be pasted into the next command; in a shell it goes between single quotes, which
escaped text never contains. A -- before it lets a word begin with a dash.`,
		Example: `  shoal ctl kv put hello world
  shoal ctl kv get hello
  shoal ctl kv scan --prefix he
  shoal ctl kv put 'a\x00b' 'line\n'
  shoal ctl kv get --read-as hex --show-as hex 610062`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	k.flags(cmd)
	cmd.PersistentFlags().StringVar(&k.cf, "cf", "", "column `family`: default, lock or write")
	cmd.AddCommand(k.getCommand(), k.putCommand(), k.delCommand(), k.ttlCommand(), k.scanCommand(), k.exportCommand(), k.importCommand())
	return cmd
}

// do parses the words that are keys or values, and does one thing with them on the cluster.
func (k *kv) do(cmd *cobra.Command, words []string, action func(ctx context.Context, c *rawkv.Client, words [][]byte) error) error {
	parsed, err := k.parse(words)
	if err != nil {
		return err
	}
	ctx, cancel := k.context(cmd)
	defer cancel()
	return k.withKV(ctx, func(c *rawkv.Client) error { return action(ctx, c, parsed) })
}

// withKV is with, on the column family that was asked for.
func (k *kv) withKV(ctx context.Context, action func(c *rawkv.Client) error) error {
	return k.with(ctx, func(c *rawkv.Client) error { return action(c.SetColumnFamily(k.cf)) })
}

func (k *kv) getCommand() *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Example: `  shoal ctl kv get hello
  shoal ctl kv get hello --show-as hex
  shoal ctl kv get picture.png --raw > picture.png`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			var key, value []byte
			err := k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) (err error) {
				key = words[0]
				value, err = c.Get(ctx, key)
				return err
			})
			if err != nil {
				return err
			}
			if value == nil {
				return k.missing(key)
			}
			if raw {
				_, err = cmd.OutOrStdout().Write(value)
				return err
			}
			if k.output == asJSON {
				p, err := k.jsonPair(key, value)
				if err != nil {
					return err
				}
				return k.print(cmd.OutOrStdout(), p, nil)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.out.Show(value))
			return err
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the value byte for byte, without a line end; \"kv put KEY -\" reads it so")
	return cmd
}

// missing says how to see which keys there are.
func (k *kv) missing(key []byte) error {
	shown := form.Escaped.Show(key)
	return errors.Errorf("there is no key '%s'; `shoal ctl kv scan '%s' --limit 5` shows the next ones", shown, shown)
}

func (k *kv) putCommand() *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "put KEY VALUE",
		Short: "Set the value of a key",
		Long: `Set the value of a key. If VALUE is -, standard input is the value, byte for
byte; a value that is one dash is written '\x2d'.

With --ttl the key expires after that time. The stores must be made for that,
with storage.enable-ttl in their configuration. A put without --ttl makes the
key stay.`,
		Example: `  shoal ctl kv put hello world
  shoal ctl kv put 'a\x00b' 'line\n'
  shoal ctl kv put picture.png - < picture.png
  shoal ctl kv put session token --ttl 30m`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			seconds, err := ttlSeconds(cmd, ttl)
			if err != nil {
				return err
			}
			words, value := args, []byte(nil)
			if args[1] == "-" {
				if value, err = io.ReadAll(cmd.InOrStdin()); err != nil {
					return errors.Annotate(err, "standard input")
				}
				words = args[:1]
			}
			err = k.do(cmd, words, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				if len(words) == 2 {
					value = words[1]
				}
				return undetermined(ctx, c.PutWithTTL(ctx, words[0], value, seconds))
			})
			return k.done(cmd, err)
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "`time` after which the key expires, in whole seconds: 90s, 30m, 24h")
	return cmd
}

// ttlSeconds is what --ttl says; 0 if it is not given.
func ttlSeconds(cmd *cobra.Command, ttl time.Duration) (uint64, error) {
	if !cmd.Flags().Changed("ttl") {
		return 0, nil
	}
	if ttl < time.Second || ttl%time.Second != 0 {
		return 0, errors.Errorf("--ttl is %v; it must be whole seconds, at least one", ttl)
	}
	return uint64(ttl / time.Second), nil
}

func (k *kv) delCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "del KEY…",
		Short: "Delete keys; one that is not there is no error",
		Example: `  shoal ctl kv del hello
  shoal ctl kv del --read-as hex 610062 68656c6c6f`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.done(cmd, k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) error {
				return undetermined(ctx, c.BatchDelete(ctx, words))
			}))
		},
	}
}

func (k *kv) ttlCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ttl KEY",
		Short: "Print how long a key lives on",
		Example: `  shoal ctl kv put session token --ttl 30m
  shoal ctl kv ttl session`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			var key []byte
			var ttl *uint64
			err := k.do(cmd, args, func(ctx context.Context, c *rawkv.Client, words [][]byte) (err error) {
				key = words[0]
				ttl, err = c.GetKeyTTL(ctx, key)
				return err
			})
			if err != nil {
				return err
			}
			if ttl == nil {
				return k.missing(key)
			}
			if k.output == asJSON {
				return k.print(cmd.OutOrStdout(), struct {
					Seconds uint64 `json:"ttl_seconds"` // 0 is for ever, as on the wire
				}{*ttl}, nil)
			}
			shown := "no time to live"
			if *ttl > 0 {
				shown = (time.Duration(*ttl) * time.Second).String()
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), shown)
			return err
		},
	}
}

// done says that a write has happened.
func (k *kv) done(cmd *cobra.Command, err error) error {
	if err != nil {
		return err
	}
	if k.output == asJSON {
		return k.print(cmd.OutOrStdout(), struct {
			OK bool `json:"ok"`
		}{true}, nil)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "OK")
	return err
}

// pair is a key with its value as JSON has it: the same object as a line of an NDJSON export.
type pair struct {
	Key      string  `json:"key"`
	Value    *string `json:"value,omitempty"` // nil when only keys were asked for
	Encoding string  `json:"encoding"`
}

func (k *kv) jsonPair(key, value []byte) (p pair, err error) {
	p.Encoding = k.out.String()
	if p.Key, err = k.out.Encode(key); err != nil {
		return p, errors.Annotate(err, "--show-as")
	}
	if value != nil {
		var shown string
		shown, err = k.out.Encode(value)
		p.Value = &shown
	}
	return p, errors.Annotate(err, "--show-as")
}

// printPairs shows rows; values are nil when only keys were asked for.
func (k *kv) printPairs(w io.Writer, keys, values [][]byte) error {
	value := func(i int) []byte {
		if values == nil {
			return nil
		}
		return values[i]
	}
	if k.output == asJSON {
		pairs := make([]pair, len(keys))
		for i, key := range keys {
			var err error
			if pairs[i], err = k.jsonPair(key, value(i)); err != nil {
				return err
			}
		}
		return k.print(w, pairs, nil)
	}
	return k.print(w, nil, func(t table.Writer) {
		header := table.Row{"key", "value"}
		if values == nil {
			header = header[:1]
		}
		t.AppendHeader(header)
		for i, key := range keys {
			row := table.Row{k.out.Show(key)}
			if values != nil {
				row = append(row, k.out.Show(values[i]))
			}
			t.AppendRow(row)
		}
		if len(keys) == 1 {
			t.SetCaption("1 key")
		} else {
			t.SetCaption("%d keys", len(keys))
		}
	})
}
