package ctl

import (
	"context"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/tikv/client-go/v2/rawkv"
)

// scan is what `kv scan` is asked for.
type scan struct {
	*kv
	end, prefix string // as they were written
	limit       int
	reverse     bool
	keysOnly    bool
}

func (k *kv) scanCommand() *cobra.Command {
	s := scan{kv: k}
	cmd := &cobra.Command{
		Use:   "scan [START]",
		Short: "List keys in order, from START up to --end",
		Long: `List keys in order, from START (included) up to --end (not included); without
them, from the first and up to the last key.

With --reverse the order is from the greatest key below START down to --end
(included).`,
		Example: `  shoal ctl kv scan
  shoal ctl kv scan --prefix he -o json
  shoal ctl kv scan a --end m --limit 1000 --keys-only
  shoal ctl kv scan m --reverse --limit 10`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVar(&s.end, "end", "", "`key` to stop before (with --reverse: to stop at)")
	f.StringVar(&s.prefix, "prefix", "", "list the keys that begin with this `key`")
	f.IntVar(&s.limit, "limit", 100, "at most this `number` of keys")
	f.BoolVar(&s.reverse, "reverse", false, "go down from before START")
	f.BoolVar(&s.keysOnly, "keys-only", false, "leave the values out")
	return cmd
}

func (s *scan) run(cmd *cobra.Command, args []string) error {
	r, err := s.keyRange(args)
	if err != nil {
		return err
	}
	var keys, values [][]byte
	more := false
	err = s.do(cmd, nil, func(ctx context.Context, c *rawkv.Client, _ [][]byte) error {
		p := pages{client: c, start: r.start, end: r.end, reverse: s.reverse, keysOnly: s.keysOnly}
		for !p.done && len(keys) < s.limit {
			k, v, err := p.next(ctx, s.limit-len(keys))
			if err != nil {
				return err
			}
			keys, values = append(keys, k...), append(values, v...)
		}
		more = !p.done
		return nil
	})
	if err != nil {
		return err
	}
	if s.keysOnly {
		values = nil
	}
	if err := s.printPairs(cmd.OutOrStdout(), keys, values); err != nil {
		return err
	}
	if more && !cmd.Flags().Changed("limit") {
		cmd.PrintErrf("the first %d keys; --limit shows more\n", s.limit)
	}
	return nil
}

// keyRange reads which keys are asked for.
func (s *scan) keyRange(args []string) (r keyRange, err error) {
	switch {
	case s.limit < 1:
		return r, errors.Errorf("--limit is %d; it must be at least 1", s.limit)
	case s.reverse && len(args) == 0:
		return r, errors.New("--reverse needs START, the key to begin below; all keys but a few lie below '\\xff\\xff'")
	case s.prefix != "" && (len(args) > 0 || s.end != "" || s.reverse):
		return r, errors.New("--prefix says both ends of the range: leave START, --end and --reverse out")
	}
	if s.prefix != "" {
		prefix, err := s.parseFlag("prefix", s.prefix)
		return prefixRange(prefix), err
	}
	if len(args) > 0 {
		words, err := s.parse(args)
		if err != nil {
			return r, err
		}
		r.start = words[0]
	}
	r.end, err = s.parseFlag("end", s.end)
	return r, err
}
