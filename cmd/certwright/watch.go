package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func (a *app) watchCommand() *cobra.Command {
	var interval time.Duration
	var at listening
	c := &cobra.Command{
		Use:   "watch",
		Short: "Apply now, and whenever something changes or is due",
		Long: "Apply now, and whenever something changes or is due.\n\n" +
			"It looks again after events of the engine, changes of placed files, of tls.yaml, SIGHUP, when a renewal is due, and after\n" +
			"--interval at the latest. A tls.yaml that cannot be used is reported, and the last good one stays in force. What fails is tried\n" +
			"again after a second, then less and less often, as its cause wants, and stops nothing else. SIGTERM ends it between two steps.\n\n" +
			"It prints a line for each step, for each binding whose state changes, and for what keeps it from its work.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := atLeast(interval); err != nil {
				return err
			}
			return a.watch(cmd.Context(), interval, at, nil)
		},
	}
	c.Flags().DurationVar(&interval, "interval", 5*time.Minute, "look at everything at least this often")
	c.Flags().BoolVar(&a.noCouriers, "no-couriers", false, "make no containers: what cannot be reached without is left, and said")
	at.flags(c)
	return c
}

// atLeast checks the flag of run and watch.
func atLeast(interval time.Duration) error {
	if interval < time.Second {
		return fmt.Errorf("--interval is a second at least, not %s", interval)
	}
	return nil
}

// hungUp is the word for a person who wants a pass now.
const hungUp = "SIGHUP"

// watching is watch between its passes.
type watching struct {
	a       *app
	log     *slog.Logger
	session *session
	deaf    context.CancelFunc // ends what listens to the session's engines
	places  *watchedPlaces
	wake    chan string
	asked   atomic.Bool       // an engine was, by the last pass over everything, or may be by one under way
	read    []spec.Input      // the spec's files as the session has them
	said    map[string]string // what was said last, by subject
	// What was blocked at the last look at everything, and is no binding, by subject.
	inTheWay map[string]reconcile.Refusal
	systemd  systemd
	stands   string      // what is said of the last pass in a line
	seen     *seen       // by the last pass; nil when it could not look
	web      *web.Server // nil without --listen
	after    afterPass   // nil but for run
}

// afterPass is called after every pass with what it came to; err says why it could not be made, or did nothing.
type afterPass func(w *watching, out reconcile.Outcome, status reconcile.Status, err error)

func (a *app) watch(ctx context.Context, interval time.Duration, at listening, after afterPass) error {
	w := &watching{a: a, after: after, log: a.logger(slog.LevelInfo), wake: make(chan string, 1), said: map[string]string{}, deaf: func() {}}
	w.systemd.least = cmp.Or(a.patience, leastPatience)
	w.systemd.patience = w.systemd.least
	if _, err := a.load(); err != nil { // there is no last good one yet
		return err
	}
	pass, hide, err := w.shown(ctx, at, interval)
	if err != nil {
		return err
	}
	defer hide()
	if w.places, err = watchPlaces(w.wake); err != nil {
		w.say("places", err.Error(), slog.LevelWarn, "hint", "what changes there is found after --interval")
	}
	defer w.places.close()
	if a.within == nil { // there it is the command's
		hangUp := make(chan os.Signal, 1)
		signal.Notify(hangUp, syscall.SIGHUP)
		defer signal.Stop(hangUp)
		go func() {
			for range hangUp {
				w.systemd.hungUp.Store(true)
				w.word(hungUp)
			}
		}()
	}
	go w.files(ctx)
	stopping := sync.OnceFunc(w.systemd.stopping)
	context.AfterFunc(ctx, stopping)
	reconcile.Watcher{
		Clock: a.now, Interval: interval, Wake: w.wake, Places: w.places.changes,
		Idle: w.systemd.idle, Pass: thrift(w.systemd.pass(pass, w.standing)),
	}.Watch(ctx)
	stopping() // at the latest
	w.end()
	w.log.Info("ended")
	return nil
}

// word wakes the watching, unless it has been woken already.
func (w *watching) word(what string) { wake(w.wake, what) }

// happened wakes the watching because of an event of the engine, where that may be something to a binding.
func (w *watching) happened(what string) {
	if w.asked.Load() {
		w.word(what)
	}
}

// pass applies once, and says when to do it again at the latest.
func (w *watching) pass(ctx context.Context, why string) (time.Time, bool) {
	w.log.Debug("pass", "because", why)
	if why != reconcile.InPlaces || w.session == nil { // a spec that changes says so itself
		if err := w.prepare(ctx, why); err != nil {
			w.fails(err)
			w.came(reconcile.Outcome{}, reconcile.Status{}, err)
			return time.Time{}, false
		}
	}
	s := w.session
	defer w.refusals()
	scope, changed := reconcile.Scope{Prune: reconcile.PruneSome, Patient: true}, w.places.begin()
	if w.a.within != nil { // it knows of nothing else, and who starts it wants it to be tried now
		scope.Prune, scope.Patient = reconcile.PruneNone, why != reconcile.Started
	}
	if why == reconcile.InPlaces && s.applier.Known {
		scope.Only = w.only(changed)
	}
	if len(scope.Only) == 0 {
		w.asked.Store(true)
	}
	out, err := s.applier.Converge(ctx, scope)
	w.leave(ctx, out, changed, err == nil && len(scope.Only) == 0)
	// Others may write between passes. What they commit meanwhile is seen by the next commit.
	if closing := s.close(); err == nil {
		err = closing
	}
	switch {
	case ctx.Err() != nil:
		return time.Time{}, true
	case err != nil:
		w.fails(err)
		w.came(out, reconcile.Status{}, err)
		return time.Time{}, false
	}
	s.applier.Known = s.applier.Known || !out.World.Fresh
	status := reconcile.Assess(s.spec, out.World, out.Plan)
	blame(&status, out)
	w.states(status)
	if w.web != nil {
		w.seen = &seen{s, scope, out, status}
	}
	if len(scope.Only) == 0 {
		w.blocked(s.spec, out.Plan)
		w.asked.Store(len(out.World.Engines)+len(out.World.Swarms) > 0)
		w.stands = inALine(status)
	} else if !out.Plan.Empty() || len(out.Plan.Blocked) > 0 || slices.ContainsFunc(out.Done, concernsOthers) {
		w.word("places changed, and that is not all")
	}
	var nothing error
	if out.Err != nil && len(out.Failed) == 0 { // of no step: what the first one needs could not be written
		nothing = out.Err
		w.fails(nothing)
	} else {
		w.say("store", "", slog.LevelInfo)
	}
	w.came(out, status, nothing)
	return out.Plan.Next, out.Err == nil
}

// came says to whom it may concern what a pass came to.
func (w *watching) came(out reconcile.Outcome, status reconcile.Status, err error) {
	if w.after != nil {
		w.after(w, out, status, err)
	}
}
