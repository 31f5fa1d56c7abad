package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) lintCommand() *cobra.Command {
	var output string
	var exitCode bool
	c := &cobra.Command{
		Use:   "lint",
		Short: "Look for what works and will be regretted",
		Long: "Look for what works and will be regretted: names that clients use and certificates lack, and the other way round; keys that\n" +
			"others can read; weak certificates; servers that nothing proves, or that do not take up what is placed. It changes nothing.\n\n" +
			"`validate` says what is wrong with the spec alone, `status` what is not as the spec says; this is about set-ups that are as\n" +
			"the spec says.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			known, found, err := a.lint(cmd)
			if err != nil {
				return err
			}
			if err := a.printFindings(known, found, output); err != nil {
				return err
			}
			if exitCode && len(found)+len(known.Warnings) > 0 {
				return exit{code: exitPart}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 if anything is found, or could not be looked at")
	c.Flags().BoolVar(&a.noCouriers, "no-couriers", false, "look by reading only")
	return c
}

// lint looks at everything, also at what a plan needs not.
func (a *app) lint(cmd *cobra.Command) (*spec.Spec, []reconcile.Finding, error) {
	s, err := a.open(cmd.Context(), false)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	w, _, err := a.look(cmd, s, reconcile.Scope{})
	if err != nil {
		return nil, nil, err
	}
	unseen := describe(cmd.Context(), s, &w)
	w.KeyFiles = keyFiles(s.spec)
	return s.spec, slices.Concat(reconcile.Lint(s.spec, w), reconcile.Unseen(s.spec, w), unseen), nil
}

// describe adds to a world what the engines that answer say for Lint alone. What one does not say stays unknown, and is a
// finding.
func describe(ctx context.Context, s *session, w *reconcile.World) (unseen []reconcile.Finding) {
	w.Networks, w.Here = map[string][]reconcile.Network{}, map[string]bool{}
	for _, host := range slices.Sorted(maps.Keys(s.engines)) {
		if state, asked := w.Engines[host]; !asked || state.Err != "" {
			continue
		}
		here, elsewhere := s.engines[host].OnThisMachine(ctx)
		w.Here[host] = here
		for _, err := range []error{elsewhere, networks(ctx, s.engines[host], w.Networks)} {
			if err != nil {
				unseen = append(unseen, reconcile.Finding{
					Subject: "host/" + host, Reason: "its containers were looked at in part alone: " + err.Error(), Hint: "mend that, and run lint again",
				})
			}
		}
	}
	return unseen
}

// networks adds those on which the running containers of an engine have names, by container id. A task's ingress network has
// none for clients.
func networks(ctx context.Context, e *docker.Engine, on map[string][]reconcile.Network) error {
	all, err := e.Describe(ctx)
	for _, c := range all {
		on[c.ID] = []reconcile.Network{}
		for _, n := range c.Networks {
			if n.Name != "ingress" {
				on[c.ID] = append(on[c.ID], reconcile.Network{Name: n.Name, Aliases: n.Aliases})
			}
		}
	}
	return err
}

// keyFiles are the files with keys and passwords that a spec names, and the store, by their paths; not those that are known not to be there.
func keyFiles(s *spec.Spec) []reconcile.KeyFile {
	var out []reconcile.KeyFile
	add := func(file, what string) {
		info, unseen := os.Stat(file)
		if file == "" || errors.Is(unseen, fs.ErrNotExist) {
			return
		}
		path, err := filepath.Abs(file)
		if real, linked := filepath.EvalSymlinks(path); err == nil && linked == nil {
			path = real
		}
		f := reconcile.KeyFile{Path: path, What: what}
		if unseen != nil {
			f.Err = unseen.Error()
		} else {
			f.Mode = uint32(info.Mode().Perm())
		}
		out = append(out, f)
	}
	add(s.Store.Directory, "the store")
	for _, c := range s.CAs {
		if c.Local != nil {
			add(c.Local.KeyFile, "the key of CA "+c.Name)
		}
	}
	for _, id := range s.Identities {
		switch {
		case id.From != nil:
			add(id.From.Key, "the key of identity "+id.Name)
		case id.Brought != nil:
			add(id.Brought.Key, "the key of identity "+id.Name)
		}
	}
	for _, src := range passwords(s) {
		add(src.File, "a password")
	}
	slices.SortStableFunc(out, func(a, b reconcile.KeyFile) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(out, func(a, b reconcile.KeyFile) bool { return a.Path == b.Path })
}

type findingDocument struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
	Hint    string `json:"hint"`
}

func (a *app) printFindings(s *spec.Spec, found []reconcile.Finding, output string) error {
	switch output {
	case "json":
		d := struct {
			Project  string            `json:"project"`
			Findings []findingDocument `json:"findings"`
		}{s.Project, []findingDocument{}}
		for _, w := range s.Warnings {
			d.Findings = append(d.Findings, findingDocument{Subject: w.Path, Reason: w.Msg})
		}
		for _, f := range found {
			d.Findings = append(d.Findings, findingDocument(f))
		}
		return printJSON(a.out, d)
	case "text":
	default:
		return fmt.Errorf("no output named %q: text or json", output)
	}
	if len(found)+len(s.Warnings) == 0 {
		fmt.Fprintf(a.out, "%s: nothing found.\n", s.Project)
		return nil
	}
	fmt.Fprintf(a.out, "%s: %s.\n\n", s.Project, count(len(found)+len(s.Warnings), "finding", "findings"))
	for _, w := range s.Warnings {
		fmt.Fprintf(a.out, "  %s\n", a.paint(yellow, w.String()))
	}
	for _, f := range found {
		fmt.Fprintf(a.out, "  %s: %s\n    %s\n", f.Subject, a.paint(yellow, printable(f.Reason)), printable(f.Hint))
	}
	return nil
}
