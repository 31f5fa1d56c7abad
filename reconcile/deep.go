package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/certwright/certwright/spec"
)

// Compared is a secret or config that a binding wants, after it was compared with what certwright would put there.
type Compared struct {
	SecretKind
	Binding, File string
	Secret        string // its name
	Other         bool   // it holds something else
	Problem       string // why that could not be found out
}

// Deep compares what the secrets and configs of bindings hold with what they should. Configs were read. Each secret is
// given the labels it has, together with the data it should hold: Swarm refuses other data. Nothing of a secret is changed
// but its version.
func Deep(ctx context.Context, p Providers, s *spec.Spec, w World, names []string) []Compared {
	v := newView(s, &w)
	var out []Compared
	for i := range s.Bindings {
		b := &s.Bindings[i]
		m, missing := v.material(b, w.State)
		if !b.Place.Swarm() || missing != "" || len(names) > 0 && !slices.Contains(names, b.Name) {
			continue
		}
		refs := v.refs(b, m)
		for i, f := range v.files(b, located{list: b.Files}, m) {
			c := Compared{SecretKind: refs[i].SecretKind, Binding: b.Name, File: f.spec.Name, Secret: refs[i].Name}
			holds, err := v.compare(ctx, p, b.Host.Name, refs[i], f)
			c.Other, c.Problem = err == nil && !holds, text(err)
			out = append(out, c)
		}
	}
	return out
}

// compare reports whether a secret that was seen holds what a file should.
func (v *view) compare(ctx context.Context, p Providers, host string, r SecretRef, f wantedFile) (holds bool, err error) {
	swarm := v.w.Swarms[host]
	s := swarm.named(r.SecretKind, r.Name)
	switch {
	case swarm.Err != "":
		return false, errors.New(swarm.Err)
	case s == nil:
		return false, errors.New("there is no such " + r.Word())
	case r.Config:
		return !s.Forged, nil
	}
	data, err := secretData(p, f)
	if err != nil {
		return false, err
	}
	return p.Swarms.LabelSecret(ctx, host, *s, data)
}

// secretData is what the secret of a file holds.
func secretData(p Providers, f wantedFile) ([]byte, error) {
	data, err := p.Formats.Encode(f.spec.Content, f.holds, "", "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.spec.Name, err)
	}
	if len(data) == 0 { // the chain of a leaf that a root issued; Swarm takes no empty secret
		data = []byte("\n")
	}
	return data, nil
}
