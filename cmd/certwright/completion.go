package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/spec"
)

// complete adds the command completion, and makes the shell know the names of the spec.
func (a *app) complete(root *cobra.Command) {
	shells := map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  root.GenZshCompletion,
		"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	}
	root.CompletionOptions.DisableDefaultCmd = true // it says nothing about an unknown shell
	root.AddCommand(&cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the script that makes a shell complete commands, flags and names",
		Example: "  source <(certwright completion bash)\n" +
			"  certwright completion zsh > \"${fpath[1]}/_certwright\"\n" +
			"  certwright completion fish > ~/.config/fish/completions/certwright.fish",
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			write, ok := shells[args[0]]
			if !ok {
				return fmt.Errorf("no completion for %q: bash, zsh or fish", args[0])
			}
			return write(a.out)
		},
	})
	for _, c := range root.Commands() {
		switch c.Name() {
		case "why", "adopt", "verify":
			c.ValidArgsFunction = a.names(bindingNames)
		case "env":
			c.ValidArgsFunction = a.names(clientNames)
		case "rotate":
			c.ValidArgsFunction = a.names(rotatable)
		}
		if c.Flags().Lookup("only") != nil {
			_ = c.RegisterFlagCompletionFunc("only", a.names(bindingNames)) // an error says that there is no such flag
		}
	}
}

// names completes with what list finds in the spec, and with nothing where that cannot be read.
func (a *app) names(list func(*spec.Spec) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		s, err := a.load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(s), cobra.ShellCompDirectiveNoFileComp
	}
}

func bindingNames(s *spec.Spec) (names []string) {
	for _, b := range s.Bindings {
		names = append(names, b.Name)
	}
	return names
}

func rotatable(s *spec.Spec) (names []string) {
	for _, i := range s.Identities {
		if i.From == nil {
			names = append(names, "identity/"+i.Name)
		}
	}
	return names
}
