package shell

import (
	"bytes"
	stderrors "errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Complete says what could stand for the word before pos: the line becomes head + one of the candidates + tail. It asks the tree in the way in
// which bash, zsh and fish ask it, so that all of them offer the same. The tree is used up.
func Complete(tree *cobra.Command, line string, pos int) (head string, candidates []string, tail string) {
	w := split(line[:pos])
	head, tail = line[:w.open], line[pos:]
	if w.comment {
		return head, nil, tail
	}
	done, typed := w.list, ""
	if w.open < pos {
		done, typed = w.list[:len(w.list)-1], w.list[len(w.list)-1]
	}
	words, directive := ask(tree, ownWords(tree, done), typed)
	if directive&cobra.ShellCompDirectiveFilterFileExt != 0 {
		words = files(typed, words)
	} else if len(words) == 0 && directive&(cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveError) == 0 {
		words = files(typed, nil)
	}
	flag := ""
	if i := strings.IndexByte(typed, '='); i >= 0 && strings.HasPrefix(typed, "-") {
		flag = typed[:i+1] // the answers are what comes after it
	}
	for _, word := range words {
		if word = flag + word; !strings.HasPrefix(word, typed) {
			continue
		}
		candidate := join(word, w.quote)
		if !strings.HasSuffix(word, "=") && !strings.HasSuffix(word, string(filepath.Separator)) && directive&cobra.ShellCompDirectiveNoSpace == 0 {
			if w.quote != 0 {
				candidate += string(w.quote)
			}
			candidate += " "
		}
		candidates = append(candidates, candidate)
	}
	slices.Sort(candidates)
	return head, slices.Compact(candidates), tail
}

// ask has the tree complete a word.
func ask(tree *cobra.Command, done []string, typed string) ([]string, cobra.ShellCompDirective) {
	if !isSound(tree, done) {
		return nil, cobra.ShellCompDirectiveError
	}
	var out bytes.Buffer
	tree.SetOut(&out)
	tree.SetErr(&bytes.Buffer{}) // remarks for those who debug completion scripts
	tree.SetArgs(append(append([]string{cobra.ShellCompNoDescRequestCmd}, done...), typed))
	if err := tree.Execute(); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	last := len(lines) - 1 // ":" and the directive
	directive, err := strconv.Atoi(strings.TrimPrefix(lines[last], ":"))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:last], cobra.ShellCompDirective(directive)
}

// isSound reports whether words can begin a command. Those that cannot would have cobra write on the process's standard error, which is where
// a person is typing.
func isSound(tree *cobra.Command, words []string) bool {
	tree.InitDefaultHelpCmd()
	cmd, rest, err := tree.Find(words)
	if err != nil {
		return false
	}
	cmd.InitDefaultHelpFlag()
	var needsValue *pflag.ValueRequiredError // it may be the one that is being typed
	err = cmd.ParseFlags(rest)
	return err == nil || stderrors.As(err, &needsValue)
}

// files are the directories, and the files with one of the extensions, that a typed path may mean.
func files(typed string, extensions []string) []string {
	found, _ := filepath.Glob(escapeGlob(typed) + "*") // no path, no files
	var out []string
	for _, name := range found {
		info, err := os.Stat(name)
		switch {
		case err != nil:
		case info.IsDir():
			out = append(out, name+string(filepath.Separator))
		case len(extensions) == 0 || slices.Contains(extensions, strings.TrimPrefix(filepath.Ext(name), ".")):
			out = append(out, name)
		}
	}
	return out
}

// escapeGlob makes a path a pattern that matches it alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}
