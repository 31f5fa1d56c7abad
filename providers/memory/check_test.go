package memory_test

import (
	"errors"
	"testing"

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
		{"what Load gave was changed", func(s scene) {
			s.commit(withCA("a"))
			st, err := s.Load(s.t.Context())
			if err != nil {
				s.t.Fatal(err)
			}
			st.CAs["other"] = reconcile.CA{}
			s.commit(withCA("a"))
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
