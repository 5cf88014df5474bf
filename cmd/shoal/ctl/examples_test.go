package ctl

import (
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/shell"
)

// TestHelp sees that every command says what it does, and that its examples are commands: known, with known flags and the right
// number of arguments.
func TestHelp(t *testing.T) {
	examples := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.True(t, cmd.Runnable(), "%s does something, if only showing its help", cmd.CommandPath())
		require.NotNil(t, cmd.Args, "%s refuses arguments that it has no use for", cmd.CommandPath())
		require.NotNil(t, cmd.ValidArgsFunction, "%s does not complete the files that there happen to be", cmd.CommandPath())
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		for line := range strings.Lines(cmd.Example) {
			_, line, found := strings.Cut(line, "shoal ctl ")
			require.True(t, found, line)
			line, _, _ = strings.Cut(line, " <")
			line, _, _ = strings.Cut(line, " >")
			line, _, _ = strings.Cut(line, " | ")
			checkExample(t, line)
			examples++
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(Command())
	require.Greater(t, examples, 40)
}

func checkExample(t *testing.T, line string) {
	t.Helper()
	words, err := shell.Split(line)
	require.NoError(t, err)
	root := Command()
	cmd, rest, err := root.Find(words)
	require.NoError(t, err, line)
	require.NoError(t, cmd.ParseFlags(rest), line)
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), line)
}

// TestTabOffersIDs of what there is, and nothing when nobody answers.
func TestTabOffersIDs(t *testing.T) {
	pd := scheduler(t)
	for args, want := range map[string]string{
		"store show ":                       "1\t10.0.0.1:20160\n:4\n",
		"explain region ":                   "2\tfrom ''\n:4\n",
		"explain region 2 ":                 ":4\n",
		"region merge 2 ":                   "2\tfrom ''\n:4\n",
		"operator add add-peer ":            "2\tfrom ''\n:4\n",
		"operator add add-peer 2 ":          "1\t10.0.0.1:20160\n:4\n",
		"operator add transfer-region 2 1 ": "1\t10.0.0.1:20160\n:4\n",
		"operator add tr":                   "transfer-leader\tHave the peer on a store lead\ntransfer-peer\tMove a peer from one store to another\ntransfer-region\tGive a region exactly these stores\n:4\n",
		"scheduler add evict-leader ":       "1\t10.0.0.1:20160\n:4\n",
		"config set halt-scheduling ":       "true\nfalse\n:4\n",
		"member leader transfer ":           "a\n:4\n",
		"member delete name ":               "a\n:4\n",
		"store 1 ":                          ":4\n",
		"kv get ":                           ":4\n",
		"kv get --show-as ":                 "escaped\nhex\nbase64\ntext\n:4\n",
		"kv import ":                        "csv\nndjson\njsonl\n:8\n",
		"kv import - --format ":             "csv\nndjson\n:4\n",
	} {
		words := strings.Split(args, " ")
		out, err := runWith("", append([]string{cobra.ShellCompRequestCmd, "--pd", pd}, words...)...)
		require.NoError(t, err)
		require.Equal(t, want, out, args)
	}
	out, err := runWith("", cobra.ShellCompRequestCmd, "--pd", "127.0.0.1:1", "store", "")
	require.NoError(t, err)
	require.Contains(t, out, ":1\n")
}

// TestLongScriptsDoNotGrow: a line's tree is gone when the line is done.
func TestLongScriptsDoNotGrow(t *testing.T) {
	inUse := func(lines int) uint64 {
		_, err := runWith(strings.Repeat("kv get --help\n", lines), "shell")
		require.NoError(t, err)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse(10)
	require.Less(t, inUse(2000), before+2<<20)
}
