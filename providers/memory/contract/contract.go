// Package contract says as tests what every implementation of an interface of package reconcile must do, so that
// the world in memory and the real one are held to the same.
package contract

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

var (
	ours   = reconcile.Mark{Installation: "1f0c9a3e", Project: "shop", Binding: "web"}
	theirs = reconcile.Mark{Installation: "ffffffff", Project: "other", Binding: "x"}
)

// places is an implementation under test, with what one test needs of it.
type places struct {
	*testing.T
	reconcile.Places
	at reconcile.Location
}

// PlacesContract tests an implementation of reconcile.Places. at gives a place that was never used, on each call
// another one.
func PlacesContract(t *testing.T, p reconcile.Places, at func() reconcile.Location) {
	for _, tt := range []struct {
		name string
		test func(p places, other reconcile.Location)
	}{
		{"an unused place holds nothing", unused},
		{"what was written is read", readBack},
		{"modes are those asked for, whatever the umask", modes},
		{"writing again succeeds", again},
		{"a new unit replaces the old one", replaces},
		{"the layout can change", changesLayout},
		{"in place is plain", inPlace},
		{"a unit that cannot be written changes nothing", refuses},
		{"another installation's files are foreign", foreign},
		{"a foreign file in the way is foreign", foreignFile},
		{"adopting takes over", adopts},
		{"removing takes away what is ours, and again succeeds", removes},
		{"removing leaves what is not ours", removesOurs},
		{"one failure does not stop the others", others},
		{"nothing is shared", shared},
		{"a cancelled context changes nothing", cancelled},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(places{t, p, at()}, at()) })
	}
}

// unit is a unit of this process's own user, as tests need not be root.
func (p places) unit(layout spec.Layout, files map[string]string) reconcile.Unit {
	u := reconcile.Unit{At: p.at, Mark: ours, Layout: layout, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for name, data := range files {
		u.Files = append(u.Files, reconcile.UnitFile{
			Name: name, Data: []byte(data), Mode: 0o600, UID: os.Getuid(), GID: os.Getgid(),
		})
	}
	return u
}

func (p places) write(u reconcile.Unit) error {
	p.Helper()
	errs := p.Write(p.Context(), []reconcile.Unit{u})
	if len(errs) != 1 {
		p.Fatalf("%d answers for one unit", len(errs))
	}
	return errs[0]
}

func (p places) mustWrite(u reconcile.Unit) {
	p.Helper()
	if err := p.write(u); err != nil {
		p.Fatal(err)
	}
}

func (p places) remove(r reconcile.Removal) {
	p.Helper()
	if errs := p.Remove(p.Context(), []reconcile.Removal{r}); len(errs) != 1 || errs[0] != nil {
		p.Fatalf("remove: %v", errs)
	}
}

func (p places) read(names ...string) reconcile.PlaceContent {
	p.Helper()
	all := p.Read(p.Context(), []reconcile.PlaceQuery{{At: p.at, Files: names}}, true)
	if len(all) != 1 {
		p.Fatalf("%d answers for one query", len(all))
	}
	if all[0].Err != nil {
		p.Fatal(all[0].Err)
	}
	for _, name := range names {
		if _, ok := all[0].Files[name]; !ok {
			p.Fatalf("no answer for %s", name)
		}
	}
	return all[0]
}

// holds fails unless the place has exactly these files of ours in that layout; "" is a name where nothing stands.
func (p places) holds(layout spec.Layout, mark *reconcile.Mark, files map[string]string) {
	p.Helper()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	c := p.read(names...)
	if c.Layout != layout {
		p.Errorf("layout %q, want %q", c.Layout, layout)
	}
	if diff := cmp.Diff(mark, c.Mark); diff != "" {
		p.Errorf("mark: %s", diff)
	}
	kind := reconcile.KindFile
	if layout == spec.Atomic {
		kind = reconcile.KindLink
	}
	for name, want := range files {
		got := c.Files[name]
		switch {
		case want == "" && got.Kind != reconcile.KindAbsent:
			p.Errorf("%s is there", name)
		case want != "" && (!bytes.Equal(got.Data, []byte(want)) || !got.Ours || got.Kind != kind):
			p.Errorf("%s: kind %q, ours %t, %q; want kind %q, ours, %q", name, got.Kind, got.Ours, got.Data, kind, want)
		}
	}
}

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

// leaveForeign leaves a file at the name that is of nobody: a plain unit whose mark another one has taken over.
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
