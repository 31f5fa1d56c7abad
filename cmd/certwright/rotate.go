package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) rotateCommand() *cobra.Command {
	var f applying
	var later bool
	c := &cobra.Command{
		Use:   "rotate identity/NAME",
		Short: "Record the wish for a new certificate, and carry it out",
		Long: "Record the wish for a new certificate, and carry it out.\n\n" +
			"The certificate gets a new key, unless the identity says `reuseKey: true`; it is placed and loaded as any\n" +
			"renewal is. The old one is not revoked.",
		Example: "  certwright rotate identity/web",
		Args:    one("identity/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.TrimPrefix(args[0], "identity/")
			if strings.HasPrefix(name, "ca/") {
				return hinted{fmt.Errorf("cannot rotate %q", args[0]), "an identity is named as NAME or identity/NAME; ca/NAME is not in this version"}
			}
			wish := func(s *spec.Spec, st *reconcile.State) error { return a.wishRotation(s, st, name) }
			if later {
				return a.wish(cmd, args[0], wish)
			}
			return a.apply(cmd.Context(), f, wish)
		},
	}
	c.Flags().BoolVar(&later, "defer", false, "record the wish only; the next pass carries it out")
	c.Flags().DurationVar(&f.wait, "wait", 0, "also wait this long (as 90s or 2m) until every binding is Ready or Unverified")
	return c
}

func (a *app) wishRotation(s *spec.Spec, st *reconcile.State, name string) error {
	id := s.IdentityByName(name)
	if id == nil {
		known := make([]string, len(s.Identities))
		for i := range s.Identities {
			known[i] = s.Identities[i].Name
		}
		return unknown("identity", name, known)
	}
	if id.From != nil {
		return fmt.Errorf("identity %s is issued by something else: rotate it there", name)
	}
	if i, ok := st.Identities[name]; ok {
		before := st.Wishes["identity/"+name]
		lost := before.NewKey && before.Serial == i.Serial // its key is not to be had again
		st.Wishes["identity/"+name] = reconcile.Wish{At: a.now(), Serial: i.Serial, NewKey: lost}
	}
	return nil
}

// wish records a wish about a subject and does nothing else.
func (a *app) wish(cmd *cobra.Command, subject string, wish func(*spec.Spec, *reconcile.State) error) error {
	s, err := a.open(cmd.Context(), true)
	if err != nil {
		return err
	}
	defer s.close()
	if err := record(cmd.Context(), s, wish); err != nil {
		return a.lost(err)
	}
	fmt.Fprintf(a.out, "%s: recorded; the next apply carries it out.\n", subject)
	return nil
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Read the spec and say everything that is wrong with it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.load()
			if err != nil {
				return err
			}
			a.warn(s)
			fmt.Fprintf(a.out, "%s: %s: good.\n", s.Project, counts(s))
			return nil
		},
	}
}
