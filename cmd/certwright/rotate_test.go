package main

import (
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestRotateAfterRevoke wants another certificate once more: the key that was lost is none the better for it.
func TestRotateAfterRevoke(t *testing.T) {
	a := &app{env: env{now: time.Now}}
	s := &spec.Spec{Identities: []spec.Identity{{Name: "web", ReuseKey: true}}}
	for serial, want := range map[string]bool{"0a": true, "0b": false} {
		st := reconcile.State{
			Identities: map[string]reconcile.Issued{"web": {Serial: serial}},
			Wishes:     map[string]reconcile.Wish{"identity/web": {Serial: "0a", NewKey: true}},
		}
		if err := a.wishRotation(s, &st, "web"); err != nil {
			t.Fatal(err)
		}
		if w := st.Wishes["identity/web"]; w.Serial != serial || w.NewKey != want {
			t.Errorf("of serial %s it wants %v", serial, w)
		}
	}
}
