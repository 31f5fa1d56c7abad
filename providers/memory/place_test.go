package memory_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newWorld() *memory.World { return memory.New(func() time.Time { return now }) }

func TestPlacesContract(t *testing.T) {
	n := 0
	t.Run("directories", func(t *testing.T) {
		contract.PlacesContract(t, newWorld(), func() reconcile.Location {
			n++
			return reconcile.Location{Host: "local", Dir: fmt.Sprintf("/srv/%d", n)}
		})
	})
	t.Run("volumes", func(t *testing.T) {
		w := newWorld()
		contract.PlacesContract(t, w, func() reconcile.Location {
			n++
			name := fmt.Sprintf("certs-%d", n)
			w.AddVolume("local", name, nil)
			return reconcile.Location{Host: "local", Volume: name, Sub: "tls"}
		})
	})
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

func TestStoresContract(t *testing.T) {
	w := newWorld()
	contract.StoresContract(t, w, func() reconcile.Location {
		id := w.Run(memory.Container{Container: reconcile.Container{Name: "batch"}})
		return reconcile.Location{Host: "local", Container: id, Sub: "system"}
	})
}
