package contract

import (
	"context"
	"errors"
	"slices"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

var (
	layouts = []spec.Layout{spec.Atomic, spec.Plain}
	pair    = map[string]string{"cert.pem": "certificate 1\n", "key.pem": "key 1\n"}
	next    = map[string]string{"cert.pem": "certificate 2\n", "ca.pem": "ca 2\n"}
)

// gone are the files of the old unit and of the new one, as they should be after the change.
func gone() map[string]string {
	return map[string]string{"cert.pem": "certificate 2\n", "ca.pem": "ca 2\n", "key.pem": ""}
}

func unused(p places, _ reconcile.Location) {
	p.holds("", nil, map[string]string{"cert.pem": "", "key.pem": ""})
	p.remove(reconcile.Removal{At: p.at, Mark: ours, Files: []string{"cert.pem"}})
}

func readBack(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		p.mustWrite(p.unit(layout, pair))
		p.holds(layout, &ours, pair)
		if !p.read("cert.pem").Exists {
			p.Error("the place does not exist")
		}
		p.holds(layout, &ours, map[string]string{"cert.pem": pair["cert.pem"], "other.pem": ""})
	}
}

func modes(p places, _ reconcile.Location) {
	u := p.unit(spec.Atomic, pair)
	u.Files[0].Mode, u.Files[1].Mode = 0o666, 0o440
	p.mustWrite(u)
	c := p.read("cert.pem", "key.pem")
	for _, f := range u.Files {
		got := c.Files[f.Name]
		if got.Mode.Perm() != f.Mode || got.UID != f.UID || got.GID != f.GID {
			p.Errorf("%s: mode %04o, owner %d:%d; want %04o, %d:%d", f.Name, got.Mode, got.UID, got.GID, f.Mode, f.UID, f.GID)
		}
	}
}

func again(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		for range 4 {
			p.mustWrite(p.unit(layout, pair))
			p.holds(layout, &ours, pair)
		}
	}
}

func replaces(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		p.mustWrite(p.unit(layout, pair))
		u := p.unit(layout, next)
		u.Old = []string{"key.pem", "never.pem"}
		p.mustWrite(u)
		p.holds(layout, &ours, gone())
	}
}

func changesLayout(p places, _ reconcile.Location) {
	p.mustWrite(p.unit(spec.Atomic, pair))
	for _, layout := range []spec.Layout{spec.Plain, spec.Atomic} {
		u := p.unit(layout, next)
		u.Old = []string{"key.pem"}
		p.mustWrite(u)
		p.holds(layout, &ours, gone())
	}
}

func inPlace(p places, other reconcile.Location) {
	u := p.unit(spec.Plain, pair)
	p.mustWrite(u)
	for i := range u.Files {
		u.Files[i].Data = slices.Concat(u.Files[i].Data, []byte("more\n"))
	}
	u.InPlace = true
	p.mustWrite(u)
	p.holds(spec.Plain, &ours, map[string]string{"cert.pem": "certificate 1\nmore\n", "key.pem": "key 1\nmore\n"})
	p.at = other
	u = p.unit(spec.Atomic, pair)
	u.InPlace = true
	if p.write(u) == nil {
		p.Error("the atomic layout is written in place")
	}
}

func refuses(p places, _ reconcile.Location) {
	p.mustWrite(p.unit(spec.Atomic, pair))
	for _, name := range []string{"", ".", "..", "..data", "a/b", "/etc/cert.pem", "../up.pem", "a\x00b"} {
		if p.write(p.unit(spec.Atomic, map[string]string{"cert.pem": "certificate 2\n", name: "x"})) == nil {
			p.Errorf("a file is named %q", name)
		}
	}
	twice := p.unit(spec.Atomic, map[string]string{"cert.pem": "certificate 2\n"})
	twice.Files = append(twice.Files, twice.Files[0])
	if p.write(twice) == nil {
		p.Error("a name is there twice")
	}
	if p.write(p.unit("folded", next)) == nil {
		p.Error("there is a layout named folded")
	}
	p.holds(spec.Atomic, &ours, pair)
}

func foreign(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		u := p.unit(layout, pair)
		u.Mark = theirs
		p.mustWrite(u)
		for _, mine := range layouts {
			if err := p.write(p.unit(mine, next)); !errors.Is(err, reconcile.ErrForeign) {
				p.Errorf("%s over %s: error %v, want ErrForeign", mine, layout, err)
			}
			p.holds(layout, &theirs, map[string]string{"cert.pem": "certificate 1\n", "key.pem": "key 1\n", "ca.pem": ""})
		}
	}
}

// leaveForeign leaves a file at the name that is another installation's.
func (p places) leaveForeign(name, data string) {
	p.Helper()
	u := p.unit(spec.Plain, map[string]string{name: data})
	u.Mark = theirs
	p.mustWrite(u)
}

func foreignFile(p places, _ reconcile.Location) {
	p.leaveForeign("cert.pem", "not ours\n")
	if err := p.write(p.unit(spec.Atomic, pair)); !errors.Is(err, reconcile.ErrForeign) {
		p.Errorf("error %v, want ErrForeign", err)
	}
	if c := p.read("cert.pem", "key.pem"); string(c.Files["cert.pem"].Data) != "not ours\n" || c.Files["key.pem"].Kind != "" {
		p.Error("something was changed")
	}
}

func adopts(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		p.leaveForeign("cert.pem", "not ours\n")
		u := p.unit(layout, pair)
		u.Adopt = true
		p.mustWrite(u)
		p.holds(layout, &ours, pair)
		u.Adopt = false
		p.mustWrite(u)
		p.holds(layout, &ours, pair)
	}
}

func removes(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		p.mustWrite(p.unit(layout, pair))
		for range 2 {
			p.remove(reconcile.Removal{At: p.at, Mark: ours, Files: []string{"cert.pem", "key.pem"}})
			p.holds("", nil, map[string]string{"cert.pem": "", "key.pem": ""})
		}
		p.mustWrite(p.unit(layout, next))
		p.holds(layout, &ours, next)
	}
}

func removesOurs(p places, _ reconcile.Location) {
	p.leaveForeign("cert.pem", "not ours\n")
	_ = p.Remove(p.Context(), []reconcile.Removal{{At: p.at, Mark: ours, Files: []string{"cert.pem"}}})
	p.holds(spec.Plain, &theirs, map[string]string{"cert.pem": "not ours\n"})
}

func others(p places, other reconcile.Location) {
	p.leaveForeign("cert.pem", "not ours\n")
	bad, good := p.unit(spec.Atomic, pair), p.unit(spec.Atomic, pair)
	good.At = other
	errs := p.Write(p.Context(), []reconcile.Unit{bad, good})
	if len(errs) != 2 || !errors.Is(errs[0], reconcile.ErrForeign) || errs[1] != nil {
		p.Fatalf("errors %v, want ErrForeign and nil", errs)
	}
	p.at = other
	p.holds(spec.Atomic, &ours, pair)
	twice := p.Write(p.Context(), []reconcile.Unit{p.unit(spec.Atomic, next), p.unit(spec.Atomic, pair)})
	if len(twice) != 2 || twice[0] != nil || twice[1] == nil {
		p.Errorf("two units for one place: errors %v, want nil and one", twice)
	}
}

func shared(p places, _ reconcile.Location) {
	u := p.unit(spec.Atomic, pair)
	p.mustWrite(u)
	for i := range u.Files {
		u.Files[i].Data[0] = 'X'
	}
	read := p.read("cert.pem").Files["cert.pem"].Data
	read[0] = 'Y'
	p.holds(spec.Atomic, &ours, pair)
}

func cancelled(p places, _ reconcile.Location) {
	ctx, cancel := context.WithCancel(p.Context())
	cancel()
	if errs := p.Write(ctx, []reconcile.Unit{p.unit(spec.Atomic, pair)}); len(errs) != 1 || errs[0] == nil {
		p.Errorf("write: errors %v, want one", errs)
	}
	p.holds("", nil, map[string]string{"cert.pem": "", "key.pem": ""})
	p.mustWrite(p.unit(spec.Atomic, pair))
	if errs := p.Remove(ctx, []reconcile.Removal{{At: p.at, Mark: ours, Files: []string{"cert.pem"}}}); len(errs) != 1 || errs[0] == nil {
		p.Errorf("remove: errors %v, want one", errs)
	}
	p.holds(spec.Atomic, &ours, pair)
	if c := p.Read(ctx, []reconcile.PlaceQuery{{At: p.at}}, true); len(c) != 1 || c[0].Err == nil {
		p.Error("read: no error")
	}
}

// late has writers that read the place before somebody else wrote it.
func late(p places, other reconcile.Location) {
	for i, layout := range layouts {
		p.at = []reconcile.Location{p.at, other}[i]
		of := func(version int, files map[string]string) reconcile.Unit {
			u := p.unit(layout, files)
			u.Mark.Version = version
			return u
		}
		p.mustWrite(of(5, next))
		if err := p.write(of(4, pair)); !errors.Is(err, reconcile.ErrChanged) {
			p.Errorf("an older unit: error %v, want ErrChanged", err)
		}
		fifth := ours
		fifth.Version = 5
		p.holds(layout, &fifth, next)
		p.mustWrite(of(5, next))
		p.mustWrite(of(6, next))
		fifth.Version++
		p.holds(layout, &fifth, next)
	}
}
