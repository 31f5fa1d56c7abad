package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestSuccessorInTrouble gives a binding another name and an identity that cannot be had yet: what the one before it placed stays until
// there is something better.
func TestSuccessorInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.edit("  roots:\n    trust: [internal]\n", "  roots:\n    identity: client\n    trust: [internal]\n")
		e.converge()
		e.edit("  roots:\n    trust: [internal]\n", "  pair:\n    identity: pair\n    trust: [internal]\n",
			"identities:\n", "identities:\n  pair: {from: {certificate: /nowhere/cert.pem, key: /nowhere/key.pem, ca: /nowhere/ca.pem}}\n")
		w := e.observe()
		if got := text(reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})); strings.Contains(got, "remove") || !strings.Contains(got, "binding/pair") {
			t.Errorf("its files are not to be had yet:\n%s", got)
		}
	})
}
