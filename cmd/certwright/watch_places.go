package main

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/notify"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// watchedPlaces are the directories of this machine that the bindings' files are in, or come from, watched for what others do
// to them.
type watchedPlaces struct {
	watcher *notify.Watcher // nil where the system lets nothing be watched
	changes chan string
	all     chan<- string
	at      map[reconcile.Location][]string // bindings by place, when dirs was made
	sources map[string][]string             // … and by directory that something else issues into
	dirs    []string
	of      map[string][]string // directories by binding

	mu       sync.Mutex
	bindings map[string][]string // by directory
	changed  map[string]bool     // bindings whose places changed
}

// watchPlaces begins to listen. Where that is not possible the error says why, and changes are found at the next interval.
func watchPlaces(all chan<- string) (*watchedPlaces, error) {
	p := &watchedPlaces{changes: make(chan string, 1), all: all, bindings: map[string][]string{}, changed: map[string]bool{}}
	var err error
	p.watcher, err = notify.New(p.say)
	return p, err
}

// say wakes the watching because of a directory, or of any if it is "".
func (p *watchedPlaces) say(dir string) {
	if dir == "" {
		wake(p.all, "places may have changed")
		return
	}
	p.mu.Lock()
	for _, b := range p.bindings[dir] {
		p.changed[b] = true
	}
	p.mu.Unlock()
	wake(p.changes, dir)
}

// begin gives the bindings whose places changed. What is heard from now on is kept until left.
func (p *watchedPlaces) begin() []string {
	p.mu.Lock()
	changed := slices.Sorted(maps.Keys(p.changed))
	clear(p.changed)
	p.mu.Unlock()
	if p.watcher != nil {
		p.watcher.Pause()
		for _, b := range changed {
			p.seen(b)
		}
	}
	return changed
}

// seen says that the places of a binding are looked at next.
func (p *watchedPlaces) seen(binding string) {
	if p.watcher != nil {
		for _, dir := range p.of[binding] {
			p.watcher.Seen(dir)
		}
	}
}

// left says that the places of some bindings are as they were left now. After a pass over everything it looks where the
// places are.
func (p *watchedPlaces) left(ctx context.Context, at map[reconcile.Location][]string, sources map[string][]string, places docker.Places, touched map[string]bool) error {
	if p.watcher == nil {
		return nil
	}
	if at != nil && !(maps.EqualFunc(at, p.at, slices.Equal) && maps.EqualFunc(sources, p.sources, slices.Equal)) {
		p.at, p.sources, p.dirs, p.of = at, sources, nil, map[string][]string{}
		bindings := map[string][]string{}
		add := func(dir string, of []string) {
			if bindings[dir] == nil {
				p.dirs = append(p.dirs, dir)
			}
			bindings[dir] = append(bindings[dir], of...)
			for _, b := range of {
				p.of[b] = append(p.of[b], dir)
			}
		}
		for location, dir := range places.Here(ctx, slices.Collect(maps.Keys(at))) {
			add(dir, at[location])
		}
		for dir, of := range sources {
			add(dir, of)
		}
		p.mu.Lock()
		p.bindings = bindings
		p.mu.Unlock()
	}
	return p.watcher.Left(p.dirs, func(dir string) bool {
		return slices.ContainsFunc(p.bindings[dir], func(b string) bool { return touched[b] })
	})
}

func (p *watchedPlaces) close() {
	if p.watcher != nil {
		_ = p.watcher.Close()
	}
}

// wake sends a word, unless there is one already.
func wake(to chan<- string, what string) {
	select {
	case to <- what:
	default:
	}
}

// leave hands over how a pass left the places, also those of bindings that it looked at because they had changed. One over
// everything shows where they are.
func (w *watching) leave(ctx context.Context, out reconcile.Outcome, looked []string, everything bool) {
	touched := map[string]bool{}
	for _, b := range looked {
		touched[b] = true
	}
	for _, s := range out.Done {
		switch a := s.Action.(type) {
		case reconcile.Place:
			touched[a.Binding] = true
		case reconcile.Remove:
			touched[a.Binding] = true
		}
	}
	var at map[reconcile.Location][]string
	var from map[string][]string
	if everything {
		at, from = reconcile.Placed(w.session.spec, out.World), sources(w.session.spec)
	}
	if err := w.places.left(ctx, at, from, w.session.places, touched); err != nil {
		w.say("places", err.Error(), slog.LevelWarn, "hint", "what changes there is found after --interval; raise fs.inotify.max_user_watches")
	}
}

// sources are the bindings by the directories from which what they place is taken (`from`).
func sources(s *spec.Spec) map[string][]string {
	dirs := map[string][]string{} // by identity
	for _, id := range s.Identities {
		if id.From == nil {
			continue
		}
		for _, file := range []string{id.From.Certificate, id.From.Key, id.From.CA} {
			if dir, err := filepath.Abs(filepath.Dir(file)); err == nil && !slices.Contains(dirs[id.Name], dir) {
				dirs[id.Name] = append(dirs[id.Name], dir)
			}
		}
	}
	out := map[string][]string{}
	for _, b := range s.Bindings {
		if b.Identity == nil {
			continue
		}
		for _, dir := range dirs[b.Identity.Name] {
			out[dir] = append(out[dir], b.Name)
		}
	}
	return out
}

// only are the bindings of the spec among some; all of them if none is.
func (w *watching) only(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return w.session.spec.BindingByName(n) == nil })
}

// concernsOthers reports whether what was done for one binding may be something to another.
func concernsOthers(s reconcile.Step) bool {
	switch s.Action.(type) {
	case reconcile.Place, reconcile.Reload:
		return false
	}
	return true
}
