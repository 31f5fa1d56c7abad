package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) statusCommand() *cobra.Command {
	var output string
	var exitCode bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show every CA, identity and binding, and what is served",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			a.strays = true
			w, plan, err := a.look(cmd, s, reconcile.Scope{})
			if err != nil {
				return err
			}
			reconcile.Managers(cmd.Context(), s.applier.Providers, w)
			status := reconcile.Assess(s.spec, w, plan)
			status.Exposed = reconcile.Audit(cmd.Context(), s.applier.Providers, w)
			status.Weak = reconcile.Certificates(s.spec, w)
			switch output {
			case "json":
				err = printJSON(a.out, statusJSON(s.spec.Project, status))
			case "table":
				a.statusTable(s, status)
			default:
				err = fmt.Errorf("no output named %q: table or json", output)
			}
			if err == nil && exitCode {
				return statusExit(status, plan, nil)
			}
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 if a binding is anything but Ready, Unverified or Waiting, or anything is blocked")
	c.Flags().BoolVar(&a.noCouriers, "no-couriers", false, "look by reading only; what cannot be seen so stays Unverified")
	return c
}

// statusExit is 3 if one of the bindings is not settled. No names mean all, and whatever else is blocked: a CA that
// cannot sign is no binding's trouble until a certificate ends.
func statusExit(s reconcile.Status, p reconcile.Plan, names []string) error {
	if len(names) == 0 && len(p.Blocked) > 0 {
		return exit{code: exitPart}
	}
	for _, b := range s.Bindings {
		if (len(names) == 0 || slices.Contains(names, b.Name)) && !b.State.Settled() {
			return exit{code: exitPart}
		}
	}
	return nil
}

func (a *app) statusTable(s *session, status reconcile.Status) {
	word := "converged"
	if !status.Converged {
		word = "not converged"
	}
	fmt.Fprintf(a.out, "%s: %s\n", s.spec.Project, word)
	if s.spec.Store.Passphrase == nil {
		fmt.Fprintf(a.out, "%s\n", a.paint(yellow, "the store has no passphrase: its keys are protected by file permissions alone"))
	}
	fmt.Fprintln(a.out, "\nCAs")
	t := a.table()
	for _, c := range status.CAs {
		for _, g := range c.Generations {
			t.row(c.Name, g.State, "key "+short(g.KeyID), "until "+stamp(g.NotAfter), c.Reason)
		}
		if len(c.Generations) == 0 {
			t.row(c.Name, "not made yet")
		}
	}
	for _, r := range status.Roots {
		t.row(r.Name, fmt.Sprintf("%d roots", r.Count), cmp.Or(rootsVersion(r), "of this host"))
	}
	t.flush()
	fmt.Fprintln(a.out, "\nIdentities")
	t = a.table()
	for _, i := range status.Identities {
		if i.Issued == nil {
			t.row(i.Name, cmp.Or(i.Reason, "not issued"))
			continue
		}
		t.row(i.Name, "serial "+short(i.Issued.Serial), "until "+stamp(i.Issued.NotAfter), renewal(i), i.Reason)
	}
	t.flush()
	for _, r := range status.Revoking {
		fmt.Fprintf(a.out, "  %s\n", a.paint(yellow, r))
	}
	a.weak(status.Weak)
	a.exposed(status.Exposed)
	a.swarm(status.Swarm)
	a.bindings(status, reconcile.Scope{})
	a.uncleared(status)
	a.refusals("Blocked", red, slices.DeleteFunc(slices.Clone(status.Beside), func(r reconcile.Refusal) bool {
		kind, _, _ := strings.Cut(r.Subject, "/")
		return r.State.Settled() || slices.Contains([]string{"ca", "identity", "binding", "swarm"}, kind) // said above
	}))
}

// rootsVersion is what Mozilla's roots are pinned to; "" for others.
func rootsVersion(r reconcile.RootsStatus) string {
	if r.Name == spec.PublicRoots {
		return formats.PublicVersion
	}
	return ""
}

// weak prints certificates that can be forged, have ended, or end soon.
func (a *app) weak(all []reconcile.Finding) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(a.out, "\nCertificates")
	for _, f := range all {
		fmt.Fprintf(a.out, "  %s  %s\n", f.Subject, a.paint(red, printable(f.Reason)))
		printHint(a.out, "  ", printable(f.Hint))
	}
}

// exposed prints the sockets of engines that let in whom they should not.
func (a *app) exposed(all []reconcile.Exposure) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(a.out, "\nEngines")
	for _, x := range all {
		fmt.Fprintf(a.out, "  %s  %s\n", x.Host, a.paint(red, x.Address+" "+x.Reason))
		printHint(a.out, "  ", x.Hint)
	}
}

// swarm prints the root of the Swarm's own CA, and a line for each node.
func (a *app) swarm(s *reconcile.SwarmStatus) {
	if s == nil {
		return
	}
	fmt.Fprintln(a.out, "\nSwarm")
	if s.Root != "" {
		fmt.Fprintf(a.out, "  root %s  until %s  node certificates live %s\n", short(s.Root), stamp(s.NotAfter), spec.FormatDuration(s.Lifetime))
	}
	for _, url := range s.Signers() {
		fmt.Fprintf(a.out, "  %s signs the certificates of its nodes\n", url)
	}
	if s.Root != "" && !s.Autolock {
		fmt.Fprintf(a.out, "  %s\n", a.paint(yellow, "its managers are not locked: whoever has the disk of one has its secrets; `docker swarm update --autolock` locks them"))
	}
	if s.Reason != "" {
		fmt.Fprintf(a.out, "  %s\n", s.Reason)
	}
	t := a.table()
	for _, n := range s.Nodes {
		until := ""
		if !n.Served.NotAfter.IsZero() {
			until = "until " + stamp(n.Served.NotAfter)
		}
		t.row(n.Name, n.State, "TLS "+s.TLS(n), until)
	}
	t.flush()
	if s.Hint != "" {
		printHint(a.out, "  ", s.Hint)
	}
}

func renewal(i reconcile.IdentityStatus) string {
	if i.RenewAt.IsZero() {
		return "issued by something else"
	}
	return "renews " + stamp(i.RenewAt)
}

// bindings prints a line for each binding in scope, and for each target that differs.
func (a *app) bindings(status reconcile.Status, scope reconcile.Scope) {
	if len(status.Bindings) == 0 {
		return
	}
	fmt.Fprintln(a.out, "\nBindings")
	t := a.table()
	for _, b := range status.Bindings {
		if scope.Has(b.Name) {
			t.row(b.Name, a.paint(stateColour(b.State), string(b.State)), b.Reason, targets(b))
		}
	}
	t.flush()
	a.hints(status, scope)
}

// hints prints each hint once, with the bindings it is for.
func (a *app) hints(status reconcile.Status, scope reconcile.Scope) {
	var hints []string
	names := map[string][]string{}
	for _, b := range status.Bindings {
		if !scope.Has(b.Name) || b.Hint == "" {
			continue
		}
		if names[b.Hint] == nil {
			hints = append(hints, b.Hint)
		}
		names[b.Hint] = append(names[b.Hint], b.Name)
	}
	for _, h := range hints {
		printHint(a.out, "  ", strings.Join(names[h], ", ")+": "+h)
	}
}

func targets(b reconcile.BindingStatus) string {
	var out []string
	for _, t := range b.Targets {
		switch {
		case t.ServedSerial == "":
		case t.ServedSerial == t.WantedSerial:
			out = append(out, t.Name+" serves "+short(t.ServedSerial))
		case t.WantedSerial == "":
			out = append(out, t.Name+" serves "+short(t.ServedSerial)+", which this store did not issue")
		default:
			out = append(out, t.Name+" serves "+short(t.ServedSerial)+", not "+short(t.WantedSerial))
		}
	}
	return strings.Join(out, "; ")
}

func stateColour(s reconcile.BindingState) string {
	switch s {
	case reconcile.Ready:
		return green
	case reconcile.Unverified, reconcile.Waiting, reconcile.Progressing:
		return yellow
	}
	return red
}

// short is enough of a serial or key id to tell it from others; -o json has the whole.
func short(hex string) string {
	if len(hex) > 12 {
		return hex[:12]
	}
	return hex
}
