package memory

import (
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestLostStrangers loses foreign things behind the world's back, as only a mistake in this package could.
func TestLostStrangers(t *testing.T) {
	at := reconcile.Location{Host: "local", Dir: "/srv/web"}
	for name, lose := range map[string]func(p *place){
		"taken away": func(p *place) { delete(p.names, "cert.pem") },
		"changed":    func(p *place) { p.names["cert.pem"].file.data = []byte("x") },
		"replaced":   func(p *place) { p.names["cert.pem"] = &node{kind: reconcile.KindDirectory} },
	} {
		w := New(time.Now)
		w.ForeignFile(at, "cert.pem", []byte("not ours"))
		if err := w.Check(); err != nil {
			t.Fatal(err)
		}
		lose(w.places[at])
		want := "cert.pem in /srv/web was not ours and was changed"
		if err := w.Check(); err == nil || err.Error() != want {
			t.Errorf("%s: check: %v, want %s", name, err, want)
		}
	}
}
