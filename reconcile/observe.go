package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/certwright/certwright/spec"
)

// Look says how far an observation may go.
type Look struct {
	Couriers bool              // short-lived couriers may be started to see what cannot be seen from here
	Probe    bool              // the wire is looked at
	Only     []string          // bindings to probe; empty for all
	Known    bool              // there was a store: one that is not there is lost; so only those bindings need be looked at
	Strays   bool              // certificates in other files of places are looked at
	Memory   *Memory           // of places that were read before; nil reads all of them
	Patience time.Duration     // how long a host may take to answer; as long as its engine may when zero
	Silent   map[string]string // hosts that are not asked, and why
	Now      time.Time
}

// only are the bindings that are looked at; nil for all. Where it is not known that there was a store, all places have a say
// in that.
func (l Look) only() []string {
	if len(l.Only) == 0 || !l.Known {
		return nil
	}
	return l.Only
}

// has reports whether a binding is looked at.
func (l Look) has(b *spec.Binding) bool { return among(b.Name, l.only()) }

// among reports whether a binding is one of some, or nil stands for all.
func among(binding string, some []string) bool { return some == nil || slices.Contains(some, binding) }

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
		Now: look.Now, Built: p.Built, Courier: look.Couriers, Only: look.only(), Unknown: map[string]string{}, Engines: map[string]EngineState{}, Swarms: map[string]Swarm{}, Daemons: map[string]DaemonState{}, Places: map[Location]PlaceState{}, Started: map[string]time.Time{}, Endings: map[string]Ending{}, Served: map[string]Served{},
		From: map[string]FromState{}, Brought: map[string]BroughtState{}, Pairs: map[string]FromState{}, Outside: map[string]RootsState{}, Roots: map[string][][]byte{}, Owners: map[string]Owner{},
	}
	if err := w.list(ctx, p, s, look); err != nil {
		return w, err
	}
	o := &observer{view: newView(s, &w), p: p, look: look, left: map[string]bool{}}
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
	if w.Only == nil {
		w.listLeft(ctx, p, s, look)
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
	o.started(ctx)
	o.configs()
	if look.Probe {
		o.probes(ctx)
		o.advice(ctx)
	}
	o.endings(ctx)
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
		// A public CA may have an account before it has issued anything.
		if ca.Active() == nil && (len(ca.Generations) > 0 || len(ca.Kept.PKCS8()) == 0) {
			return fmt.Errorf("the store is damaged: CA %s has no active generation", name)
		}
	}
	w.State = st
	return nil
}

// readCAs reads what others made: the files of brought-along CAs and of identities issued elsewhere. A CA whose files
// are bad before it was ever taken in is bad input, as if the spec itself were; later it is only that CA's trouble.
func (w *World) readCAs(p Providers, s *spec.Spec) error {
	var bad *multierror.Error
	for _, c := range s.CAs {
		if file := c.Roots(); file != "" {
			roots, err := guarded(p, func() ([][]byte, error) { return p.Authority.Roots(file) })
			w.Outside[c.Name] = RootsState{Roots: roots, Err: text(err)}
		}
		if c.Public() {
			roots, err := p.Roots(spec.PublicRoots)
			w.Outside[c.Name] = RootsState{Roots: roots, Err: text(err)}
		}
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
	if s.Swarm != nil && s.Swarm.External != nil {
		root, err := guarded(p, func() ([]byte, error) { return p.Authority.Root(s.Swarm.External.Root) })
		w.NodeCA = NodeCAState{Root: root, Err: text(err)}
	}
	for _, id := range s.Identities {
		if _, known := w.State.Identities[id.Name]; id.Brought != nil && !known {
			w.Pairs[id.Name] = w.pair(p, id)
		}
		if id.From == nil {
			continue
		}
		i, err := guarded(p, func() (Issued, error) { return p.Authority.Read(id) })
		w.From[id.Name] = FromState{Issued: i, Err: text(err)}
	}
	return bad.ErrorOrNil()
}

// pair reads what an identity was brought along with.
func (w *World) pair(p Providers, id spec.Identity) FromState {
	by := w.State.CAs[id.CA.Name].Active()
	if b, brought := w.Brought[id.CA.Name]; brought && b.Err == "" {
		by = &b.Generation
	}
	if by == nil {
		return FromState{Err: "CA " + id.CA.Name + " is not there yet, and has signed nothing"}
	}
	i, err := guarded(p, func() (Issued, error) { return p.Authority.BringIdentity(id, *by) })
	return FromState{Issued: i, Err: text(err)}
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
	left map[string]bool // hosts that are away since they were listed
	seen bool            // places were read
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

func secret(p Providers, src *spec.Source) (string, error) {
	if src == nil {
		return "", nil
	}
	b, err := p.Secret(*src)
	return string(b), err
}
