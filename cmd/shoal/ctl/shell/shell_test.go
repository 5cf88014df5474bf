package shell

import (
	"bytes"
	"context"
	stderrors "errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/peterh/liner"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// echoTree has commands that show what they are called with.
func echoTree() *cobra.Command {
	root := &cobra.Command{Use: "ctl", Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "shoal ctl"}}
	echo := &cobra.Command{Use: "echo", Run: func(cmd *cobra.Command, args []string) {
		loud, _ := cmd.Flags().GetBool("loud")
		cmd.Printf("%q %v\n", args, loud)
	}}
	echo.Flags().Bool("loud", false, "")
	fail := &cobra.Command{Use: "fail", RunE: func(*cobra.Command, []string) error { return stderrors.New("no luck") }}
	read := &cobra.Command{Use: "read", RunE: func(cmd *cobra.Command, _ []string) error {
		_, err := io.ReadAll(cmd.InOrStdin())
		return err
	}}
	wait := &cobra.Command{Use: "wait", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Context().Err() }}
	root.AddCommand(echo, fail, read, wait)
	return root
}

func TestScript(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		keepGoing    bool
		out, err     string
		errOut       string
	}{
		{name: "nothing", script: "\n # only this \n"},
		{
			name: "lines", script: "\ufeffecho 'a b' --loud\r\n\necho c # flags are not kept\nshoal ctl echo d\nctl echo",
			out: "[\"a b\"] true\n[\"c\"] false\n[\"d\"] false\n[] false\n",
		},
		{name: "stops", script: "echo a\n\nfail now\necho b", out: "[\"a\"] false\n", err: "line 3 (fail now): no luck"},
		{
			name: "goes on", script: "fail 1\necho b\nnonsense\n'", keepGoing: true, out: "[\"b\"] false\n", err: "3 of 4 commands failed",
			errOut: "Error: line 1 (fail 1): no luck\nError: line 3 (nonsense): unknown command \"nonsense\" for \"shoal ctl\"\n" +
				"Error: line 4 ('): the ' that opens at the end of \"'\" is not closed\n",
		},
		{name: "leaves", script: "echo a\nquit\necho b", out: "[\"a\"] false\n"},
		{name: "leaves with a failure", script: "fail\nexit", keepGoing: true, err: "1 of 1 commands failed", errOut: "Error: line 1 (fail): no luck\n"},
		{name: "input is the script", script: "read\necho b", err: "standard input is the shell's"},
		{name: "long lines are cut in messages", script: "fail " + strings.Repeat("ä", 100), err: "line 1 (fail " + strings.Repeat("ä", 55) + "…): no luck"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			s := Shell{Tree: echoTree, Out: &out, Err: &errOut}
			err := s.Script(t.Context(), strings.NewReader(tc.script), tc.keepGoing)
			if tc.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.err)
			}
			require.Equal(t, tc.out, out.String())
			require.Equal(t, tc.errOut, errOut.String())
		})
	}
}

// TestAnInterruptedScriptEnds, even if it is to keep going.
func TestAnInterruptedScriptEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	s := Shell{Tree: echoTree, Out: io.Discard, Err: &errOut}
	require.ErrorIs(t, s.Script(ctx, strings.NewReader("wait\necho b"), true), context.Canceled)
	require.Empty(t, errOut.String())
}

func TestABrokenScriptIsNotAnEnd(t *testing.T) {
	s := Shell{Tree: echoTree, Out: io.Discard, Err: io.Discard}
	in := io.MultiReader(strings.NewReader("echo a\n"), iotest.ErrReader(stderrors.New("disk on fire")))
	require.ErrorContains(t, s.Script(t.Context(), in, false), "reading the script after 1 commands: disk on fire")
}

// editor is the part of the line editor that remembers.
type editor struct{ lines []string }

func (e *editor) AppendHistory(line string) { e.lines = append(e.lines, line) }

func (e *editor) ReadHistory(r io.Reader) (int, error) {
	text, err := io.ReadAll(r)
	e.lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	n := len(e.lines)
	e.lines = e.lines[max(0, n-liner.HistoryLimit):]
	return n, err
}

func (e *editor) WriteHistory(w io.Writer) (int, error) {
	_, err := io.WriteString(w, strings.Join(e.lines, "\n")+"\n")
	return len(e.lines), err
}

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "history")
	var first, second editor
	a, b := openHistory(&first, file), openHistory(&second, file)
	require.NoError(t, a.add("kv get a"))
	require.NoError(t, b.add("kv get b"))
	require.NoError(t, a.add(" kv put secret"))
	require.Equal(t, []string{"kv get a"}, first.lines)
	var third editor
	openHistory(&third, file)
	require.Equal(t, []string{"kv get a", "kv get b"}, third.lines, "shells that run at the same time lose nothing")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "keys and values are nobody else's business")

	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("x\n", 3*liner.HistoryLimit)+"last\n"), 0o600))
	var fourth editor
	openHistory(&fourth, file)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, liner.HistoryLimit, strings.Count(string(text), "\n"), "a long history is cut")
	require.True(t, strings.HasSuffix(string(text), "x\nlast\n"))

	var none editor
	require.NoError(t, openHistory(&none, "").add("kv get a"))
	require.Equal(t, []string{"kv get a"}, none.lines)

	// The editor would not read further than either of these.
	for _, line := range []string{"kv put k " + strings.Repeat("x", 5000), "kv get \xff"} {
		require.NoError(t, a.add(line))
	}
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(text), "x\nlast\n"))
	require.Error(t, openHistory(&none, filepath.Join(file, "below a file")).add("kv get a"))
}
