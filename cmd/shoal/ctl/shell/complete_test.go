package shell

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// fakeTree is a tree like ctl's, small.
func fakeTree() *cobra.Command {
	root := &cobra.Command{Use: "ctl", Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "shoal ctl"}}
	root.PersistentFlags().StringP("output", "o", "table", "how")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	kv := &cobra.Command{Use: "kv"}
	kv.PersistentFlags().Int("limit", 0, "")
	nothing := func(*cobra.Command, []string) {}
	kv.AddCommand(
		&cobra.Command{Use: "get", Run: nothing, ValidArgsFunction: cobra.NoFileCompletions},
		&cobra.Command{Use: "import", Run: nothing, ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"csv"}, cobra.ShellCompDirectiveFilterFileExt
		}},
		&cobra.Command{Use: "load", Run: nothing},
	)
	store := &cobra.Command{Use: "store", Run: nothing, ValidArgsFunction: cobra.FixedCompletions([]string{"1\tat home", "12", "4"}, cobra.ShellCompDirectiveNoFileComp)}
	root.AddCommand(kv, store)
	return root
}

func TestComplete(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	for _, name := range []string{"a.csv", "a b.csv", "a.txt", "[x].csv"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	s := Shell{Tree: fakeTree}
	for _, tc := range []struct {
		before, after string // of the cursor
		head          string
		want          []string
	}{
		{"", "", "", []string{"exit ", "help ", "kv ", "store "}},
		{"k", " get", "", []string{"kv "}},
		{"kv ", "", "kv ", []string{"get ", "import ", "load "}},
		{"  kv  g", "", "  kv  ", []string{"get "}},
		{"shoal ctl kv i", "", "shoal ctl kv ", []string{"import "}},
		{"ctl k", "", "ctl ", []string{"kv "}},
		{"help k", "", "help ", []string{"kv "}},
		{"nothing ", "", "nothing ", nil},
		{"kv get --limit x ", "", "kv get --limit x ", nil},
		{"kv get --what ", "", "kv get --what ", nil},
		{"kv get ", "", "kv get ", nil},
		{"kv get --o", "", "kv get ", []string{"--output "}},
		{"kv get -o ", " key", "kv get -o ", []string{"json ", "table "}},
		{"kv get --output=j", "", "kv get ", []string{"--output=json "}},
		{"store ", "", "store ", []string{"1 ", "12 ", "4 "}},
		{"store '1", "", "store ", []string{"'1' ", "'12' "}},
		{"store 1 # ", "", "store 1 # ", nil},
		{"kv import " + dir + "/", "", "kv import ", []string{dir + `/[x].csv `, dir + `/a.csv `, dir + `/a\ b.csv `, dir + "/sub/"}},
		{"kv import " + dir + "/[", "", "kv import ", []string{dir + "/[x].csv "}},
		{`kv import "` + dir + "/a ", "", "kv import ", []string{`"` + dir + `/a b.csv" `}},
		{"kv load " + dir + "/a.t", "", "kv load ", []string{dir + "/a.txt "}},
		{"kv load " + dir + "/none", "", "kv load ", nil},
	} {
		head, got, tail := Complete(s.tree(), tc.before+tc.after, len(tc.before))
		require.Equal(t, tc.head, head, tc.before)
		require.Equal(t, tc.after, tail)
		require.Equal(t, tc.want, got, tc.before)
	}
}
