package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-kv/shoal/kv/config"
)

// complete says what the shell may offer for a command's arguments and flags, unless the command knows better itself: what a flag
// calls its value tells what it is.
func complete(cmd *cobra.Command) {
	if !cmd.HasSubCommands() && cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, known := cmd.GetFlagCompletionFunc(f.Name); known {
			return
		}
		if err := cmd.RegisterFlagCompletionFunc(f.Name, completionOf(f)); err != nil {
			panic("shoal: completion of --" + f.Name + ": " + err.Error()) // the flag was found a moment ago
		}
	})
}

func completionOf(f *pflag.Flag) cobra.CompletionFunc {
	value, _ := pflag.UnquoteUsage(f)
	switch value {
	case "file":
		if f.Name == "config" || f.Name == "kv.config" || f.Name == "pd.config" {
			return fixed(cobra.ShellCompDirectiveFilterFileExt, "toml")
		}
		return fixed(cobra.ShellCompDirectiveDefault)
	case "directory":
		return fixed(cobra.ShellCompDirectiveFilterDirs)
	case "level":
		return fixed(cobra.ShellCompDirectiveNoFileComp, "debug", "info", "warn", "error", "fatal")
	case "library":
		return fixed(cobra.ShellCompDirectiveNoFileComp, config.Engines[:]...)
	}
	return cobra.NoFileCompletions
}

func fixed(directive cobra.ShellCompDirective, values ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return values, directive }
}

// explainCompletion puts what to do first into the help of `shoal completion`.
func explainCompletion(root *cobra.Command) {
	cmd, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic("shoal: no completion command: " + err.Error()) // it was added a moment ago
	}
	cmd.Short = "Print a script that makes the shell complete commands and flags"
	cmd.Long = `Print a script for bash, zsh, fish or powershell that completes commands, flags and the values of flags.

For good, and without being root:

  bash  mkdir -p ~/.local/share/bash-completion/completions
        shoal completion bash > ~/.local/share/bash-completion/completions/shoal
        (the package bash-completion must be installed)
  zsh   mkdir -p ~/.zfunc && shoal completion zsh > ~/.zfunc/_shoal
        and in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit
  fish  shoal completion fish > ~/.config/fish/completions/shoal.fish

A new shell has it then. The help of each subcommand tells more. The shell must find shoal by that name: in its PATH, not as
bin/shoal.`
	cmd.Example = `  source <(shoal completion bash)`
}
