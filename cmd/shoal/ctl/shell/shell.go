// Package shell reads lines and runs each of them as a command of a cobra tree: at a terminal, with editing, history and completion, or
// from a script.
//
// A line is cut into words (Split), a fresh tree is built, since a tree keeps the flags of its last run, and the tree does the rest: commands, flags,
// help and completion are those of the command line, and exist once. Ctrl-C ends the running command, which hears of it as it does outside
// of the shell, and not the shell.
package shell

import (
	"bufio"
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"strings"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
)

// Shell runs the commands of a tree.
type Shell struct {
	// Tree builds the commands; its root's path, such as "shoal ctl", may be left out in lines. The shell adds a command to leave.
	Tree func() *cobra.Command
	// Completing prepares a tree that is to complete a line; may be nil.
	Completing func(tree *cobra.Command)
	// Out and Err are for what commands print, and for their errors.
	Out, Err io.Writer
}

// errLeave is how the command that leaves does so.
var errLeave = stderrors.New("leave the shell")

// ErrInput is what commands hear that want to read standard input: that is where the shell's lines come from.
var ErrInput = stderrors.New("in the shell, standard input is the shell's; run this command outside of it")

// maxLine bounds a line of a script: a value may be large.
const maxLine = 64 << 20

// Script runs lines until one fails; with keepGoing, to the end. The error says which line failed, or how many did.
func (s *Shell) Script(ctx context.Context, in io.Reader, keepGoing bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	ran, failed := 0, 0
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimPrefix(lines.Text(), "\ufeff")
		did, err := s.run(ctx, line)
		switch {
		case stderrors.Is(err, errLeave):
			return verdict(ran, failed)
		case err == nil:
		case !keepGoing || stderrors.Is(err, context.Canceled):
			return errors.Annotatef(err, "line %d (%s)", n, abridged(line))
		default:
			failed++
			fmt.Fprintf(s.Err, "Error: line %d (%s): %v\n", n, abridged(line), err)
		}
		if did {
			ran++
		}
	}
	if err := lines.Err(); err != nil {
		return errors.Annotatef(err, "reading the script after %d commands", ran)
	}
	return verdict(ran, failed)
}

func verdict(ran, failed int) error {
	if failed > 0 {
		return errors.Errorf("%d of %d commands failed", failed, ran)
	}
	return nil
}

// abridged is a line as messages show it.
func abridged(line string) string {
	const most = 60
	line = strings.TrimSpace(line)
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}

// run runs one line; did is false if there is nothing on it.
func (s *Shell) run(ctx context.Context, line string) (did bool, err error) {
	words, err := Split(line)
	if err != nil {
		return true, err
	}
	tree := s.tree()
	if words = ownWords(tree, words); len(words) == 0 {
		return false, nil
	}
	tree.SetArgs(words)
	return true, tree.ExecuteContext(ctx)
}

// tree is the caller's tree, prepared for one line.
func (s *Shell) tree() *cobra.Command {
	tree := s.Tree()
	tree.AddCommand(&cobra.Command{
		Use:               "exit",
		Aliases:           []string{"quit"},
		Short:             "Leave the shell; so does Ctrl-D",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return errLeave },
	})
	tree.CompletionOptions.DisableDefaultCmd = true
	tree.SilenceUsage, tree.SilenceErrors = true, true
	tree.SetIn(refused{})
	tree.SetOut(s.Out)
	tree.SetErr(s.Err)
	return tree
}

// refused is standard input for commands.
type refused struct{}

func (refused) Read([]byte) (int, error) { return 0, ErrInput }

// ownWords leaves the path of the root out where a line begins with it, as it does in examples that were written for the command line.
func ownWords(tree *cobra.Command, words []string) []string {
	for _, name := range strings.Fields(tree.CommandPath()) {
		if len(words) > 0 && words[0] == name {
			words = words[1:]
		}
	}
	return words
}
