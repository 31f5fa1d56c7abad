package memory_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestCheckSees breaks each promise once.
func TestCheckSees(t *testing.T) {
	ca := newAuthority(t, "Root")
	withCA := func(key string) reconcile.State {
		return reconcile.State{
			Installation: mark.Installation, Project: mark.Project,
			CAs: map[string]reconcile.CA{"internal": {Generations: []reconcile.Generation{
				{ID: 1, KeyID: "01", Key: reconcile.NewPrivateKey([]byte(key))},
			}}},
		}
	}
	for _, tt := range []struct {
		want string
		do   func(s scene)
	}{
		{"generation 1 of CA internal was lost or changed its key", func(s scene) {
			s.commit(withCA("a"))
			s.commit(reconcile.State{Installation: mark.Installation, Project: mark.Project})
		}},
		{"generation 1 of CA internal was lost or changed its key", func(s scene) {
			s.commit(withCA("a"))
			s.commit(withCA("b"))
		}},
		{"two writers commit at once", func(s scene) {
			s.Around = func(_ string, do func() error) error {
				s.Around = nil
				s.commit(reconcile.State{Project: mark.Project})
				return do()
			}
			s.commit(reconcile.State{Project: mark.Project})
		}},
		{"two writers in /srv/web", func(s scene) {
			s.Around = func(_ string, do func() error) error {
				s.Around = nil
				s.place(ca.issue("web"), spec.Atomic)
				return do()
			}
			s.place(ca.issue("web"), spec.Atomic)
		}},
		{"the key in key.pem of /srv/web has mode 0644", func(s scene) {
			u := s.unit(ca.issue("web"), spec.Plain)
			for i := range u.Files {
				u.Files[i].Mode = 0o644
			}
			s.Write(s.t.Context(), []reconcile.Unit{u})
		}},
		{"/srv/web was written before the inventory has it", func(s scene) {
			s.commit(reconcile.State{Installation: mark.Installation, Project: mark.Project})
			s.place(ca.issue("web"), spec.Plain)
		}},
		{"/srv/web was written for an installation that is not the store's", func(s scene) {
			s.LoseStore()
			s.place(ca.issue("web"), spec.Plain)
		}},
		{"/srv/web was adopted, and nobody asked for it", func(s scene) {
			u := s.unit(ca.issue("web"), spec.Plain)
			u.Adopt = true
			s.Write(s.t.Context(), []reconcile.Unit{u})
		}},
		{"container web was touched, and no binding names it", func(s scene) {
			s.place(ca.issue("web"), spec.Plain)
			id := s.run(memory.Reloads, func(c *memory.Container) { c.Bound = false })
			if err := s.reload(id, hup); err != nil {
				s.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			s := newScene(t)
			s.intact()
			tt.do(s)
			if err := s.Check(); err == nil || err.Error() != tt.want {
				t.Errorf("check: %v, want %s", err, tt.want)
			}
		})
	}
}

func TestCheckAllows(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	s.ForeignFile(s.at, "cert.pem", []byte("not ours"))
	s.ForeignFile(s.at, "notes.txt", []byte("not ours either"))
	u := s.unit(ca.issue("web"), spec.Atomic)
	if errs := s.Write(t.Context(), []reconcile.Unit{u}); !errors.Is(errs[0], reconcile.ErrForeign) {
		t.Errorf("error %v, want ErrForeign", errs[0])
	}
	s.intact()
	st, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.Wishes = map[string]reconcile.Wish{"binding/web": {Adopt: true}}
	s.commit(st)
	for _, layout := range []spec.Layout{spec.Atomic, spec.Plain} {
		u.Adopt, u.Layout, u.InPlace = true, layout, layout == spec.Plain
		if errs := s.Write(t.Context(), []reconcile.Unit{u}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		s.intact()
		s.ForeignFile(s.at, "cert.pem", []byte("not ours"))
	}
	s.Edit(s.at, "notes.txt", []byte("changed by its own owner"))
	if errs := s.Remove(t.Context(), []reconcile.Removal{{At: s.at, Mark: mark}}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	s.intact()
}

func TestDirectoriesShowInTheOneAbove(t *testing.T) {
	w := newWorld()
	above := reconcile.Location{Host: "local", Dir: "/srv"}
	w.ForeignFile(above, "notes.txt", nil)
	w.ForeignFile(reconcile.Location{Host: "local", Dir: "/srv", Sub: "web"}, "cert.pem", nil)
	c := w.Read(t.Context(), []reconcile.PlaceQuery{{At: above, Files: []string{"web"}}}, false)[0]
	if got := c.Files["web"]; got.Kind != reconcile.KindDirectory || got.Ours {
		t.Errorf("kind %q, ours %t; want a directory, not ours", got.Kind, got.Ours)
	}
}

func TestDrift(t *testing.T) {
	for _, layout := range []spec.Layout{spec.Atomic, spec.Plain} {
		for name, tt := range map[string]struct {
			drift func(s scene) bool
			seen  func(f reconcile.FileContent, c reconcile.PlaceContent) bool
		}{
			"edit": {
				func(s scene) bool { return s.Edit(s.at, "cert.pem", []byte("x")) },
				func(f reconcile.FileContent, _ reconcile.PlaceContent) bool { return string(f.Data) == "x" && f.Ours },
			},
			"delete": {
				func(s scene) bool { return s.Delete(s.at, "cert.pem") },
				func(f reconcile.FileContent, _ reconcile.PlaceContent) bool { return f.Kind == reconcile.KindAbsent },
			},
			"chmod": {
				func(s scene) bool { return s.Chmod(s.at, "cert.pem", 0o777) },
				func(f reconcile.FileContent, _ reconcile.PlaceContent) bool { return f.Mode == 0o777 },
			},
			"chown": {
				func(s scene) bool { return s.Chown(s.at, "cert.pem", 7, 8) },
				func(f reconcile.FileContent, _ reconcile.PlaceContent) bool { return f.UID == 7 && f.GID == 8 },
			},
			"directory": {
				func(s scene) bool { s.ReplaceByDirectory(s.at, "cert.pem"); return true },
				func(f reconcile.FileContent, _ reconcile.PlaceContent) bool {
					return f.Kind == reconcile.KindDirectory && !f.Ours
				},
			},
			"mark": {
				func(s scene) bool { return s.RemoveMark(s.at) },
				func(f reconcile.FileContent, c reconcile.PlaceContent) bool { return c.Mark == nil && !f.Ours },
			},
			"place": {
				func(s scene) bool { return s.DeletePlace(s.at) },
				func(f reconcile.FileContent, c reconcile.PlaceContent) bool { return !c.Exists && f.Kind == "" },
			},
		} {
			s := newScene(t)
			if tt.drift(s) && name != "directory" {
				t.Errorf("%s: there is nothing to drift", name)
			}
			s = newScene(t)
			s.place(newAuthority(t, "Root").issue("web"), layout)
			if !tt.drift(s) {
				t.Errorf("%s: nothing was done", name)
			}
			c := s.Read(t.Context(), []reconcile.PlaceQuery{{At: s.at, Files: []string{"cert.pem"}}}, false)[0]
			if !tt.seen(c.Files["cert.pem"], c) {
				t.Errorf("%s, %s: %+v", layout, name, c)
			}
		}
	}
}

// TestEveryEffect refuses, and loses the reply of, every effect of a write in turn. What is read is the old unit or
// the new one in the atomic layout, and another write mends everything.
func TestEveryEffect(t *testing.T) {
	ca := newAuthority(t, "Root")
	was, is := ca.issue("web"), ca.issue("web")
	refused := errors.New("refused")
	for _, layout := range []spec.Layout{spec.Atomic, spec.Plain} {
		for _, happens := range []bool{false, true} {
			for n := 0; ; n++ {
				s := newScene(t)
				s.place(was, layout)
				var names []string
				s.Around = func(what string, do func() error) error {
					names = append(names, what)
					if len(names) <= n {
						return do()
					}
					if happens {
						_ = do()
					}
					return refused
				}
				errs := s.Write(t.Context(), []reconcile.Unit{s.unit(is, layout)})
				if errs[0] == nil {
					break
				}
				if !errors.Is(errs[0], refused) || len(names) != n+1 {
					t.Fatalf("after %v: error %v", names, errs[0])
				}
				if layout == spec.Atomic && !s.holds(was) && !s.holds(is) {
					t.Errorf("after %v the unit is torn", names)
				}
				s.Around = nil
				s.place(is, layout)
				if !s.holds(is) {
					t.Errorf("after %v a second write does not mend it", names)
				}
				s.intact()
			}
		}
	}
}

func (s scene) holds(id *reconcile.Issued) bool {
	c := s.Read(s.t.Context(), []reconcile.PlaceQuery{{At: s.at, Files: []string{"cert.pem", "key.pem"}}}, false)[0]
	return bytes.Equal(c.Files["cert.pem"].Data, pemOf("CERTIFICATE", id.Certificate)) &&
		bytes.Equal(c.Files["key.pem"].Data, pemOf("PRIVATE KEY", id.Key.PKCS8()))
}

func TestStore(t *testing.T) {
	w := newWorld()
	if _, err := w.Load(t.Context()); !errors.Is(err, reconcile.ErrNoStore) {
		t.Errorf("error %v, want ErrNoStore", err)
	}
	key := []byte("secret")
	s := reconcile.State{
		Identities: map[string]reconcile.Issued{"web": {Chain: [][]byte{{1}}, Key: reconcile.NewPrivateKey(key), NotAfter: now}},
		Places:     map[reconcile.Location]reconcile.PlaceRow{{Dir: "/srv"}: {Files: []string{"a"}}},
	}
	if err := w.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Identities["web"].Chain[0][0], key[0] = 9, 'X'
	s.Places[reconcile.Location{Dir: "/srv"}].Files[0] = "b"
	for range 2 {
		got, err := w.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		web, row := got.Identities["web"], got.Places[reconcile.Location{Dir: "/srv"}]
		if web.Chain[0][0] != 1 || string(web.Key.PKCS8()) != "secret" || row.Files[0] != "a" || !web.NotAfter.Equal(now) {
			t.Error("what was committed is shared")
		}
		web.Chain[0][0], web.Key.PKCS8()[0], row.Files[0] = 9, 'X', "c"
	}
	first, err := w.Load(t.Context())
	if err != nil || first.Installation == "" {
		t.Errorf("installation %q, error %v", first.Installation, err)
	}
	if err := w.Commit(t.Context(), reconcile.State{Installation: "another"}); err == nil {
		t.Error("the store changes its installation")
	}
	if err := w.Commit(t.Context(), reconcile.State{Project: "another"}); err == nil {
		t.Error("the store changes its project")
	}
	w.LoseStore()
	if _, err := w.Load(t.Context()); !errors.Is(err, reconcile.ErrNoStore) {
		t.Errorf("error %v, want ErrNoStore", err)
	}
	if err := w.Commit(t.Context(), reconcile.State{}); err != nil {
		t.Fatal(err)
	}
	if next, err := w.Load(t.Context()); err != nil || next.Installation == "" || next.Installation == first.Installation {
		t.Errorf("after a loss the installation is %q again (error %v)", next.Installation, err)
	}
}

func TestHosts(t *testing.T) {
	w := newWorld()
	w.SetEngine("far", memory.Engine{Remote: true, Named: true})
	w.AddVolume("far", "certs", nil)
	at := reconcile.Location{Host: "far", Volume: "certs"}
	query := []reconcile.PlaceQuery{{At: at}}
	if c := w.Read(t.Context(), query, false)[0]; !errors.Is(c.Err, reconcile.ErrNotHere) {
		t.Errorf("error %v, want ErrNotHere", c.Err)
	}
	if c := w.Read(t.Context(), query, true)[0]; c.Err != nil || !c.Exists {
		t.Errorf("with couriers: %+v", c)
	}
	w.SetEngine("far", memory.Engine{Down: "no answer", Named: true})
	if diff := cmp.Diff(reconcile.EngineState{Err: "no answer", Named: true}, w.List(t.Context(), "far")); diff != "" {
		t.Error(diff)
	}
	if c := w.Read(t.Context(), query, true)[0]; !errors.Is(c.Err, reconcile.ErrNotHere) {
		t.Errorf("error %v, want ErrNotHere", c.Err)
	}
	if err := w.CreateVolume(t.Context(), "far", "more", nil); err == nil {
		t.Error("an engine that is down makes volumes")
	}
	if w.List(t.Context(), "nowhere").Err == "" {
		t.Error("an engine that does not exist answers")
	}
}

func TestOwner(t *testing.T) {
	w := newWorld()
	id := w.Create(memory.Container{
		User: reconcile.Owner{UID: 1, GID: 2}, Users: map[string]reconcile.Owner{"nginx": {UID: 101, GID: 102}},
	})
	for user, want := range map[string]reconcile.Owner{
		"": {UID: 1, GID: 2}, "nginx": {UID: 101, GID: 102}, "5": {UID: 5}, "5:6": {UID: 5, GID: 6},
	} {
		if got, err := w.Owner(t.Context(), "local", id, user); err != nil || got != want {
			t.Errorf("%q is %+v (error %v), want %+v", user, got, err, want)
		}
	}
	for container, user := range map[string]string{id: "nobody", "gone": ""} {
		if _, err := w.Owner(t.Context(), "local", container, user); err == nil {
			t.Errorf("user %q of container %q has a number", user, container)
		}
	}
}
