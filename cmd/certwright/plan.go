package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/reconcile"
)

func (a *app) planCommand() *cobra.Command {
	var output string
	var exitCode bool
	var f scoping
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would do, and why; change nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			scope, err := f.scope(s.spec)
			if err != nil {
				return err
			}
			_, plan, err := a.look(cmd, s, scope)
			if err != nil {
				return err
			}
			if err := a.printPlan(plan, output); err != nil {
				return err
			}
			if exitCode {
				return planExit(plan)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text, json or markdown")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 if anything is blocked, else 2 if there are steps")
	a.scopeFlags(c, &f)
	return c
}

// scoping are the flags that bound a plan.
type scoping struct {
	names         []string
	prune         string
	forceRotation bool
}

func (a *app) scopeFlags(c *cobra.Command, f *scoping) {
	c.Flags().StringArrayVar(&f.names, "only", nil, "only this binding, may be given several times")
	c.Flags().StringVar(&f.prune, "prune", "true", "true, false or all: whether what left the spec is removed; more than half of the bindings only with all")
	c.Flags().BoolVar(&f.forceRotation, "force-rotation", false, "rotate the Swarm's root also while a node is not ready")
	c.Flags().BoolVar(&a.noCouriers, "no-couriers", false, "look by reading only; what cannot be seen so stays Unverified")
}

// look observes once and plans.
func (a *app) look(cmd *cobra.Command, s *session, scope reconcile.Scope) (reconcile.World, reconcile.Plan, error) {
	now := a.now()
	scope.Since = now
	if terminal(a.err) { // somebody may be waiting
		looking := time.AfterFunc(time.Second, func() {
			fmt.Fprintf(a.err, "looking at %s …\n", count(len(s.spec.Bindings), "binding", "bindings"))
		})
		defer looking.Stop()
	}
	w, err := reconcile.Observe(cmd.Context(), s.applier.Providers, s.spec, reconcile.Look{
		Couriers: !a.noCouriers, Probe: true, Only: scope.Only, Strays: a.strays, Now: now,
	})
	if err != nil {
		return w, reconcile.Plan{}, a.lost(err)
	}
	return w, reconcile.Diff(s.spec, w, scope), nil
}

func planExit(p reconcile.Plan) error {
	switch {
	case len(p.Blocked) > 0:
		return exit{code: exitPart}
	case !p.Empty():
		return exit{code: exitPending}
	}
	return nil
}

func (a *app) printPlan(p reconcile.Plan, output string) error {
	switch output {
	case "json":
		return printJSON(a.out, planJSON(p))
	case "markdown":
		planMarkdown(a.out, p)
		return nil
	case "text":
		a.planText(p)
		return nil
	}
	return fmt.Errorf("no output named %q: text, json or markdown", output)
}

func (a *app) planText(p reconcile.Plan) {
	fmt.Fprintf(a.out, "%s: %s.\n", p.Project, summary(p))
	if !p.Empty() {
		fmt.Fprintln(a.out)
	}
	t := a.table()
	for _, s := range p.Steps {
		t.row(sign(s.Action), fmt.Sprint(s.ID), s.Action.String(), s.Why(), after(s))
	}
	t.flush()
	a.refusals("Blocked", red, p.Blocked)
	a.refusals("Waiting", yellow, p.Waiting)
}

func (a *app) refusals(title, colour string, all []reconcile.Refusal) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(a.out, "\n%s\n", a.paint(colour, title))
	for _, r := range all {
		fmt.Fprintf(a.out, "  %s: %s\n", r.Subject, r.Reason)
		if r.Hint != "" {
			printHint(a.out, "    ", r.Hint)
		}
	}
}

func summary(p reconcile.Plan) string {
	switch {
	case p.Empty() && len(p.Blocked) > 0:
		return "nothing that can be done"
	case p.Empty():
		return "nothing to do"
	}
	s := count(len(p.Steps), "step", "steps")
	if names := interrupted(p); len(names) > 0 {
		return s + ", interrupting " + strings.Join(names, ", ")
	}
	return s + ", interrupting nothing"
}

// interrupted are the subjects that stop serving while the plan is carried out.
func interrupted(p reconcile.Plan) []string {
	names := []string{}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if n := s.Action.Subject(); s.Action.Interrupts() && !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}

func after(s reconcile.Step) string {
	if len(s.After) == 0 {
		return ""
	}
	ids := make([]string, len(s.After))
	for i, id := range s.After {
		ids[i] = fmt.Sprint(id)
	}
	return "after " + strings.Join(ids, ", ")
}

// sign marks what kind of change an action is.
func sign(a reconcile.Action) string {
	switch a.(type) {
	case reconcile.CreateCA, reconcile.CreateVolume, reconcile.Issue, reconcile.TakeIn:
		return "+"
	case reconcile.Remove, reconcile.RemoveSecret, reconcile.Forget:
		return "-"
	}
	if a.Interrupts() {
		return "!"
	}
	return "~"
}

func planMarkdown(w io.Writer, p reconcile.Plan) {
	fmt.Fprintf(w, "**%s**: %s.\n", p.Project, summary(p))
	if !p.Empty() {
		fmt.Fprint(w, "\n| | step | why |\n|---|---|---|\n")
	}
	for _, s := range p.Steps {
		fmt.Fprintf(w, "| %d | %s | %s |\n", s.ID, cell(s.Action.String()), cell(s.Why()))
	}
	for _, r := range p.Blocked {
		fmt.Fprintf(w, "\n> **Blocked** %s\n", quotation(r))
	}
	for _, r := range p.Waiting {
		fmt.Fprintf(w, "\n> Waiting %s\n", quotation(r))
	}
}

func quotation(r reconcile.Refusal) string {
	s := r.Subject + ": " + r.Reason
	if r.Hint != "" {
		s += "; " + r.Hint
	}
	return strings.ReplaceAll(s, "\n", " ")
}

// cell keeps a table's cell in its place.
func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }
