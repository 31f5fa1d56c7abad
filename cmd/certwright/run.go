package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/child"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// exitOwn is the exit code of run where it is not that of the command, as docker run has it.
const exitOwn = 125

func (a *app) runCommand() *cobra.Command {
	var interval time.Duration
	c := &cobra.Command{
		Use:   "run IDENTITY -- COMMAND [ARG]...",
		Short: "As the entrypoint of an image: enrol, start the command, renew, have it reload",
		Long: "As the entrypoint of an image: enrol, start the command, renew, have it reload.\n\n" +
			"The bindings of the identity say where its files go, how the command takes them up, and on which port that is proved; the\n" +
			"container they name is this one, whatever it is called. No Docker engine is asked. The command starts when its files\n" +
			"are there, and gets every signal. It is restarted only where a binding says so.\n\n" +
			"It exits as the command did, with 128 and the number of the signal that ended it, with 127 where there is no such\n" +
			"command, 126 where it cannot be run, and 125 where certwright itself failed.",
		Example: "  certwright run web -- nginx -g 'daemon off;'",
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 1 || len(args) < 2 {
				return exit{exitOwn, fmt.Errorf("run wants one IDENTITY, and a command after --: `%s`", c.UseLine())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := child.Hide(); err != nil {
				return exit{exitOwn, fmt.Errorf("hide what is secret from the command: %w", err)}
			}
			if os.Getpid() == 1 {
				code, err := child.Init()
				if err != nil {
					code = exitOwn
				}
				return exit{code, err}
			}
			if err := atLeast(interval); err != nil {
				return exit{exitOwn, err}
			}
			return a.runs(cmd.Context(), args[0], args[1:], interval)
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().DurationVar(&interval, "interval", 5*time.Minute, "look at everything at least this often")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit{exitOwn, err} })
	return c
}

// within is what run narrows a spec to: one identity, for one command.
type within struct {
	identity string
	child    *child.Child
}

// runs is watch for one identity, from before the command starts until it has ended.
func (a *app) runs(ctx context.Context, identity string, argv []string, interval time.Duration) error {
	signals := child.Signals() // before anything else, so that none is missed
	c := &child.Child{Argv: argv, Secret: a.secret, Now: a.now, Around: a.logged()}
	a.within = &within{identity, c}
	if _, err := a.load(); err != nil {
		return exit{exitOwn, err}
	}
	c.Env = a.environ()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // it is we who hear the signals
	defer stop()
	var ended atomic.Int32 // the first signal to end
	var started atomic.Bool
	go func() {
		for s := range signals {
			if !child.Passed(s) {
				continue
			}
			if child.Ends(s) {
				ended.CompareAndSwap(0, int32(s.(syscall.Signal)))
			}
			c.Signal(s)
			// What a command that runs makes of SIGQUIT is its own affair.
			if s == syscall.SIGTERM || s == syscall.SIGINT || child.Ends(s) && !started.Load() {
				stop()
			}
		}
	}()
	var begun chan exit
	var failed error
	err := a.watch(ctx, interval, listening{}, func(w *watching, out reconcile.Outcome, status reconcile.Status, err error) {
		switch {
		case begun != nil || ctx.Err() != nil:
		case err == nil && a.within.ready(status):
			begun = make(chan exit, 1)
			started.Store(true)
			go func() {
				code, err := c.Run()
				begun <- exit{code, err}
				stop()
			}()
			w.word(c.Name() + " started")
		default:
			if failed = unmended(out, status, err); failed != nil {
				stop()
			}
		}
	})
	switch {
	case err != nil || failed != nil:
		return exit{exitOwn, a.lost(cmp.Or(err, failed))}
	case begun == nil: // a signal came first
		return exit{code: 128 + int(ended.Load())}
	}
	return <-begun
}

// unmended is why it is of no use to wait: what failed is nothing that a CA could mend.
func unmended(out reconcile.Outcome, status reconcile.Status, err error) error {
	if err != nil {
		return err
	}
	for _, b := range status.Bindings {
		if b.State == reconcile.Blocked {
			return hinted{fmt.Errorf("binding/%s: %s", b.Name, b.Reason), b.Hint}
		}
	}
	for subject, why := range reconcile.Sorted(out.Failed) {
		if strings.HasPrefix(subject, "binding/") && !slices.ContainsFunc(out.Plan.Steps, func(s reconcile.Step) bool {
			_, issues := s.Action.(reconcile.Issue)
			return issues
		}) {
			return hinted{fmt.Errorf("%s: %s", subject, why), "run has to write the directory of the binding and its store: mount a volume or a tmpfs there, and let its user write it"}
		}
	}
	return nil
}

// ready reports whether the command has what it needs: files that are good for some time yet.
func (o *within) ready(status reconcile.Status) bool {
	return !slices.ContainsFunc(status.Bindings, func(b reconcile.BindingStatus) bool {
		return b.Placed == nil || !*b.Placed || b.State == reconcile.Expired
	})
}

// narrow leaves what is about the identity in a spec, with the command as the consumer of its bindings.
func (o *within) narrow(s *spec.Spec) error {
	if s.IdentityByName(o.identity) == nil {
		var known []string
		for _, id := range s.Identities {
			known = append(known, id.Name)
		}
		return unknown("identity", o.identity, known)
	}
	if s.Store.Swarm {
		return hinted{errors.New("the store is in a Swarm, and run asks no engine"), "give the image a tls.yaml of its own, with `store: {directory: DIR}`"}
	}
	s.Swarm = nil
	s.Bindings = slices.DeleteFunc(s.Bindings, func(b spec.Binding) bool { return b.Identity == nil || b.Identity.Name != o.identity })
	if len(s.Bindings) == 0 {
		return hinted{fmt.Errorf("no binding has identity %s: nothing says where its files go", o.identity), "add one: `bindings: {" + o.identity + ": {identity: " + o.identity + ", path: /certs, container: " + o.child.Name() + "}}`"}
	}
	ids, cas := map[string]bool{o.identity: true}, map[string]bool{}
	for i := range s.Bindings {
		b := &s.Bindings[i]
		switch {
		case b.Host.Name != spec.LocalHost:
			return fmt.Errorf("%s: binding %s is of host %s, and run is in one container", b.Pos, b.Name, b.Host.Name)
		case b.Place.Path != "":
			b.Place = spec.Place{Directory: b.Place.Path, Pos: b.Place.Pos}
		case b.Place.Directory == "":
			return hinted{fmt.Errorf("%s: the files of binding %s are in no directory of this container", b.Place.Pos, b.Name), "name the directory, as `path: /certs`"}
		}
		b.Consumer = &spec.Consumer{Container: o.child.Name(), Pos: b.Pos}
		if b.Probe != nil && b.Probe.Identity != nil {
			ids[b.Probe.Identity.Name] = true
		}
		for _, t := range b.Trust {
			cas[t.Name] = true
		}
	}
	s.Identities = slices.DeleteFunc(s.Identities, func(id spec.Identity) bool { return !ids[id.Name] })
	for _, id := range s.Identities {
		cas[id.CA.Name] = true
	}
	for range s.CAs { // as often as there can be parents above each other
		for _, c := range s.CAs {
			if cas[c.Name] && c.Local != nil && c.Local.Parent != nil {
				cas[c.Local.Parent.Name] = true
			}
		}
	}
	s.CAs = slices.DeleteFunc(s.CAs, func(c spec.CA) bool { return !cas[c.Name] })
	return nil
}
