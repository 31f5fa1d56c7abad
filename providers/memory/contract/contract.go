// Package contract says as tests what every implementation of an interface of package reconcile must do, so that
// the world in memory and the real one are held to the same.
package contract

import (
	"bytes"
	"os"
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
		{"a unit that comes too late changes nothing", late},
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
