package reconcile_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// TestRevokedKeyIsNotResumed has a CA outside go on with what it was asked for with a key that was lost meanwhile.
func TestRevokedKeyIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.lostKey()
		// An order of before is for the key that the spec wanted to be kept.
		e.company.resume = e.lost.Key
		e.converge()
		st := e.load()
		if now := st.Identities["client"]; now.Serial == e.lost.Serial || bytes.Equal(now.Key.PKCS8(), e.lost.Key.PKCS8()) {
			t.Error("the identity has the same key")
		}
	})
}

// TestRevokeWhatHasExpired asks nobody, also where its CA has gone: there is nothing left to take back.
func TestRevokeWhatHasExpired(t *testing.T) {
	for _, ca := range []string{"company", "gone"} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.lostKey()
			st := e.load()
			r := st.Revocations[e.lost.Serial]
			r.Issued.CA, r.Issued.NotAfter = ca, time.Now().Add(time.Hour)
			st.Revocations[e.lost.Serial] = r
			e.commit(st)
			time.Sleep(time.Hour)
			e.converge()
			if st = e.load(); len(st.Revocations) > 0 || len(e.company.revoked) > 0 {
				t.Errorf("of CA %s %d are still to be revoked, and it was asked for %d", ca, len(st.Revocations), len(e.company.revoked))
			}
		})
	}
}

// TestRevokeElsewhere has a revocation whose CA left the spec: it is said what to do, and nothing is done.
func TestRevokeElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.lostKey()
		st := e.load()
		r := st.Revocations[e.lost.Serial]
		r.Issued.CA = "gone"
		st.Revocations[e.lost.Serial] = r
		e.commit(st)
		p := e.plan(reconcile.Scope{})
		for _, s := range p.Steps {
			if _, is := s.Action.(reconcile.Revoke); is {
				t.Errorf("%s", s.Action)
			}
		}
		if len(p.Blocked) != 1 || p.Blocked[0].Subject != "ca/gone" || p.Blocked[0].Hint == "" {
			t.Errorf("it says %v", p.Blocked)
		}
	})
}
