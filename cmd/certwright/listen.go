package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
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

// seen is what a pass that looked at everything saw.
type seen struct {
	session *session
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
		if why == reconcile.InPlaces { // what it finds that it cannot put right makes another one
			return w.pass(ctx, why)
		}
		w.seen = nil
		w.web.Begin()
		next, ok := w.pass(ctx, why)
		if ctx.Err() == nil {
			w.web.End(w.ended(ok, &doc))
		}
		return next, ok
	}, hide, nil
}

// ended is how the pass was, with the document that follows on the one before.
func (w *watching) ended(ok bool, doc *shownDocument) web.Pass {
	p := web.Pass{}
	if w.seen != nil {
		p.Status = &w.seen.status
		doc.take(w.seen, w.a.now())
	}
	switch {
	case w.seen == nil:
		p.Trouble = web.PassTrouble
	case w.said["spec"] != "":
		p.Trouble = web.SpecTrouble
	case !ok:
		p.Trouble = web.StepsTrouble
	}
	doc.Watch.Trouble = string(p.Trouble)
	p.Document, _ = json.Marshal(doc) // it has nothing that cannot be marshalled
	return p
}

// shownDocument is that of `status -o json`, with causes.
type shownDocument struct {
	statusDocument
	Bindings []causedDocument `json:"bindings"`
	Watch    watchDocument    `json:"watch"`
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

// take puts what a pass saw into the document.
func (d *shownDocument) take(s *seen, now time.Time) {
	d.Watch.Looked = when(now)
	d.statusDocument = statusJSON(s.session.spec.Project, s.status)
	d.Bindings = make([]causedDocument, len(s.status.Bindings))
	for i, b := range s.status.Bindings {
		d.Bindings[i].bindingDocument = d.statusDocument.Bindings[i]
		if b.State.Settled() {
			continue
		}
		why := reconcile.Why(s.session.spec, s.out.World, s.out.Plan, b)
		c := &causesDocument{Layers: []layerDocument{}, Next: why.Next}
		for _, l := range why.Layers {
			c.Layers = append(c.Layers, layerDocument(l))
		}
		d.Bindings[i].Causes = c
	}
}
