package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/spec"
)

func (a *app) envCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "env BINDING",
		Short: "Print the shell exports for a binding of a docker context",
		Long: "Print the shell exports for a binding of a docker context: DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.\n" +
			"Nothing is placed; that is for `certwright apply`.",
		Example: `  eval "$(certwright env ops)"`,
		Args:    one("binding"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.load()
			if err != nil {
				return err
			}
			if err := only(s, args); err != nil {
				return err
			}
			b := s.BindingByName(args[0])
			if b.Place.Context == nil {
				return hinted{fmt.Errorf("%s: the binding %s has no context", b.Pos, b.Name), "those that have: " + strings.Join(clientNames(s), ", ")}
			}
			for _, v := range [][2]string{
				{"DOCKER_HOST", b.Place.Context.Endpoint}, {"DOCKER_TLS_VERIFY", "1"}, {"DOCKER_CERT_PATH", b.Place.Context.CertPath()},
			} {
				fmt.Fprintf(a.out, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
			}
			return nil
		},
	}
}

// clientNames are the bindings that have a context.
func clientNames(s *spec.Spec) (names []string) {
	for _, b := range s.Bindings {
		if b.Place.Context != nil {
			names = append(names, b.Name)
		}
	}
	if len(names) == 0 {
		names = []string{"none"}
	}
	return names
}
