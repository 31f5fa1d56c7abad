package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// reading is what was found in the places of the bindings, before it is understood.
type reading struct {
	queries  []PlaceQuery
	lists    [][]spec.File // by query
	contents []PlaceContent
}

// read reads every place of the bindings, those of each host in one call.
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
			if l.still() {
				continue
			}
			if l.create {
				o.w.Places[l.at] = PlaceState{}
				continue
			}
			if seen[l.at] {
				continue
			}
			seen[l.at] = true
			names := make([]string, len(l.list))
			for i, f := range l.list {
				names[i] = f.Name
			}
			r.queries, r.lists = append(r.queries, PlaceQuery{At: l.at, Files: names, Seen: o.look.Memory.of(l.at, b, o.w.Now), Strays: o.look.Strays}), append(r.lists, l.list)
		}
	}
	byHost := map[string][]int{}
	for i, q := range r.queries {
		byHost[q.At.Host] = append(byHost[q.At.Host], i)
	}
	r.contents = slices.Repeat([]PlaceContent{{Err: errUnread}}, len(r.queries))
	var questions []question
	for host, members := range Sorted(byHost) {
		questions = append(questions, only(host, "the files of its places", func(ctx context.Context) error {
			err := o.p.guard(func() error {
				return r.fill(members, func(queries []PlaceQuery) []PlaceContent { return o.p.Places.Read(ctx, queries, o.look.Couriers) })
			})
			r.unread(members, err)
			return err
		}))
	}
	o.ask(ctx, 1, questions)
	o.seen = true
	return r
}

// errUnread is of a place whose host gave no answer.
var errUnread = errors.New("it was not read")

// unread has those of some places that were not read say why.
func (r *reading) unread(members []int, err error) {
	for _, i := range members {
		if err != nil && errors.Is(r.contents[i].Err, errUnread) {
			r.contents[i].Err = fmt.Errorf("%w: %w", errUnread, err)
		}
	}
}

// fill puts the answers to some of the queries in their places. Its error is all of theirs.
func (r *reading) fill(members []int, ask func([]PlaceQuery) []PlaceContent) error {
	queries := make([]PlaceQuery, len(members))
	for n, i := range members {
		queries[n] = r.queries[i]
	}
	var errs []error
	for n, c := range ask(queries) {
		r.contents[members[n]] = c
		errs = append(errs, c.Err)
	}
	return errors.Join(errs...)
}

// places understands what was read.
func (o *observer) places(ctx context.Context, r reading) error {
	states := make([]PlaceState, len(r.contents))
	_ = inParallel(len(r.contents), func(i int) error {
		if state, same := o.look.Memory.same(r.queries[i], r.contents[i]); same {
			states[i] = state
			return nil
		}
		var err error
		if states[i], err = guarded(o.p, func() (PlaceState, error) { return o.decode(r.lists[i], r.contents[i]), nil }); err != nil {
			states[i].Err = err.Error()
		}
		return nil
	})
	if o.w.Fresh && o.inSwarms() {
		return o.lost(ctx, "the Swarm has secrets")
	}
	var ours []string // although there is no store
	for i, q := range r.queries {
		o.w.Places[q.At] = states[i]
		o.look.Memory.keep(q, r.contents[i], states[i], o.w.Now)
		if m := states[i].Mark; o.w.Fresh && m != nil && m.Project == o.s.Project {
			ours = append(ours, q.At.String())
		}
	}
	switch len(ours) {
	case 0:
		return nil
	case 1:
		return o.lost(ctx, ours[0]+" holds files")
	}
	return o.lost(ctx, strings.Join(ours, ", ")+" hold files")
}

// decode turns the bytes found in a place into what they hold.
func (o *observer) decode(list []spec.File, c PlaceContent) PlaceState {
	p := PlaceState{
		Exists: c.Exists, Dir: c.Dir, Born: c.Born, Mark: c.Mark, Layout: c.Layout, Generation: c.Generation,
		Files: make(map[string]FileState, len(c.Files)), Strays: c.Strays,
	}
	if c.Err != nil {
		p.Err, p.Beyond = c.Err.Error(), errors.Is(c.Err, ErrNotHere)
		return p
	}
	for _, f := range list {
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
		if !o.look.has(b) || b.Place.Configs == nil {
			continue
		}
		m, missing := o.material(b, o.w.State)
		if missing != "" {
			continue
		}
		refs, swarm := o.refs(b, m), o.w.Swarms[b.Host.Name]
		for i, f := range o.files(b, located{list: b.Files}, m) {
			if s := swarm.named(refs[i].SecretKind, refs[i].Name); s != nil && refs[i].Config {
				data, err := secretData(o.p, f)
				s.Forged = err == nil && !bytes.Equal(s.Data, data)
			}
		}
	}
}
