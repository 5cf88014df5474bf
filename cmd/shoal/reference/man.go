package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/version"
)

// GenCommand is `shoal gen`. Root is asked for when it runs, because this command is a part of it.
func GenCommand() *cobra.Command {
	gen := &cobra.Command{Use: "gen", Short: "Write manual pages"}
	var dir string
	man := &cobra.Command{
		Use:   "man",
		Short: "Write a manual page for each command",
		Long:  "Write a manual page for each command into a directory, which is made if it is not there.",
		Example: `  shoal gen man --path ~/.local/share/man/man1
  man shoal-playground`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := WriteMan(cmd.Root(), dir)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d pages in %s\n", n, dir)
			return nil
		},
	}
	man.Flags().StringVar(&dir, "path", "man/man1", "`directory` to write into")
	gen.AddCommand(man)
	return gen
}

// WriteMan writes a page for each command below root and returns how many there are.
func WriteMan(root *cobra.Command, dir string) (int, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, errors.WithStack(err)
	}
	list := all(root)
	for _, cmd := range list {
		if err := os.WriteFile(filepath.Join(dir, pageName(cmd)+".1"), []byte(Man(cmd)), 0o644); err != nil {
			return 0, errors.WithStack(err)
		}
	}
	return len(list), nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Man is the manual page of a command, in the language of troff's man macros.
func Man(cmd *cobra.Command) string {
	var w strings.Builder
	fmt.Fprintf(&w, ".TH %s 1 \"\" \"Shoal %s\" \"Shoal\"\n", quoteRoff(strings.ToUpper(pageName(cmd))), version.Release)
	fmt.Fprintf(&w, ".SH NAME\n%s \\- %s\n", roff(pageName(cmd)), roff(cmd.Short))
	if use := usage(cmd); use != "" {
		fmt.Fprintf(&w, ".SH SYNOPSIS\n.nf\n%s\n.fi\n", roff(use))
	}
	fmt.Fprintf(&w, ".SH DESCRIPTION\n%s\n", paragraphs(description(cmd)))
	if list := flagsOf(cmd.LocalFlags()); len(list) > 0 {
		fmt.Fprintf(&w, ".SH OPTIONS\n")
		for _, f := range list {
			meaning := f.meaning
			if f.fallback != "" {
				meaning += " (default " + f.fallback + ")"
			}
			fmt.Fprintf(&w, ".TP\n\\fB%s\\fR\n%s\n", roff(f.name), roff(meaning))
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(&w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(unindent(cmd.Example)))
	}
	if list := related(cmd); len(list) > 0 {
		fmt.Fprintf(&w, ".SH SEE ALSO\n%s\n", roff(strings.Join(list, ", ")))
	}
	return w.String()
}

// related are the pages of the command above and of those right below.
func related(cmd *cobra.Command) []string {
	var list []string
	if p := cmd.Parent(); p != nil {
		list = append(list, pageName(p)+"(1)")
	}
	for _, c := range all(cmd)[1:] {
		if c.Parent() == cmd {
			list = append(list, pageName(c)+"(1)")
		}
	}
	return list
}

// paragraphs sets text; indented lines stay as they stand.
func paragraphs(text string) string {
	var out []string
	fenced := false
	for line := range strings.SplitSeq(markdown(text), "\n") {
		switch {
		case line == "```" && !fenced:
			fenced, line = true, ".nf"
		case line == "```":
			fenced, line = false, ".fi"
		case line == "" && !fenced:
			line = ".PP"
		default:
			line = roff(line)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// roff makes text of what troff would take for its own commands.
func roff(text string) string {
	text = strings.ReplaceAll(text, `\`, `\e`)
	text = strings.ReplaceAll(text, "-", `\-`)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func quoteRoff(s string) string { return `"` + roff(s) + `"` }
