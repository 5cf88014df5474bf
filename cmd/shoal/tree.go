package main

import (
	stderrors "errors"
	"fmt"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-kv/shoal/kv/config"
)

// finish gives all commands what they have in common: mistakes on the command line are answered with what was probably meant and
// where to read on, and the shell completes whatever it can know.
func finish(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = requireTopic
	}
	root.SetFlagErrorFunc(flagError)
	usage := strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", `{{if and .Runnable (not (index .Annotations "`+groupOnly+`"))}}`, 1)
	root.SetUsageTemplate(strings.ReplaceAll(usage, "FlagUsages ", fmt.Sprintf("FlagUsagesWrapped %d ", helpWidth)))
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		long := cmd.Long
		cmd.Long = refill(long, helpWidth)
		show(cmd, args)
		cmd.Long = long
	})
	walk(root, func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		switch {
		case cmd.HasSubCommands() && cmd.Runnable() && strings.Contains(cmd.Use, " "):
			cmd.Args = orSubcommand(cmd.Args)
		case cmd.HasSubCommands():
			cmd.Args = requireSubcommand
			if !cmd.Runnable() {
				cmd.Annotations = map[string]string{groupOnly: "true"}
				cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			}
		case cmd.Args != nil && cmd.Name() != "help":
			cmd.Args = explainArgs(cmd.Args)
		}
		complete(cmd)
	})
	explainCompletion(root)
}

// helpWidth is how many columns help texts take.
const helpWidth = 100

// refill breaks the paragraphs of a text anew where a line of theirs is wider than width. Paragraphs with a line that is indented stay as they are.
func refill(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		wide := false
		for line := range strings.SplitSeq(p, "\n") {
			wide = wide || len([]rune(line)) > width
		}
		if wide && !strings.Contains("\n"+p, "\n ") {
			paragraphs[i] = refilled(p, width)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func refilled(paragraph string, width int) string {
	lines := []string{""}
	for word := range strings.FieldsSeq(paragraph) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len([]rune(*last))+1+len([]rune(word)) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return strings.Join(lines, "\n")
}

// groupOnly marks a command that does nothing by itself. It must be runnable all the same, or cobra would take any argument for a call for
// help.
const groupOnly = "group-only"

// walk visits a command and all below it, in the order of the help.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

// requireSubcommand refuses the arguments of a command that only has others below it.
func requireSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	err := errors.Errorf("%q is not a command of %s, which has %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
	if meant := config.Nearest(args[0], names); meant != "" {
		err = errors.Errorf("%q is not a command of %s; did you mean %q?", args[0], cmd.CommandPath(), meant)
	}
	return readOn(cmd, err)
}

// orSubcommand is for a command that takes arguments of its own beside others below it: what is written like one of those was meant to be it.
func orSubcommand(own cobra.PositionalArgs) cobra.PositionalArgs {
	own = explainArgs(own)
	return func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		if len(args) > 0 && config.Nearest(args[0], names) != "" {
			return requireSubcommand(cmd, args)
		}
		return own(cmd, args)
	}
}

// requireTopic refuses to help with a command that is not there.
func requireTopic(help *cobra.Command, args []string) error {
	cmd, rest, err := help.Root().Find(args)
	if err != nil {
		return errors.WithStack(err)
	}
	return requireSubcommand(cmd, rest)
}

// explainArgs adds how the command is used to what is wrong with its arguments.
func explainArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err != nil && !strings.Contains(cmd.Use, " ") {
			err = errors.Errorf("%s takes flags only, and %q is none", cmd.CommandPath(), args[0])
		}
		return readOn(cmd, err)
	}
}

// flagError names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if stderrors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := config.Nearest(unknown.GetSpecifiedName(), names); meant != "" {
			err = errors.Errorf("%v; did you mean --%s?", err, meant)
		}
	}
	return readOn(cmd, err)
}

// readOn adds where to read on, and the use of a command with arguments.
func readOn(cmd *cobra.Command, err error) error {
	switch {
	case err == nil:
		return nil
	case strings.Contains(cmd.Use, " "):
		return errors.Errorf("%v\nUsage: %s\nSee `%s --help`", err, cmd.UseLine(), cmd.CommandPath())
	}
	return errors.Errorf("%v\nSee `%s --help`", err, cmd.CommandPath())
}
