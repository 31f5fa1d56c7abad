package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) adoptCommand() *cobra.Command {
	var later bool
	c := &cobra.Command{
		Use:   "adopt BINDING",
		Short: "Take over files that certwright did not make, keeping a backup",
		Long: "Take over files that certwright did not make, keeping a backup.\n\n" +
			"It is for a binding that is Blocked by somebody else's files. Certificate, key and CA of the spec take their\n" +
			"place; they are kept in a directory ..certwright-backup-TIME beside them, those of a docker context\n" +
			"in contexts/certwright-backup of docker's configuration. A Swarm secret is taken from its service, and stays.\n" +
			"Clients that trust another CA than that of the spec have to be given it first.",
		Args: one("BINDING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if done, err := a.nothingToAdopt(cmd, args[0]); done || err != nil {
				return err
			}
			wish := func(s *spec.Spec, st *reconcile.State) error {
				if err := only(s, args); err != nil {
					return err
				}
				st.Wishes["binding/"+args[0]] = reconcile.Wish{At: a.now(), Adopt: true}
				return nil
			}
			if later {
				return a.wish(cmd, "binding/"+args[0], wish)
			}
			return a.apply(cmd.Context(), applying{scoping: scoping{names: args}}, wish)
		},
	}
	c.Flags().BoolVar(&later, "defer", false, "record the wish only: plan shows it, and the next pass carries it out")
	return c
}

// nothingToAdopt says so where nothing is in the way of a binding, and keeps no wish, also none from before: it would take over
// what comes later, which nobody has seen.
func (a *app) nothingToAdopt(cmd *cobra.Command, name string) (bool, error) {
	s, err := a.open(cmd.Context(), false)
	if err != nil {
		return false, err
	}
	defer s.close()
	names := []string{name}
	if err := only(s.spec, names); err != nil {
		return false, err
	}
	w, plan, err := a.look(cmd, s, reconcile.Scope{Only: names})
	if err != nil {
		return false, err
	}
	if w.Fresh || reconcile.Adoptable(s.spec, w, name) {
		return false, nil
	}
	subject := "binding/" + name
	if w.State.Wishes[subject].Adopt {
		if err := a.unwish(cmd.Context(), subject); err != nil {
			return false, err
		}
	}
	for _, b := range reconcile.Assess(s.spec, w, plan).Bindings {
		if b.Name == name {
			said := string(b.State)
			if b.Reason != "" {
				said += ": " + b.Reason
			}
			fmt.Fprintf(a.out, "%s: there is nothing to adopt: it is %s.\n", name, said)
		}
	}
	return true, nil
}

// unwish drops a wish.
func (a *app) unwish(ctx context.Context, subject string) error {
	s, err := a.open(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	return a.lost(record(ctx, s, func(_ *spec.Spec, st *reconcile.State) error {
		delete(st.Wishes, subject)
		return nil
	}))
}
