package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget HOST",
		Short: "Give up what was placed on a host that is gone for good",
		Long: "Give up what was placed on a host that is gone for good.\n\n" +
			"The host and its bindings leave tls.yaml first. What was placed there and cannot be cleared any more is then\n" +
			"named by plan, and forgotten by this. It stays where it is: keys that are still in use elsewhere want to be\n" +
			"rotated if somebody may have the disk.",
		Args: one("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context(), true)
			if err != nil {
				return err
			}
			defer s.close()
			var left []string
			err = record(cmd.Context(), s, func(of *spec.Spec, st *reconcile.State) error {
				if err := forgettable(of, *st, args[0]); err != nil {
					return err
				}
				left = st.ForgetHost(args[0])
				return nil
			})
			if err != nil {
				return a.lost(err)
			}
			fmt.Fprintf(a.out, "host/%s: forgotten. What it has stays there:\n  %s\n", args[0], strings.Join(left, "\n  "))
			return nil
		},
	}
}

// forgettable is an error unless something was placed on a host that the spec does not have any more.
func forgettable(of *spec.Spec, st reconcile.State, host string) error {
	known := st.ForeignHosts(of)
	switch {
	case slices.Contains(known, host):
		return nil
	case host == spec.LocalHost:
		return fmt.Errorf("%s is this machine's own engine: what is placed there is cleared by `certwright apply` once its binding leaves tls.yaml", host)
	case slices.ContainsFunc(of.Hosts, func(h spec.Host) bool { return h.Name == host }):
		return hinted{
			fmt.Errorf("the spec has a host %s: what is placed there is still wanted, or is cleared by `certwright apply`", host),
			"if it is gone for good, take it and its bindings out of tls.yaml first",
		}
	case len(known) == 0:
		return fmt.Errorf("nothing was placed on a host named %q that the spec does not have any more", host)
	}
	return hinted{
		fmt.Errorf("nothing was placed on a host named %q that the spec does not have any more", host),
		"something was on " + strings.Join(known, ", "),
	}
}
