package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	tikverr "github.com/tikv/client-go/v2/error"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// bench finds a command of the tree with its arguments parsed.
func parsed(t *testing.T, args ...string) (*cobra.Command, []string) {
	t.Helper()
	root := &cobra.Command{Use: "shoal"}
	root.AddCommand(Command())
	cmd, rest, err := root.Find(append([]string{"bench"}, args...))
	require.NoError(t, err)
	require.NoError(t, cmd.ParseFlags(rest))
	return cmd, cmd.Flags().Args()
}

// TestTheCommandThatDoesItAgain parses what was printed and finds the same.
func TestTheCommandThatDoesItAgain(t *testing.T) {
	t.Setenv("SHOAL_PD", "10.0.0.1:2379")
	cmd, args := parsed(t, "ycsb", "d", "--rate", "1500.5", "-o", "json", "-q", "--records", "7", "--prefix", "it's /")
	line := again(cmd, args)
	require.Equal(t, `shoal bench ycsb d --pd 10.0.0.1:2379 --clients 64 --rate 1500.5 --duration 10s --warmup 2s --seed 1 `+
		`--prefix 'it'\''s /' --records 7 --field-count 10 --field-size 100 --max-scan 100 --phase all`, line)
	cmd, args = parsed(t, "raw", "--check", "--workload", "read")
	line = again(cmd, args)
	require.Contains(t, line, "shoal bench raw --pd 10.0.0.1:2379")
	require.Contains(t, line, " --check")
	require.Contains(t, line, " --workload read")
}

func TestBadCommandsAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		`invalid argument "g"`:                            {"ycsb", "g"},
		"accepts 1 arg(s), received 0":                    {"ycsb"},
		`--phase is "later"; it must be load, run or all`: {"ycsb", "a", "--phase", "later"},
		`--output is "xml"; it must be text or json`:      {"raw", "-o", "xml"},
		`--workload is "scan"`:                            {"raw", "--workload", "scan"},
		`--rate is -5`:                                    {"raw", "--rate", "-5"},
	} {
		cmd := Command()
		cmd.SetArgs(args)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		require.ErrorContains(t, cmd.Execute(), want)
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, name := range []string{"raw", "ycsb"} {
		cmd := Command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs([]string{name, "--help"})
		require.NoError(t, cmd.Execute())
		require.Contains(t, out.String(), "shoal bench "+name+" ")
		require.Contains(t, out.String(), "--rate operations")
	}
}

func TestErrorsAreCountedByKind(t *testing.T) {
	for want, err := range map[string]error{
		"timeout":            errors.WithStack(tikverr.ErrTiKVServerTimeout),
		"server busy":        errors.Annotate(tikverr.ErrTiKVServerBusy, "after ten tries"),
		"region unavailable": fmt.Errorf("no: %w", tikverr.ErrRegionUnavailable),
		"undetermined":       tikverr.ErrResultUndetermined,
		"rpc Unavailable":    errors.WithStack(status.Error(codes.Unavailable, "gone")),
		"missing":            errMissing,
		"other":              errors.New("who knows"),
	} {
		require.Equal(t, want, kindOf(err))
	}
	require.Equal(t, "timeout", kindOf(context.DeadlineExceeded))

	r := newRecorder(20, []string{"read", "write"})
	require.Len(t, r.shards, maxShards)
	r.done(3, outcome{kind: 1, err: errMissing})
	r.done(19, outcome{kind: 1, err: errMissing, due: true, ended: true})
	r.done(5, outcome{kind: 1, err: tikverr.ErrTiKVServerBusy, due: true, ended: true})
	r.done(5, outcome{kind: 1, due: true, ended: true})
	res := newResult(Options{}, 1, r)
	require.Len(t, res.Kinds, 1)
	require.Equal(t, map[string]int64{"missing": 2, "server busy": 1}, res.Of("write").ErrorsByKind)
	require.EqualValues(t, 3, res.Total.Errors, "the warm-up's too")
	require.EqualValues(t, 1, res.Total.Operations)
	i := r.take()
	require.EqualValues(t, 3, i.errors)
	require.EqualValues(t, 1, i.done)
	require.Zero(t, r.take().latency.TotalCount())
	text, err := json.Marshal(res)
	require.NoError(t, err)
	require.Contains(t, string(text), `"errors_by_kind":{"missing":2,"server busy":1}`)
}
