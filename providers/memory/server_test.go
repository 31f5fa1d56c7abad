package memory_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

var (
	hup     = spec.Reload{Signal: "HUP"}
	restart = spec.Reload{Restart: true}
)

// TestBehaviours has what each kind of server serves after its files changed, after a signal, and after a restart.
func TestBehaviours(t *testing.T) {
	for _, tt := range []struct {
		behaviour           memory.Behaviour
		placed, hup, again  string // old, new, or "" for no answer
		hupFails, restartOK bool
	}{
		{memory.Reloads, "old", "new", "new", false, true},
		{memory.Restarts, "old", "old", "new", false, true},
		{memory.Lies, "old", "old", "old", false, true},
		{memory.Crashes, "old", "old", "", false, false},
		{memory.Dies, "old", "", "new", true, true},
		{memory.Notices, "new", "new", "new", false, true},
	} {
		t.Run(string(tt.behaviour), func(t *testing.T) {
			s, ca := newScene(t), newAuthority(t, "Root")
			was, is := ca.issue("web"), ca.issue("web")
			pick := map[string]*reconcile.Issued{"old": was, "new": is}
			s.place(was, spec.Atomic)
			id := s.run(tt.behaviour)
			s.serves(id, was)
			s.place(is, spec.Atomic)
			s.serves(id, pick[tt.placed])
			if err := s.reload(id, hup); (err != nil) != tt.hupFails {
				t.Errorf("signal: error %v", err)
			}
			s.serves(id, pick[tt.hup])
			if err := s.reload(id, restart); (err == nil) != tt.restartOK {
				t.Errorf("restart: error %v", err)
			}
			s.serves(id, pick[tt.again])
			s.intact()
		})
	}
}

func TestOtherWaysToReload(t *testing.T) {
	for _, how := range []spec.Reload{
		{Preset: "nginx"}, {Preset: "redis"}, {Exec: []string{"reload"}}, {HTTP: &spec.HTTPReload{Method: "POST"}},
	} {
		s, ca := newScene(t), newAuthority(t, "Root")
		s.place(ca.issue("web"), spec.Plain)
		id := s.run(memory.Reloads)
		is := ca.issue("web")
		s.place(is, spec.Plain)
		if err := errors.Join(s.reload(id, spec.Reload{Signal: "USR2"}), s.reload(id, spec.Reload{None: true})); err != nil {
			t.Fatal(err)
		}
		if got := s.probe(id).Serial; got == is.Serial {
			t.Error("it reloads on a signal that is not its own")
		}
		if err := s.reload(id, how); err != nil {
			t.Fatal(err)
		}
		s.serves(id, is)
	}
}

func TestServerKeepsItsPair(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	was, is := ca.issue("web"), ca.issue("web")
	s.place(was, spec.Plain)
	id := s.run(memory.Reloads)
	s.Edit(s.at, "cert.pem", pemOf("CERTIFICATE", is.Certificate))
	if err := s.reload(id, hup); err != nil {
		t.Fatal(err)
	}
	s.serves(id, was)
	if err := s.reload(id, restart); err == nil {
		t.Error("it starts with a key that does not fit")
	}
	s.serves(id, nil)
	s.Edit(s.at, "key.pem", pemOf("PRIVATE KEY", is.Key.PKCS8()))
	if err := s.Start(id); err != nil {
		t.Fatal(err)
	}
	s.serves(id, is)
}

func TestServerReadsAsItsUser(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	s.place(ca.issue("web"), spec.Atomic)
	id := s.run(memory.Reloads, func(c *memory.Container) { c.User = reconcile.Owner{UID: 101, GID: 101} })
	s.serves(id, nil)
	if err := s.Start(id); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("error %v, want permission denied", err)
	}
	s.Chown(s.at, "cert.pem", 101, 101)
	s.Chown(s.at, "key.pem", 0, 101)
	s.Chmod(s.at, "key.pem", 0o640)
	if err := s.Start(id); err != nil {
		t.Error(err)
	}
}

func TestSingleFileMountsPinWhatTheyAre(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	was, is, last := ca.issue("web"), ca.issue("web"), ca.issue("web")
	s.place(was, spec.Plain)
	id := s.run(memory.Reloads, func(c *memory.Container) {
		c.Mounts = []reconcile.Mount{
			{Type: "bind", Source: "/srv/web/cert.pem", Destination: "/certs/cert.pem"},
			{Type: "bind", Source: "/srv/web/key.pem", Destination: "/certs/key.pem"},
		}
	})
	s.place(is, spec.Plain)
	if err := s.reload(id, hup); err != nil {
		t.Fatal(err)
	}
	s.serves(id, was)
	if err := s.reload(id, restart); err != nil {
		t.Fatal(err)
	}
	s.serves(id, is)
	u := s.unit(last, spec.Plain)
	u.InPlace = true
	if errs := s.Write(t.Context(), []reconcile.Unit{u}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	if err := s.reload(id, hup); err != nil {
		t.Fatal(err)
	}
	s.serves(id, last)
}

func TestAdoptingInPlaceKeepsTheInode(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	was, is := ca.issue("web"), ca.issue("web")
	s.ForeignFile(s.at, "both.pem", append(pemOf("CERTIFICATE", was.Certificate), pemOf("PRIVATE KEY", was.Key.PKCS8())...))
	id := s.run(memory.Reloads, func(c *memory.Container) {
		c.Mounts = []reconcile.Mount{{Type: "bind", Source: "/srv/web/both.pem", Destination: "/both.pem"}}
		c.Server.Cert, c.Server.Key = "/both.pem", "/both.pem"
	})
	s.serves(id, was)
	errs := s.Write(t.Context(), []reconcile.Unit{{
		At: s.at, Mark: mark, Layout: spec.Plain, InPlace: true, Adopt: true,
		Files: []reconcile.UnitFile{{
			Name: "both.pem", Mode: 0o600,
			Data: append(pemOf("CERTIFICATE", is.Certificate), pemOf("PRIVATE KEY", is.Key.PKCS8())...),
		}},
	}})
	if err := errors.Join(errs[0], s.reload(id, hup)); err != nil {
		t.Fatal(err)
	}
	s.serves(id, is)
}

func TestMountsOfMissingFilesBecomeDirectories(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	id := s.run(memory.Reloads, func(c *memory.Container) {
		c.Mounts = []reconcile.Mount{{Type: "bind", Source: "/srv/web/cert.pem", Destination: "/certs/cert.pem"}}
	})
	s.serves(id, nil)
	errs := s.Write(t.Context(), []reconcile.Unit{s.unit(ca.issue("web"), spec.Plain)})
	if !errors.Is(errs[0], reconcile.ErrForeign) {
		t.Errorf("error %v, want ErrForeign", errs[0])
	}
}

func TestReplicasOfAVolume(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	s.at = reconcile.Location{Host: "local", Volume: "certs", Sub: "web"}
	s.commit(reconcile.State{Installation: mark.Installation, Project: mark.Project, Places: map[reconcile.Location]reconcile.PlaceRow{s.at: {}}})
	if errs := s.Write(t.Context(), []reconcile.Unit{s.unit(ca.issue("web"), spec.Atomic)}); errs[0] == nil {
		t.Error("a volume that is not there is written")
	}
	if err := s.CreateVolume(t.Context(), "local", "certs", map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	was, is := ca.issue("web"), ca.issue("web")
	s.place(was, spec.Atomic)
	mount := func(c *memory.Container) {
		c.Mounts = []reconcile.Mount{{Type: "volume", Name: "certs", Destination: "/certs"}}
		c.Server.Cert, c.Server.Key = "/certs/web/cert.pem", "/certs/web/key.pem"
	}
	one, two := s.run(memory.Reloads, mount), s.run(memory.Reloads, mount)
	s.place(is, spec.Atomic)
	if err := s.reload(two, hup); err != nil {
		t.Fatal(err)
	}
	s.serves(one, was)
	s.serves(two, is)
	fresh, err := s.Recreate(one)
	if err != nil {
		t.Fatal(err)
	}
	s.serves(fresh, is)
	if fresh == one || len(s.List(t.Context(), "local").Containers) != 2 {
		t.Error("a container that was made anew has its old id, or the old one is still there")
	}
	want := []reconcile.Volume{{Name: "certs", Driver: "local", Labels: map[string]string{"a": "b"}}}
	if diff := cmp.Diff(want, s.List(t.Context(), "local").Volumes); diff != "" {
		t.Error(diff)
	}
	s.intact()
}
