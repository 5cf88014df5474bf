package reference

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
)

func tree() *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "Do things"}
	root.PersistentFlags().String("where", "here", "the `place`")
	sub := &cobra.Command{
		Use: "run NAME", Short: "Run one", Long: "Run one.\n\n  as it stands\n\n  this too\n\n.dots begin a line; a\\b", Example: "  tool run a\n  tool run b",
		Run: func(*cobra.Command, []string) {},
	}
	sub.Flags().IntP("times", "t", 3, "`number` of times, one | many")
	sub.Flags().Bool("quiet", false, "say nothing")
	root.AddCommand(sub, &cobra.Command{Use: "secret", Hidden: true, Run: sub.Run})
	return root
}

func TestCommands(t *testing.T) {
	page := Commands(tree())
	require.Contains(t, page, "- [`tool`](#tool) Do things\n  - [`tool run`](#tool-run) Run one\n")
	require.Contains(t, page, "\n## tool run\n\nRun one.\n\n```\n  as it stands\n\n  this too\n```\n\n.dots begin a line")
	require.Contains(t, page, "\n```\ntool run NAME [flags]\n```\n")
	require.Contains(t, page, "\n```\ntool run a\ntool run b\n```\n")
	require.Contains(t, page, "| `--quiet` |  | say nothing |\n| `-t, --times number` | `3` | number of times, one \\| many |\n")
	require.Contains(t, page, "The flags of [`tool`](#tool) count here too.")
	require.NotContains(t, page, "secret")
	require.NotContains(t, page, "--help")
}

func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	n, err := WriteMan(tree(), dir)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	text, err := os.ReadFile(filepath.Join(dir, "tool-run.1"))
	require.NoError(t, err)
	page := string(text)
	require.Contains(t, page, `.TH "TOOL\-RUN" 1`)
	require.Contains(t, page, "\n.SH NAME\ntool\\-run \\- Run one\n")
	require.Contains(t, page, "\n.nf\n  as it stands\n\n  this too\n.fi\n.PP\n\\&.dots begin a line; a\\eb\n")
	require.Contains(t, page, "\n.TP\n\\fB\\-t, \\-\\-times number\\fR\nnumber of times, one | many (default 3)\n")
	require.Contains(t, page, "\n.SH SEE ALSO\ntool(1)\n")
}

// TestEveryKeyHasAComment takes the comments away, and the reference cannot be made.
func TestEveryKeyHasAComment(t *testing.T) {
	comments, err := ReadComments("../../../kv/config", "../../../log")
	require.NoError(t, err)
	sections, err := Sections(config.Default(), comments)
	require.NoError(t, err)
	keys := 0
	for _, s := range sections {
		keys += len(s.Lines)
		for _, l := range s.Lines {
			require.NotEmpty(t, l.Meaning, l.Key)
		}
	}
	items, err := config.Items(config.Default())
	require.NoError(t, err)
	require.Equal(t, len(items), keys, "each key has one line")

	delete(comments, "config.RaftLimits.RaftEntryMaxSize")
	_, err = Sections(config.Default(), comments)
	require.ErrorContains(t, err, "none of their own: config.RaftLimits.RaftEntryMaxSize")
}

func TestSentence(t *testing.T) {
	d := &describer{keys: map[string]string{"StatusAddr": "status-addr"}}
	for comment, want := range map[string]string{
		"Addr is where it listens.\n":          "Where it listens.",
		"Addr are the places.\n":               "The places.",
		"Addr bounds StatusAddr, and more.\n":  "`addr` bounds `status-addr`, and more.",
		"Says nothing of its own name.":        "Says nothing of its own name.",
		"Address is not Addr, it only begins.": "Address is not Addr, it only begins.",
	} {
		require.Equal(t, want, d.sentence("Addr", "addr", comment))
	}
}
