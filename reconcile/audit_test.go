package reconcile_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// doors are who is let in at the addresses of engines. Of one with no configuration nothing else is known.
type doors struct {
	reconcile.Daemons
	at map[string]reconcile.Admission
}

func (doors) Daemon(context.Context, string) reconcile.DaemonState { return reconcile.DaemonState{} }

func (d doors) Admits(_ context.Context, _, address string) reconcile.Admission { return d.at[address] }

// TestAudit has engines that are reached in several ways.
func TestAudit(t *testing.T) {
	w := reconcile.World{Daemons: map[string]reconcile.DaemonState{}, Engines: map[string]reconcile.EngineState{
		"local": {Address: "core:2376", Unproved: true}, "open": {Address: "open:2375"}, "well": {Address: "well:2376"}, "socket": {},
	}}
	p := reconcile.Providers{Daemons: doors{at: map[string]reconcile.Admission{"core:2376": reconcile.Guarded, "open:2375": reconcile.Anybody, "well:2376": reconcile.Guarded}}}
	unproved := reconcile.Exposure{
		Host: "local", Address: "core:2376", Reason: "is not verified: whoever answers there is sent keys, and says what runs",
		Hint: "have its docker context verify it, as a `context` in a binding does",
	}
	want := []reconcile.Exposure{unproved, {
		Host: "open", Address: "open:2375", Reason: "lets anybody in, without TLS: who reaches it is root there",
		Hint: "give it `engine: {listen: …}` in a binding, or take the socket away",
	}}
	if diff := cmp.Diff(want, reconcile.Audit(t.Context(), p, w)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want[:1], reconcile.Audit(t.Context(), reconcile.Providers{}, w)); diff != "" {
		t.Errorf("where nobody can knock (-want +got)\n%s", diff)
	}
}
