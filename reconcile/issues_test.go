package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// short is an authority whose certificates of web end as they begin.
type short struct{ reconcile.Authority }

func (s short) Issue(id spec.Identity, by reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	i, err := s.Authority.Issue(id, by, reuse, now)
	if id.Name == "web" {
		i.NotAfter = now
	}
	return i, err
}

// issuesOf counts the certificates of an identity that were issued.
func issuesOf(out reconcile.Outcome, identity string) (n int) {
	for _, s := range out.Done {
		if a, is := s.Action.(reconcile.Issue); is && a.Identity == identity {
			n++
		}
	}
	return n
}

func said(p reconcile.Plan, subject string) string {
	for _, r := range p.Blocked {
		if r.Subject == subject {
			return r.Reason + "; " + r.Hint
		}
	}
	return ""
}

// TestIssuesPerHour has a CA whose answers are of no use: it is asked once because it must be, and five times in an hour
// after that, which shows. Somebody who asks gets one more, and it comes to rest when the CA is mended.
func TestIssuesPerHour(t *testing.T) {
	for _, row := range []struct {
		name, limits string
		perHour      int
	}{{"by default", "", 5}, {"two", ", limits: {issuesPerHour: 2}", 2}, {"none", ", limits: {issuesPerHour: 0}", 0}} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.read(strings.Replace(simpleYAML, "directory: /srv/web", "directory: /srv/web"+row.limits, 1))
				useless := true
				pass := func() reconcile.Outcome {
					t.Helper()
					a := e.applier()
					if useless {
						a.Authority = short{a.Authority}
					}
					out, err := a.Converge(t.Context(), reconcile.Scope{Patient: true})
					if err != nil || out.Err != nil {
						t.Fatal(err, out.Err)
					}
					return out
				}
				n, out := 0, reconcile.Outcome{}
				for range 6 * 24 {
					out = pass()
					n += issuesOf(out, "web")
					time.Sleep(10 * time.Minute)
				}
				if most := 1 + row.perHour*24; n > most || n < most*9/10 {
					t.Errorf("%d certificates in a day, want %d", n, most)
				}
				if s := said(out.Plan, "identity/web"); !strings.Contains(s, "expired") || !strings.Contains(s, "certwright rotate identity/web") {
					t.Errorf("it says %q", s)
				}
				if row.perHour > 0 && !out.Plan.Next.After(time.Now().Add(-10*time.Minute)) {
					t.Errorf("it looks again at %s", out.Plan.Next)
				}
				useless = false
				e.wish("identity/web")
				if out := pass(); issuesOf(out, "web") != 1 || said(out.Plan, "identity/web") != "" {
					t.Errorf("%d certificates on a wish; it says %q", issuesOf(out, "web"), said(out.Plan, "identity/web"))
				}
			})
		})
	}
}

// TestRestlessIssuer has a CA that was brought along and is one thing and then another: what it signed follows five times in
// an hour.
func TestRestlessIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, g, write := bring(t)
		other, n := renewed(t, g), 0
		for i := range 30 {
			der := g.Certificate
			if i%2 == 0 {
				der = other
			}
			write("ca.pem", "CERTIFICATE", der)
			n += issuesOf(e.converge(), "web")
			time.Sleep(time.Minute)
		}
		if s := said(e.plan(reconcile.Scope{}), "identity/web"); n != 5 || !strings.Contains(s, "issuer renewed again: it was issued 5 times within an hour") {
			t.Errorf("%d certificates; it says %q", n, s)
		}
		time.Sleep(time.Hour)
		e.converge()
		e.audit()
	})
}
