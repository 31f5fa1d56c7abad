package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// listening is where watch can be asked; nowhere without an address.
type listening struct {
	address string
	public  bool
}

func (l *listening) flags(c *cobra.Command) {
	c.Flags().StringVar(&l.address, "listen", "", "serve health, metrics and the status page at unix:PATH or HOST:PORT")
	c.Flags().BoolVar(&l.public, "listen-public", false, "let --listen be an address that others can reach; whoever does can read the status")
}

func (a *app) healthCommand() *cobra.Command {
	address := ""
	c := &cobra.Command{
		Use:   "health --listen ADDR",
		Short: "Ask a running watch whether it is alive",
		Long: "Ask the watch that was started with the same --listen whether it is alive, and say why it is not. It is the health\n" +
			"check of a container that has no shell and no other program.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := web.Ask(cmd.Context(), address)
			if err == nil {
				fmt.Fprintln(a.out, said)
			}
			return err
		},
	}
	c.Flags().StringVar(&address, "listen", "", "where watch listens: unix:PATH or HOST:PORT")
	_ = c.MarkFlagRequired("listen") // an error says that there is no such flag
	return c
}

// seen is what a pass saw of its scope.
type seen struct {
	session *session
	scope   reconcile.Scope
	out     reconcile.Outcome
	status  reconcile.Status
}

// shown returns pass as it is to be called: where watch listens, with its end shown there until hide is called.
func (w *watching) shown(ctx context.Context, at listening, interval time.Duration) (pass func(context.Context, string) (time.Time, bool), hide func(), err error) {
	if at.address == "" {
		return w.pass, func() {}, nil
	}
	l, err := web.Listen(at.address, at.public)
	if errors.Is(err, web.ErrPublic) {
		err = hinted{err, "listen at 127.0.0.1 or a unix: socket, or add --listen-public: whoever can reach it can then read the status"}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("--listen: %w", err)
	}
	w.web = web.New(web.Options{Version: built(), Interval: interval, Now: w.a.now})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.web.Serve(ctx, l); err != nil {
			w.log.Error("failed", "subject", "listen", "error", err)
		}
	}()
	hide = func() { // a socket is taken away
		cancel()
		<-ended
	}
	w.log.Info("listening", "address", l.Addr().Network()+":"+l.Addr().String())
	doc := shownDocument{statusDocument: statusJSON("", reconcile.Status{}), Bindings: []causedDocument{}, Watch: watchDocument{Version: built(), Interval: int(interval.Seconds())}}
	return func(ctx context.Context, why string) (time.Time, bool) {
		w.web.Begin()
		next, ok := w.pass(ctx, why)
		if ctx.Err() == nil {
			w.web.End(w.ended(ok, &doc))
		}
		w.seen = nil // it has keys
		return next, ok
	}, hide, nil
}

// ended is how the pass was, with the document that follows on the one before. One over some bindings takes no trouble away
// that the last one over everything had.
func (w *watching) ended(ok bool, doc *shownDocument) web.Pass {
	p := web.Pass{Part: w.seen != nil && len(w.seen.scope.Only) > 0}
	was := web.NoTrouble
	if p.Part {
		was = web.Trouble(doc.Watch.Trouble)
	}
	switch {
	case w.seen == nil, was == web.PassTrouble:
		p.Trouble = web.PassTrouble
	case w.said["spec"] != "":
		p.Trouble = web.SpecTrouble
	case !ok, was == web.StepsTrouble:
		p.Trouble = web.StepsTrouble
	}
	if w.seen != nil {
		doc.take(w.seen, w.a.now())
		p.Status = &w.seen.status
	}
	doc.Watch.Trouble = string(p.Trouble)
	// What was seen before a pass that could not look may be so no more; and steps may have been done, and not be written down.
	doc.Converged = p.Trouble != web.PassTrouble && p.Trouble != web.StepsTrouble && doc.rest && !slices.ContainsFunc(doc.Bindings, func(b causedDocument) bool {
		return !reconcile.BindingState(b.State).Settled()
	})
	p.Converged = doc.Converged
	p.Document, _ = json.Marshal(doc) // it has nothing that cannot be marshalled
	return p
}

// shownDocument is that of `status -o json`, with causes.
type shownDocument struct {
	statusDocument
	Bindings []causedDocument `json:"bindings"`
	Watch    watchDocument    `json:"watch"`
	rest     bool             // of all but the bindings, nothing is left to do or blocked
	status   reconcile.Status // that all of it, but for causes, is of
}

type watchDocument struct {
	Version  string  `json:"version"`
	Interval int     `json:"intervalSeconds"`
	Looked   *string `json:"looked"`  // when the last pass ended that looked at everything
	Trouble  string  `json:"trouble"` // of the last pass, as web.Trouble has them
}

// causedDocument is a binding with what `why` says of it, unless it is settled.
type causedDocument struct {
	bindingDocument
	Causes *causesDocument `json:"causes"`
}

type causesDocument struct {
	Layers []layerDocument `json:"layers"`
	Next   string          `json:"next"`
}

type layerDocument struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// take puts what a pass saw into the document. One over some bindings leaves the others, and the rest, as they were.
func (d *shownDocument) take(s *seen, now time.Time) {
	saw, part := statusJSON(s.session.spec.Project, s.status), len(s.scope.Only) > 0
	if !part {
		d.Watch.Looked = when(now)
		d.statusDocument, d.Bindings = saw, make([]causedDocument, len(saw.Bindings))
		d.status = s.status
		d.status.Bindings = slices.Clone(s.status.Bindings)
	}
	d.rest = (d.rest || !part) && bindingsAlone(s.session.spec, s.out.Plan)
	for i, b := range s.status.Bindings {
		at := i
		if part {
			at = slices.IndexFunc(d.Bindings, func(x causedDocument) bool { return x.Name == b.Name })
		}
		if at >= 0 {
			d.Bindings[at], d.status.Bindings[at] = causedDocument{saw.Bindings[i], causes(s, b)}, b
		}
	}
	d.Left = leftJSON(d.status)
}

// bindingsAlone reports whether a plan has nothing to do or blocked but bindings of the spec, which are not settled then.
func bindingsAlone(s *spec.Spec, p reconcile.Plan) bool {
	other := func(subject string) bool {
		name, is := strings.CutPrefix(subject, "binding/")
		return !is || s.BindingByName(name) == nil
	}
	return !slices.ContainsFunc(p.Steps, func(st reconcile.Step) bool { return other(st.Action.Subject()) }) &&
		!slices.ContainsFunc(p.Blocked, func(r reconcile.Refusal) bool { return other(r.Subject) })
}

// causes are what `why` says of a binding; nil of one that is settled.
func causes(s *seen, b reconcile.BindingStatus) *causesDocument {
	if b.State.Settled() {
		return nil
	}
	why := reconcile.Why(s.session.spec, s.out.World, s.out.Plan, b)
	c := &causesDocument{Layers: []layerDocument{}, Next: why.Next}
	for _, l := range why.Layers {
		c.Layers = append(c.Layers, layerDocument(l))
	}
	return c
}
