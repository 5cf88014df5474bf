package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// run runs a command line in this process.
func run(args ...string) (string, error) {
	root := command()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.Execute()
	return out.String(), err
}

// What is written wrongly is answered with what was meant, or with what there is, and where to read on.
func TestMistakesOnTheCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"plaground":                   "\"plaground\" is not a command of shoal; did you mean \"playground\"?\nSee `shoal --help`",
		"completion tcsh":             "\"tcsh\" is not a command of shoal completion, which has bash, fish, powershell, zsh\nSee `shoal completion --help`",
		"help playgrounds":            "\"playgrounds\" is not a command of shoal; did you mean \"playground\"?\nSee `shoal --help`",
		"store --statusaddr a:1":      "unknown flag: --statusaddr; did you mean --status-addr?\nSee `shoal store --help`",
		"ctl region splt 2":           "\"splt\" is not a command of shoal ctl region; did you mean \"split\"?\nUsage: shoal ctl region [ID] [flags]\nSee `shoal ctl region --help`",
		"ctl store x":                 "\"x\" is not an id; it must be a number above 0",
		"playground --nothing-at-all": "unknown flag: --nothing-at-all\nSee `shoal playground --help`",
		"playground 3":                "\"3\" is not a command of shoal playground, which has display, scale-in, scale-out\nSee `shoal playground --help`",
		"playground --kv three":       "invalid argument \"three\" for \"--kv\" flag: strconv.ParseInt: parsing \"three\": invalid syntax\nSee `shoal playground --help`",
	} {
		_, err := run(strings.Fields(args)...)
		require.EqualError(t, err, want, args)
	}
	_, err := run("ctl", "region", "1", "2")
	require.ErrorContains(t, err, "\nUsage: shoal ctl region ")
}

// Help fits into a terminal of 100 columns, whatever was written; only an example may be longer.
func TestHelpFits(t *testing.T) {
	root := command()
	finish(root)
	walk(root, func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.HasParent() && cmd.Parent().Name() == "completion" {
			return
		}
		out, err := run(append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
		require.NoError(t, err)
		text, rest, _ := strings.Cut(out, "\nExamples:\n")
		_, flags, _ := strings.Cut(rest, "\nFlags:\n")
		for line := range strings.SplitSeq(text+flags, "\n") {
			require.LessOrEqual(t, len([]rune(line)), helpWidth, "%s: %s", cmd.CommandPath(), line)
		}
	})
}

func TestACommandOfCommandsHelps(t *testing.T) {
	out, err := run("bench")
	require.NoError(t, err)
	require.Contains(t, out, "shoal bench [command]")
	require.NotContains(t, out, "shoal bench [flags]")
}

// Completion offers what there is to choose from, files where a file is meant, and nothing where nothing can be known.
func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"store --engine ":         "pebble\nbadger\nmem\n:4\n",
		"playground --engine ":    "pebble\nbadger\nmem\n:4\n",
		"scheduler --log-level ":  "debug\ninfo\nwarn\nerror\nfatal\n:4\n",
		"store --config ":         "toml\n:8\n",
		"playground --kv.config ": "toml\n:8\n",
		"playground --data-dir ":  ":16\n",
		"store --log-file ":       ":0\n",
		"store --addr ":           ":4\n",
		"version ":                ":4\n",
		"help playg":              "playground\tStart a whole cluster on this machine\n:4\n",
	} {
		args, last := strings.Fields(args), ""
		if args[0] == "help" {
			args, last = args[:1], args[1]
		}
		out, err := run(append(append([]string{cobra.ShellCompRequestCmd}, args...), last)...)
		require.NoError(t, err)
		require.Contains(t, out, want, args)
		require.True(t, strings.HasPrefix(out, want), "%v: %s", args, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, must(t, "completion", shell), "shoal") // in a process: cobra writes it to the standard output
	}
	out, err := run("completion", "--help")
	require.NoError(t, err)
	require.Contains(t, out, "~/.local/share/bash-completion/completions/shoal")
}
