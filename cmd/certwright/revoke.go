package main

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) revokeCommand() *cobra.Command {
	var f applying
	var later, abort bool
	var ca string
	c := &cobra.Command{
		Use:   "revoke IDENTITY|SERIAL",
		Short: "Have a certificate revoked by its CA, and issue another",
		Long: "Have a certificate revoked by its CA, and issue another.\n\n" +
			"The certificate of an identity is revoked at once, and one with a new key is issued, placed and loaded, also where the\n" +
			"identity says `reuseKey: true`. A serial of none of them is revoked by the CA that --ca names. What the CA does not do now is\n" +
			"kept, and tried again, until it has expired or --abort takes it back. Revoking takes nothing from those who do not ask the CA\n" +
			"whether a certificate is good.",
		Example: "  certwright revoke web\n  certwright revoke 4b1f9c02 --ca company",
		Args:    one("IDENTITY or SERIAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if abort {
				return a.abortRevocation(cmd, args[0])
			}
			wish := func(s *spec.Spec, st *reconcile.State) error { return a.wishRevocation(s, st, args[0], ca) }
			if later {
				return a.wish(cmd, args[0], wish)
			}
			return a.apply(cmd.Context(), f, wish)
		},
	}
	c.Flags().StringVar(&ca, "ca", "", "the CA of a certificate that no identity has")
	c.Flags().BoolVar(&abort, "abort", false, "ask the CA no more for what it has not revoked yet")
	c.Flags().BoolVar(&later, "defer", false, "record the wish only; the next pass carries it out")
	c.Flags().DurationVar(&f.wait, "wait", 0, "also wait this long (as 90s or 2m) until every binding is Ready or Unverified")
	return c
}

var serialForm = regexp.MustCompile("^([0-9a-f]{2})+$")

// inHex is a serial as the state has it.
func inHex(what string) string {
	serial := strings.ToLower(strings.ReplaceAll(what, ":", ""))
	for len(serial) > 2 && strings.HasPrefix(serial, "00") {
		serial = serial[2:]
	}
	return serial
}

// abortRevocation forgets what was to be revoked, of an identity or of a serial. That the identity is to have another key stays.
func (a *app) abortRevocation(cmd *cobra.Command, what string) error {
	s, err := a.open(cmd.Context(), true)
	if err != nil {
		return err
	}
	defer s.close()
	err = record(cmd.Context(), s, func(_ *spec.Spec, st *reconcile.State) error {
		before := len(st.Revocations)
		maps.DeleteFunc(st.Revocations, func(serial string, r reconcile.Revocation) bool {
			return serial == inHex(what) || r.Identity != "" && r.Identity == strings.TrimPrefix(what, "identity/")
		})
		if len(st.Revocations) == before {
			return fmt.Errorf("nothing of %s is still to be revoked", what)
		}
		return nil
	})
	if err != nil {
		return a.lost(err)
	}
	fmt.Fprintf(a.out, "%s: the CA is asked no more.\n", what)
	return nil
}

// wishRevocation records that a certificate is to be revoked, and the identity that has it to be issued anew.
func (a *app) wishRevocation(s *spec.Spec, st *reconcile.State, what, ca string) error {
	r := reconcile.Revocation{At: a.now()}
	if id := s.IdentityByName(strings.TrimPrefix(what, "identity/")); id != nil {
		issued, there := st.Identities[id.Name]
		switch {
		case id.From != nil:
			return fmt.Errorf("identity %s is issued by something else: revoke it there", id.Name)
		case !there:
			return fmt.Errorf("identity %s has no certificate", id.Name)
		}
		r.Identity, r.Issued = id.Name, issued
	} else {
		serial := inHex(what)
		if !serialForm.MatchString(serial) {
			return hinted{fmt.Errorf("%q is no identity and no serial", what), "name an identity of the spec, or a serial in hex as `status -o json` and `show` have it"}
		}
		for name, issued := range reconcile.Sorted(st.Identities) {
			if issued.Serial == serial {
				r.Identity, r.Issued = name, issued
			}
		}
		if r.Identity == "" {
			if ca == "" {
				return hinted{fmt.Errorf("no identity has the serial %s", serial), "name the CA that issued it: --ca NAME"}
			}
			r.Issued = reconcile.Issued{Serial: serial, CA: ca}
		}
	}
	if ca != "" && r.Issued.CA != ca {
		return fmt.Errorf("%s was issued by CA %s, not by %s", r.Issued.Serial, r.Issued.CA, ca)
	}
	of := s.CAByName(r.Issued.CA)
	if of == nil {
		known := make([]string, len(s.CAs))
		for i := range s.CAs {
			known[i] = s.CAs[i].Name
		}
		return unknown("CA", r.Issued.CA, known)
	}
	if _, err := (reconcile.Providers{Outside: a.outside(nil)}).Revoker(*of); err != nil {
		hint := "have it revoked where the CA is; `certwright rotate` gives the identity another"
		if of.Local != nil {
			hint = "`certwright rotate` gives the identity another, with another key unless it says `reuseKey`; who must not be let in any more until then is kept out by another CA"
		}
		return hinted{err, hint}
	}
	if of.ACME != nil && len(r.Issued.Certificate) == 0 {
		return hinted{fmt.Errorf("the CA %s is an ACME server, which revokes what it is shown, and the store does not have this certificate", of.Name), "revoke it where it is"}
	}
	st.Revocations[r.Issued.Serial] = r
	if r.Identity != "" && s.IdentityByName(r.Identity) != nil {
		st.Wishes["identity/"+r.Identity] = reconcile.Wish{At: r.At, Serial: r.Issued.Serial, NewKey: true}
	}
	return nil
}
