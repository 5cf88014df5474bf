// Package reference writes the reference pages out of what they describe: docs/commands.md and manual pages from the tree of
// commands, docs/configuration.md from the structs that hold the configuration, their defaults and the comments above their
// fields.
//
// `make docs` writes both pages of docs/; a test fails while one of them is not what it would write.
package reference

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands is the page of all commands below root, in Markdown.
func Commands(root *cobra.Command) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# Commands\n\n<!-- written by `make docs` out of cmd/shoal; what is changed here is lost -->\n\n")
	for _, cmd := range all(root) {
		depth := strings.Count(cmd.CommandPath(), " ")
		fmt.Fprintf(&w, "%s- [`%s`](#%s) %s\n", strings.Repeat("  ", depth), cmd.CommandPath(), anchor(cmd), cmd.Short)
	}
	for _, cmd := range all(root) {
		describe(&w, cmd)
	}
	return w.String()
}

// all lists the commands that are worth a page: cobra's own ones for help and for each shell are not.
func all(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.Name() == "help" || c.Hidden || cmd.Name() == "completion" {
			continue
		}
		list = append(list, all(c)...)
	}
	return list
}

func anchor(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func describe(w *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n", cmd.CommandPath(), markdown(description(cmd)))
	if use := usage(cmd); use != "" {
		fmt.Fprintf(w, "\n```\n%s\n```\n", use)
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n\n```\n%s\n```\n", unindent(cmd.Example))
	}
	if list := flagsOf(cmd.LocalFlags()); len(list) > 0 {
		fmt.Fprintf(w, "\n| flag | default | meaning |\n|---|---|---|\n")
		for _, f := range list {
			fmt.Fprintf(w, "| `%s` | %s | %s |\n", f.name, code(f.fallback), cell(f.meaning))
		}
	}
	if parent := flagParent(cmd); parent != nil {
		fmt.Fprintf(w, "\nThe flags of [`%s`](#%s) count here too.\n", parent.CommandPath(), anchor(parent))
	}
}

func description(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return cmd.Long
	}
	return cmd.Short + "."
}

// usage is the line of a command that does something; one that only has others below it has none.
func usage(cmd *cobra.Command) string {
	if cmd.HasSubCommands() && !strings.Contains(cmd.Use, " ") {
		return ""
	}
	return cmd.UseLine()
}

// flagParent is the nearest command above that has flags for all below it.
func flagParent(cmd *cobra.Command) *cobra.Command {
	for p := cmd.Parent(); p != nil; p = p.Parent() {
		if p.HasAvailablePersistentFlags() {
			return p
		}
	}
	return nil
}

// flag is a flag as a page shows it.
type flag struct{ name, fallback, meaning string }

func flagsOf(set *pflag.FlagSet) []flag {
	var list []flag
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, meaning := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if value != "" {
			name += " " + value
		}
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		list = append(list, flag{name, fallback(f), meaning})
	})
	return list
}

// fallback is the default as far as it says something: not an empty one.
func fallback(f *pflag.Flag) string {
	switch f.DefValue {
	case "false", "[]", "0s":
		return ""
	}
	return f.DefValue
}

// markdown fences the indented lines of a help text, which are there to be read as they stand.
func markdown(text string) string {
	var out []string
	fenced := false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		// An empty line belongs to the block that goes on behind it.
		goesOn := line == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], " ")
		if indented != fenced && !(fenced && goesOn) {
			fenced = !fenced
			out = append(out, "```")
		}
		out = append(out, line)
	}
	if fenced {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}

func unindent(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  ")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell makes text fit into one cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
