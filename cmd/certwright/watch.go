package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/web"
	"github.com/certwright/certwright/reconcile"
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
			if interval < time.Second {
				return fmt.Errorf("--interval is a second at least, not %s", interval)
			}
			return a.watch(cmd.Context(), interval, at)
		},
	}
	c.Flags().DurationVar(&interval, "interval", 5*time.Minute, "look at everything at least this often")
	at.flags(c)
	return c
}

// hungUp is the word for a person who wants a pass now.
const hungUp = "SIGHUP"

// watching is watch between its passes.
type watching struct {
	a       *app
	log     *slog.Logger
	session *session
	deaf    context.CancelFunc // ends what listens to the session's engine
	places  *watchedPlaces
	wake    chan string
	read    string            // the stamp of the spec's files as they were read last
	said    map[string]string // what was said last, by subject
	systemd systemd
	stands  string      // what is said of the last pass in a line
	seen    *seen       // by the last pass; nil when it did not look at everything
	web     *web.Server // nil without --listen
}

func (a *app) watch(ctx context.Context, interval time.Duration, at listening) error {
	w := &watching{a: a, log: a.logger(slog.LevelInfo), wake: make(chan string, 1), said: map[string]string{}, deaf: func() {}}
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
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	go func() {
		for range hangUp {
			w.systemd.hungUp.Store(true)
			w.word(hungUp)
		}
	}()
	go w.files(ctx)
	stopping := sync.OnceFunc(w.systemd.stopping)
	context.AfterFunc(ctx, stopping)
	reconcile.Watcher{
		Clock: a.now, Interval: interval, Wake: w.wake, Places: w.places.changes,
		Idle: w.systemd.idle, Pass: w.systemd.pass(pass, w.standing),
	}.Watch(ctx)
	stopping() // at the latest
	w.end()
	w.log.Info("ended")
	return nil
}

// word wakes the watching, unless it has been woken already.
func (w *watching) word(what string) { wake(w.wake, what) }

// pass applies once, and says when to do it again at the latest.
func (w *watching) pass(ctx context.Context, why string) (time.Time, bool) {
	w.log.Debug("pass", "because", why)
	if why != reconcile.InPlaces || w.session == nil { // a spec that changes says so itself
		if err := w.prepare(ctx, why); err != nil {
			w.fails(err)
			return time.Time{}, false
		}
	}
	s := w.session
	defer w.refusals()
	scope, changed := reconcile.Scope{Prune: reconcile.PruneSome, Patient: true}, w.places.begin()
	if why == reconcile.InPlaces && s.applier.Known {
		scope.Only = w.only(changed)
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
		return time.Time{}, false
	}
	s.applier.Known = s.applier.Known || !out.World.Fresh
	status := reconcile.Assess(s.spec, out.World, out.Plan)
	blame(&status, out)
	w.states(status, scope)
	if len(scope.Only) == 0 {
		w.seen, w.stands = &seen{s, out, status}, inALine(status)
	} else if !out.Plan.Empty() || len(out.Plan.Blocked) > 0 || slices.ContainsFunc(out.Done, concernsOthers) {
		w.word("places changed, and that is not all")
	}
	if out.Err != nil && len(out.Failed) == 0 { // of no step: what the first one needs could not be written
		w.fails(out.Err)
	} else {
		w.say("store", "", slog.LevelInfo)
	}
	return out.Plan.Next, out.Err == nil
}

// states says how the bindings of a scope stand that do not stand as they did.
func (w *watching) states(status reconcile.Status, scope reconcile.Scope) {
	for _, b := range status.Bindings {
		level := slog.LevelInfo
		if !b.State.Settled() {
			level = slog.LevelWarn
		}
		if scope.Has(b.Name) {
			w.say("binding/"+b.Name, string(b.State)+": "+b.Reason, level, "state", b.State, "reason", b.Reason, "hint", b.Hint)
		}
	}
}

// refusals says of calls to the engine that they are refused, also of those that are done without.
func (w *watching) refusals() {
	refused := w.session.engine.Refused()
	for subject, said := range w.said {
		if call, is := strings.CutPrefix(subject, "engine/"); is && said != "" && !slices.Contains(refused, call) {
			w.say(subject, "", slog.LevelInfo)
		}
	}
	for _, call := range refused {
		w.say("engine/"+call, call+" is refused", slog.LevelWarn, "hint", docker.AllowIt)
	}
}

// fails says why a whole pass did, and what to do about it.
func (w *watching) fails(err error) {
	w.stands = err.Error()
	var h hinted
	if errors.As(w.a.lost(err), &h) {
		w.say("store", err.Error(), slog.LevelError, "hint", h.hint)
		return
	}
	w.say("store", err.Error(), slog.LevelError)
}

// prepare takes the spec as it is now, if that is good and another one. That its files are the same is good enough most times,
// and their times may deceive.
func (w *watching) prepare(ctx context.Context, why string) error {
	files := w.stamp()
	if w.session != nil && files == w.read && why != hungUp && why != reconcile.AtInterval {
		return nil
	}
	w.read = "" // until all has gone well
	s, err := w.a.load()
	switch {
	case err != nil && w.session == nil:
		return err
	case err != nil:
		w.say("spec", err.Error(), slog.LevelError, "hint", "the last good one stays in force")
		return nil
	}
	if w.session != nil && reflect.DeepEqual(s, w.session.spec) {
		w.read = files
		w.say("spec", "", slog.LevelInfo)
		return nil
	}
	next, err := w.a.open(ctx, true)
	switch {
	case err != nil && w.session == nil:
		return err
	case err != nil: // its store or a password cannot be had
		w.say("spec", err.Error(), slog.LevelError, "hint", "the last good one stays in force")
		return nil
	}
	if err := w.a.mayInit(next.spec, false); err != nil {
		return errors.Join(err, next.close())
	}
	w.say("spec", "", slog.LevelInfo)
	w.a.warn(next.spec)
	if w.session != nil {
		was, is := w.session.spec.Store, next.spec.Store
		next.applier.Known = w.session.applier.Known && was.Directory == is.Directory && was.Swarm == is.Swarm
	}
	w.end()
	w.session, w.read = next, files
	w.session.applier.Report = w.step
	w.session.applier.Prober = heard{w.session.applier.Prober, w.alive}
	w.systemd.expect(next.spec)
	listening, deaf := context.WithCancel(ctx)
	w.deaf = deaf
	go next.engine.Events(listening, w.word)
	return nil
}

// end leaves the session there was.
func (w *watching) end() {
	w.deaf()
	if w.session != nil {
		_ = w.session.close()
	}
}

// alive says that a pass gets on, to whoever would end it otherwise.
func (w *watching) alive() {
	w.systemd.busy()
	w.web.Moved(w.systemd.patience)
}

// step says what was done, and why.
func (w *watching) step(e reconcile.Event) {
	w.alive()
	w.web.Step(e)
	if place, is := e.Step.Action.(reconcile.Place); is && e.Done && e.Err == nil {
		w.places.seen(place.Binding)
	}
	switch {
	case e.Said != "":
		w.log.Info("step", "action", e.Step.Action.String(), "says", e.Said)
	case !e.Done || errors.Is(e.Err, reconcile.ErrChanged):
	case e.Err != nil:
		w.log.Error("step", "action", e.Step.Action.String(), "because", e.Step.Reason, "error", e.Err)
	default:
		w.log.Info("step", "action", e.Step.Action.String(), "because", e.Step.Reason, "took", e.Took.Round(time.Millisecond).String())
	}
}

// say says something of a subject, unless that was the last thing said of it; "" for nothing.
func (w *watching) say(subject, what string, level slog.Level, more ...any) {
	if w.said[subject] == what {
		return
	}
	w.said[subject] = what
	switch {
	case what == "":
		w.log.Log(context.Background(), level, "well again", "subject", subject)
	case len(more) > 0 && more[0] == "state":
		w.log.Log(context.Background(), level, "state", append([]any{"subject", subject}, more...)...)
	default:
		w.log.Log(context.Background(), level, "failed", append([]any{"subject", subject, "error", what}, more...)...)
	}
}

// files wakes the watching when a file of the spec is another one than before. It only looks at their times and sizes, so
// that a checkout that replaces a directory is seen like an edit.
func (w *watching) files(ctx context.Context) {
	before := w.stamp()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		if now := w.stamp(); now != before {
			before = now
			w.word("tls.yaml changed")
		}
	}
}

// stamp tells the files of the spec from what they were before.
func (w *watching) stamp() string {
	stamp := ""
	for _, name := range w.a.files {
		paths := []string{name}
		if inside, err := filepath.Glob(filepath.Join(name, "*")); err == nil {
			paths = append(paths, inside...)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil {
				stamp += fmt.Sprintln(path, info.Size(), info.ModTime().UnixNano())
				if is, ok := info.Sys().(*syscall.Stat_t); ok {
					stamp += fmt.Sprintln(is.Ino, is.Ctim)
				}
			}
		}
	}
	return stamp
}
