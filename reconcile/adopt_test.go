package reconcile_test

import (
	"testing"
	"testing/synctest"

	"github.com/certwright/certwright/reconcile"
)

// TestAdoptable tells where there is something to take over, whatever else is in the way, from where there is nothing.
func TestAdoptable(t *testing.T) {
	theirs := func(e *estate) { e.ForeignFile(rootsPlace, "ca.pem", []byte("theirs")) }
	cannot := func(why string) func(w reconcile.World) {
		return func(w reconcile.World) { w.Places[rootsPlace] = reconcile.PlaceState{Err: "open /srv/roots: " + why} }
	}
	for name, row := range map[string]struct {
		edit []string
		do   func(*estate)
		see  func(reconcile.World)
		want bool
	}{
		"nothing":                         {},
		"files of others":                 {do: theirs, want: true},
		"and nobody has the user":         {edit: []string{"  roots:\n", "  roots:\n    container: client\n    owner: nosuch\n"}, do: theirs, want: true},
		"nobody has the user":             {edit: []string{"  roots:\n", "  roots:\n    container: client\n    owner: nosuch\n"}},
		"a place that may not be read":    {see: cannot("permission denied"), want: true},
		"a file where a directory should": {see: cannot("not a directory")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.edit(row.edit...)
				if row.do != nil {
					row.do(e)
				}
				e.converge()
				w := e.observe()
				if row.see != nil {
					row.see(w)
				}
				if got := reconcile.Adoptable(e.spec, w, "roots"); got != row.want {
					t.Errorf("%t, want %t:\n%s", got, row.want, text(reconcile.Diff(e.spec, w, reconcile.Scope{Only: []string{"roots"}})))
				}
			})
		})
	}
}
