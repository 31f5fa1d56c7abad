package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/certwright/certwright/spec"
)

// Look says how far an observation may go.
type Look struct {
	Couriers bool     // short-lived couriers may be started to see what cannot be seen from here
	Probe    bool     // the wire is looked at
	Only     []string // bindings to probe; empty for all
	Known    bool     // there was a store: one that is not there is lost; so only those bindings need be looked at
	Now      time.Time
}

// part reports whether bindings are left out. Where it is not known that there was a store, all places have a say in that.
func (l Look) part() bool { return len(l.Only) > 0 && l.Known }

// has reports whether a binding is looked at.
func (l Look) has(b *spec.Binding) bool { return !l.part() || slices.Contains(l.Only, b.Name) }

// ErrLostStore: places carry this project's mark, but there is no store: it was lost, this is no first run.
var ErrLostStore = errors.New("the store is lost")

// Observe looks at everything a spec is about. An error means that nothing may be decided: the store does not
// open, or it is lost. What could not be seen of a single thing is said in the World.
func Observe(ctx context.Context, p Providers, s *spec.Spec, look Look) (World, error) {
	w, err := observe(ctx, p, s, look)
	if errors.Is(err, ErrChanged) { // somebody has just made the first state of the store
		w, err = observe(ctx, p, s, look)
	}
	return w, err
}

func observe(ctx context.Context, p Providers, s *spec.Spec, look Look) (World, error) {
	w := World{
		Now: look.Now, Built: p.Built, Courier: look.Couriers, Part: look.part(), Unknown: map[string]string{}, Engines: map[string]EngineState{}, Swarms: map[string]Swarm{}, Places: map[Location]PlaceState{}, Served: map[string]Served{},
		From: map[string]FromState{}, Brought: map[string]BroughtState{}, Roots: map[string][][]byte{}, Owners: map[string]Owner{},
	}
	if err := w.list(ctx, p, s, look); err != nil {
		return w, err
	}
	o := &observer{view: newView(s, &w), p: p, look: look}
	// The store and the places are read side by side: neither needs the other, and both take their time.
	loaded := make(chan error, 1)
	go func() { loaded <- w.load(ctx, p, s) }()
	found := o.read(ctx)
	if err := <-loaded; err != nil {
		return w, err
	}
	if w.Fresh && look.Known {
		return w, o.lost(ctx, "it was there before, with records")
	}
	if !w.Part {
		w.listLeft(ctx, p, s)
	}
	if err := w.readCAs(p, s); err != nil {
		return w, err
	}
	if err := o.roots(); err != nil {
		return w, err
	}
	o.owners(ctx)
	if err := o.places(ctx, found); err != nil {
		return w, err
	}
	o.configs()
	if look.Probe {
		o.probes(ctx)
	}
	return w, nil
}

func (w *World) load(ctx context.Context, p Providers, s *spec.Spec) error {
	st, err := p.Store.Load(ctx)
	if errors.Is(err, ErrNoStore) {
		w.Fresh, st, err = true, State{Project: s.Project}, nil
	}
	if err != nil {
		return err
	}
	if st.Project != s.Project {
		return fmt.Errorf("the store belongs to project %s, not %s: name another directory under `store`, or set `project: %s`", st.Project, s.Project, st.Project)
	}
	for name, ca := range Sorted(st.CAs) {
		if ca.Active() == nil {
			return fmt.Errorf("the store is damaged: CA %s has no active generation", name)
		}
	}
	w.State = st
	return nil
}

// list asks every engine a binding needs for its containers and volumes. One that does not answer makes its bindings
// wait, unless the user named it.
func (w *World) list(ctx context.Context, p Providers, s *spec.Spec, look Look) error {
	for i := range s.Bindings {
		b := &s.Bindings[i]
		if !look.has(b) {
			continue
		}
		if err := w.ask(ctx, p, b.Host.Name, b.Consumer != nil || b.Place.Directory == "", b.Place.Swarm()); err != nil {
			return err
		}
	}
	return w.ask(ctx, p, spec.LocalHost, s.Swarm != nil, s.Swarm != nil || s.Store.Swarm)
}

// ask lists an engine and its Swarm, each once.
func (w *World) ask(ctx context.Context, p Providers, host string, engine, swarm bool) error {
	if _, done := w.Engines[host]; !done && engine {
		e := p.Engines.List(ctx, host)
		if e.Named && e.Err != "" {
			return errors.New(e.Err)
		}
		w.Engines[host] = e
	}
	if _, done := w.Swarms[host]; !done && swarm {
		s := p.Swarms.Swarm(ctx, host)
		if w.Engines[host].Named && s.Err != "" {
			return errors.New(s.Err)
		}
		w.Swarms[host] = s
	}
	return nil
}

// listLeft asks the engines of places that left the spec. A directory needs no engine to be written, but to be
// cleared: who mounts it is known there.
func (w *World) listLeft(ctx context.Context, p Providers, s *spec.Spec) {
	wanted := make(map[Location]bool, len(s.Bindings))
	for _, b := range s.Bindings {
		wanted[Location{Host: b.Host.Name, Dir: b.Place.Directory}] = true
	}
	for at := range w.State.Places {
		if _, done := w.Engines[at.Host]; !done && !wanted[at] {
			w.Engines[at.Host] = p.Engines.List(ctx, at.Host)
		}
	}
	for at := range w.State.Places {
		if _, done := w.Swarms[at.Host]; !done && at.secrets() {
			w.Swarms[at.Host] = p.Swarms.Swarm(ctx, at.Host)
		}
	}
}

// readCAs reads what others made: the files of brought-along CAs and of identities issued elsewhere. A CA whose files
// are bad before it was ever taken in is bad input, as if the spec itself were; later it is only that CA's trouble.
func (w *World) readCAs(p Providers, s *spec.Spec) error {
	var bad *multierror.Error
	for _, c := range s.CAs {
		if c.Local == nil || c.Local.Certificate == "" {
			continue
		}
		g, err := guarded(p, func() (Generation, error) { return p.Authority.Bring(c) })
		if _, known := w.State.CAs[c.Name]; err != nil && !known {
			bad = multierror.Append(bad, fmt.Errorf("%s: %w", c.Pos, err))
			bad.ErrorFormat = lines
		}
		w.Brought[c.Name] = BroughtState{Generation: g, Err: text(err)}
	}
	for _, id := range s.Identities {
		if id.From == nil {
			continue
		}
		i, err := guarded(p, func() (Issued, error) { return p.Authority.Read(id) })
		w.From[id.Name] = FromState{Issued: i, Err: text(err)}
	}
	return bad.ErrorOrNil()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// observer is one observation under way.
type observer struct {
	*view
	p    Providers
	look Look
}

func (o *observer) roots() error {
	for _, b := range o.s.Bindings {
		for _, t := range b.Trust {
			if _, done := o.w.Roots[t.Name]; done || (t.Name != spec.PublicRoots && t.Name != spec.SystemRoots) {
				continue
			}
			ders, err := o.p.Roots(t.Name)
			if err != nil {
				return fmt.Errorf("%s: trust %s: %w", t.Pos, t.Name, err)
			}
			o.w.Roots[t.Name] = ders
		}
	}
	return nil
}

// owners finds the users that must be able to read the files. What a container's image says of its users cannot
// change under its id, so it is asked once and then remembered in the State.
func (o *observer) owners(ctx context.Context) {
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		if !o.look.has(b) {
			continue
		}
		at, refused, _ := o.locate(b)
		if refused != nil {
			continue
		}
		for _, l := range at {
			if len(l.containers) == 0 {
				continue
			}
			c := l.containers[0]
			for _, f := range b.Files {
				want := f.Owner
				if want == nil {
					want = b.Owner
				}
				if want == nil || want.Name != "" {
					o.ownerOf(ctx, b.Host.Name, c.ID, ownerName(b, want, c))
				}
				if want == nil {
					o.ownerOf(ctx, b.Host.Name, c.ID, "")
				}
			}
		}
	}
}

func (o *observer) ownerOf(ctx context.Context, host, container, user string) {
	key := OwnerKey(container, user)
	if _, known := o.w.Owners[key]; known {
		return
	}
	if known, ok := o.w.State.Owners[key]; ok {
		o.w.Owners[key] = known
		return
	}
	found, err := guarded(o.p, func() (Owner, error) { return o.p.Engines.Owner(ctx, host, container, user) })
	if err != nil {
		o.w.Unknown[key] = err.Error()
		return
	}
	o.w.Owners[key] = found
}

// reading is what was found in the places of the bindings, before it is understood.
type reading struct {
	queries  []PlaceQuery
	bindings []*spec.Binding // by query
	contents []PlaceContent
}

// read reads every place of the bindings, all in one call.
func (o *observer) read(ctx context.Context) reading {
	var r reading
	seen := map[Location]bool{}
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		if !o.look.has(b) {
			continue
		}
		at, _, _ := o.locate(b)
		for _, l := range at {
			if l.create {
				o.w.Places[l.at] = PlaceState{}
				continue
			}
			if seen[l.at] {
				continue
			}
			seen[l.at] = true
			names := make([]string, len(b.Files))
			for i, f := range b.Files {
				names[i] = f.Name
			}
			r.queries, r.bindings = append(r.queries, PlaceQuery{At: l.at, Files: names}), append(r.bindings, b)
		}
	}
	r.contents = o.p.Places.Read(ctx, r.queries, o.look.Couriers)
	return r
}

// places understands what was read.
func (o *observer) places(ctx context.Context, r reading) error {
	states := make([]PlaceState, len(r.contents))
	_ = inParallel(len(r.contents), func(i int) error {
		var err error
		if states[i], err = guarded(o.p, func() (PlaceState, error) { return o.decode(r.bindings[i], r.contents[i]), nil }); err != nil {
			states[i].Err = err.Error()
		}
		return nil
	})
	if o.w.Fresh && o.inSwarms() {
		return o.lost(ctx, "the Swarm has secrets")
	}
	for i, q := range r.queries {
		o.w.Places[q.At] = states[i]
		if m := states[i].Mark; o.w.Fresh && m != nil && m.Project == o.s.Project {
			return o.lost(ctx, q.At.String()+" holds files")
		}
	}
	return nil
}

// lost says that the store is, by something of ours that was seen, unless it is there by now: then another process has
// made it, and what was seen, after it was looked for.
func (o *observer) lost(ctx context.Context, seen string) error {
	if _, err := o.p.Store.Load(ctx); err == nil {
		return ErrChanged
	}
	return fmt.Errorf("%w: %s of project %s, but there is no store", ErrLostStore, seen, o.s.Project)
}

// inSwarms reports whether a Swarm has secrets that were made for this project.
func (o *observer) inSwarms() bool {
	for _, swarm := range o.w.Swarms {
		for _, s := range swarm.Secrets {
			if s.Labels[ProjectLabel] == o.s.Project && s.Labels[SecretBinding] != "" {
				return true
			}
		}
	}
	return false
}

// decode turns the bytes found in a place into what they hold.
func (o *observer) decode(b *spec.Binding, c PlaceContent) PlaceState {
	p := PlaceState{Exists: c.Exists, Mark: c.Mark, Layout: c.Layout, Files: make(map[string]FileState, len(c.Files))}
	if c.Err != nil {
		p.Err, p.Beyond = c.Err.Error(), errors.Is(c.Err, ErrNotHere)
		return p
	}
	for _, f := range b.Files {
		raw := c.Files[f.Name]
		state := FileState{Kind: raw.Kind, Ours: raw.Ours, Mode: raw.Mode, UID: raw.UID, GID: raw.GID}
		if raw.Data != nil {
			password, err := secret(o.p, f.Password)
			if err != nil {
				return PlaceState{Err: f.Name + ": " + err.Error()}
			}
			// What cannot be read as what it should be holds nothing, and so differs from what is wanted.
			if h, err := o.p.Formats.Decode(f.Content, raw.Data, password); err == nil {
				state.Holds = fingerprint(f.Content, h)
			}
		}
		p.Files[f.Name] = state
	}
	return p
}

// configs finds out which configs of the bindings hold something else than they should. Unlike secrets they can be read.
func (o *observer) configs() {
	for i := range o.s.Bindings {
		b := &o.s.Bindings[i]
		m, missing := o.material(b, o.w.State)
		if !o.look.has(b) || b.Place.Configs == nil || missing != "" {
			continue
		}
		refs, swarm := o.refs(b, m), o.w.Swarms[b.Host.Name]
		for i, f := range o.files(b, located{}, m) {
			if s := swarm.named(refs[i].SecretKind, refs[i].Name); s != nil && refs[i].Config {
				data, err := secretData(o.p, f)
				s.Forged = err == nil && !bytes.Equal(s.Data, data)
			}
		}
	}
}

func secret(p Providers, src *spec.Source) (string, error) {
	if src == nil {
		return "", nil
	}
	b, err := p.Secret(*src)
	return string(b), err
}

// inParallel calls do for 0 … n-1 on every processor and returns the first error by index.
func inParallel(n int, do func(i int) error) error {
	return inWorkers(runtime.GOMAXPROCS(0), n, do)
}

func inWorkers(workers, n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				errs[i] = do(int(i))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
