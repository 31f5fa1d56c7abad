package memory_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

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
	got, err := w.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	web, row := got.Identities["web"], got.Places[reconcile.Location{Dir: "/srv"}]
	if web.Chain[0][0] != 1 || string(web.Key.PKCS8()) != "secret" || row.Files[0] != "a" || !web.NotAfter.Equal(now) {
		t.Error("what was committed is shared")
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
