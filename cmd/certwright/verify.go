package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) verifyCommand() *cobra.Command {
	var deep bool
	c := &cobra.Command{
		Use:   "verify [BINDING...]",
		Short: "Prove on the wire that what is wanted is what is served",
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			if err := only(s.spec, names); err != nil {
				return err
			}
			scope := reconcile.Scope{Only: names, Prune: reconcile.PruneNone}
			w, plan, err := a.look(cmd, s, scope)
			if err != nil {
				return err
			}
			status := reconcile.Assess(s.spec, w, plan)
			for _, b := range status.Bindings {
				if scope.Has(b.Name) {
					a.proof(s.spec, w, b)
				}
			}
			matrix := reconcile.Matrix(cmd.Context(), s.applier.Providers, s.spec, w, names, !a.noCouriers)
			broken := a.matrix(matrix)
			if deep && a.compared(reconcile.Deep(cmd.Context(), s.applier.Providers, s.spec, w, names)) {
				broken = true
			}
			if err := statusExit(status, plan, names); err != nil {
				return err
			}
			if broken {
				return exit{code: exitPart}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "also ask the Swarm whether secrets and configs hold what they should; the versions of secrets change by that")
	c.Flags().BoolVar(&a.noCouriers, "no-couriers", false, "look by reading only; what cannot be seen so stays Unverified")
	return c
}

// proof prints what every target of a binding showed.
func (a *app) proof(s *spec.Spec, w reconcile.World, b reconcile.BindingStatus) {
	line := fmt.Sprintf("%s: %s", b.Name, a.paint(stateColour(b.State), string(b.State)))
	if b.Reason != "" {
		line += " (" + b.Reason + ")"
	}
	fmt.Fprintln(a.out, line)
	for key, served := range reconcile.Sorted(w.Served) {
		if !strings.HasPrefix(key, b.Name+"/") {
			continue
		}
		for _, fact := range facts(served) {
			fmt.Fprintf(a.out, "  %s\n", fact)
		}
	}
	if b.Hint != "" {
		printHint(a.out, "  ", b.Hint)
	}
}

// facts are what a handshake showed, in words.
func facts(s reconcile.Served) []string {
	if s.Err != "" {
		return []string{s.Address + ": " + s.Err}
	}
	out := []string{fmt.Sprintf("%s: serves %s over %s, a chain of %d", s.Address, s.Serial, s.Version, len(s.Chain))}
	if s.Untrusted != "" {
		out = append(out, "a client would refuse it: "+s.Untrusted)
	} else {
		out = append(out, "the chain verifies for the name against the binding's trust")
	}
	for _, q := range []struct {
		who    string
		answer reconcile.Answer
	}{{"no client certificate", s.Without}, {"a foreign client certificate", s.Foreign}, {"a good client certificate", s.Accepted}} {
		switch q.answer {
		case reconcile.LetIn:
			out = append(out, q.who+": let in")
		case reconcile.Refused:
			out = append(out, q.who+": refused")
		}
	}
	if s.ClientErr != "" {
		out = append(out, "clients: "+s.ClientErr)
	}
	return out
}

// matrix prints which client may talk to which server, and reports whether one differs from what trust says.
func (a *app) matrix(edges []reconcile.Edge) bool {
	if len(edges) == 0 {
		return false
	}
	fmt.Fprintln(a.out, "\nClients and servers")
	broken := false
	t := a.table()
	for _, e := range edges {
		verdict := a.paint(green, "as wanted")
		if e.Broken() {
			verdict, broken = a.paint(red, "NOT AS WANTED"), true
		}
		t.row(e.Client, "→", e.Server, e.Words(), verdict)
	}
	t.flush()
	return broken
}

// compared prints what secrets and configs hold, and reports whether that is not what they should of each.
func (a *app) compared(all []reconcile.Compared) bool {
	unproved := false
	for _, title := range []string{"Secrets", "Configs"} {
		of := slices.DeleteFunc(slices.Clone(all), func(c reconcile.Compared) bool { return c.Config != (title == "Configs") })
		if len(of) > 0 && a.comparedOf(title, of) {
			unproved = true
		}
	}
	return unproved
}

func (a *app) comparedOf(title string, all []reconcile.Compared) (unproved bool) {
	fmt.Fprintln(a.out, "\n"+title)
	t := a.table()
	for _, c := range all {
		verdict := a.paint(green, "as wanted")
		switch {
		case c.Problem != "":
			verdict, unproved = a.paint(yellow, "not compared: "+c.Problem), true
		case c.Other:
			verdict, unproved = a.paint(red, "NOT AS WANTED: it holds something else"), true
		}
		t.row(c.Binding, c.File, c.Secret, verdict)
	}
	t.flush()
	for _, c := range all {
		if c.Other {
			printHint(a.out, "  ", fmt.Sprintf("take %s from its service (`docker service update --%[2]s-rm %[1]s SERVICE`), remove it "+
				"(`docker %[2]s rm %[1]s`), and run `certwright apply`", c.Secret, c.Word()))
		}
	}
	return unproved
}

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why [BINDING]...",
		Short: "Tell the chain of causes behind a binding's state, and what happens next",
		Long:  "Tell the chain of causes behind a binding's state, and what happens next: of all that is not as it should be, where none is named.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			if err := only(s.spec, args); err != nil {
				return err
			}
			w, plan, err := a.look(cmd, s, reconcile.Scope{})
			if err != nil {
				return err
			}
			status := reconcile.Assess(s.spec, w, plan)
			told := false
			for _, b := range status.Bindings {
				if len(args) > 0 && !slices.Contains(args, b.Name) || len(args) == 0 && b.State.Settled() && b.Hint == "" {
					continue
				}
				if told {
					fmt.Fprintln(a.out)
				}
				told = true
				a.why(reconcile.Why(s.spec, w, plan, b))
			}
			if len(args) == 0 {
				told = a.whyElse(plan, status) || told
			}
			if !told {
				fmt.Fprintln(a.out, "every binding is as it should be, as far as can be seen: name one to be told of it")
			}
			return nil
		},
	}
}

// whyElse tells of what keeps a spec from being carried out and is no binding, if there is any.
func (a *app) whyElse(plan reconcile.Plan, status reconcile.Status) bool {
	said := map[string]bool{} // of a CA, and of each identity because of it
	for _, r := range plan.Blocked {
		if strings.HasPrefix(r.Subject, "binding/") || said[r.Reason] {
			continue
		}
		said[r.Reason] = true
		fmt.Fprintf(a.out, "%s: %s: %s\n", r.Subject, a.paint(stateColour(r.State), string(r.State)), r.Reason)
		if r.Hint != "" {
			printHint(a.out, "", r.Hint)
		}
	}
	for _, r := range status.Revoking {
		fmt.Fprintln(a.out, a.paint(yellow, r))
	}
	return len(said) > 0 || len(status.Revoking) > 0
}

func (a *app) why(w reconcile.Causes) {
	fmt.Fprintf(a.out, "%s: %s", w.Binding.Name, a.paint(stateColour(w.Binding.State), string(w.Binding.State)))
	if w.Binding.Reason != "" {
		fmt.Fprintf(a.out, ": %s", w.Binding.Reason)
	}
	fmt.Fprintln(a.out)
	t := a.table()
	for _, l := range w.Layers {
		t.row(l.Name, l.Text)
	}
	t.flush()
	fmt.Fprintf(a.out, "next: %s\n", w.Next)
	if w.Binding.Hint != "" {
		printHint(a.out, "", w.Binding.Hint)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
