package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// states says how the bindings stand that do not stand as they did.
func (w *watching) states(status reconcile.Status) {
	for _, b := range status.Bindings {
		if b.State == reconcile.Waiting && w.a.within != nil {
			continue // for the command, which is about to start
		}
		level := slog.LevelInfo
		if !b.State.Settled() {
			level = slog.LevelWarn
		}
		w.say("binding/"+b.Name, string(b.State)+": "+b.Reason, level, "state", b.State, "reason", b.Reason, "hint", b.Hint)
	}
}

// blocked says what is in the way besides the bindings, after a look at everything.
func (w *watching) blocked(s *spec.Spec, plan reconcile.Plan) {
	is := map[string]reconcile.Refusal{}
	for _, r := range plan.Blocked {
		name, binding := strings.CutPrefix(r.Subject, "binding/")
		if _, said := is[r.Subject]; !said && (!binding || s.BindingByName(name) == nil) {
			is[r.Subject] = r
		}
	}
	for subject := range w.inTheWay {
		if _, still := is[subject]; !still {
			w.say(subject, "", slog.LevelInfo)
		}
	}
	for subject, r := range reconcile.Sorted(is) {
		w.say(subject, r.Reason, slog.LevelWarn, "hint", r.Hint)
	}
	w.inTheWay = is
}

// refusals says of calls to the engine that they are refused, also of those that are done without.
func (w *watching) refusals() {
	refused := map[string]string{} // by subject
	for host, e := range w.session.engines {
		of := "engine/"
		if host != spec.LocalHost {
			of += host + " "
		}
		for _, call := range e.Refused() {
			refused[of+call] = call
		}
	}
	for subject, said := range w.said {
		if strings.HasPrefix(subject, "engine/") && said != "" && refused[subject] == "" {
			w.say(subject, "", slog.LevelInfo)
		}
	}
	for subject, call := range reconcile.Sorted(refused) {
		w.say(subject, call+" is refused", slog.LevelWarn, "hint", docker.AllowIt)
	}
}

// fails says why a whole pass did, and what to do about it.
func (w *watching) fails(err error) {
	w.stands = err.Error()
	if hint := hintOf(w.a.lost(err)); hint != "" {
		w.say("store", err.Error(), slog.LevelError, "hint", hint)
		return
	}
	w.say("store", err.Error(), slog.LevelError)
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
