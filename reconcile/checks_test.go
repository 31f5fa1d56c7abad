package reconcile_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const day = 24 * time.Hour

// TestRenewAt has a life of 30 days, or one that its issuer cut short: due is a moment in the twentieth of it before want.
func TestRenewAt(t *testing.T) {
	issued := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name  string
		renew spec.Renew
		life  time.Duration
		want  time.Duration
	}{
		{"by default", spec.Renew{}, 30 * day, 20 * day},
		{"a fraction", spec.Renew{Num: 1, Den: 2}, 30 * day, 15 * day},
		{"a time before the end", spec.Renew{Before: 10 * day}, 30 * day, 20 * day},
		{"a time before the end of a short life", spec.Renew{Before: 10 * day}, 3 * day, day},
	} {
		t.Run(row.name, func(t *testing.T) {
			seen := map[time.Time]bool{}
			for _, serial := range []string{"00", "01", "02", "03"} {
				i := &reconcile.Issued{Serial: serial, IssuedAt: issued, NotAfter: issued.Add(row.life)}
				id := &spec.Identity{Name: "web", Renew: row.renew}
				due := reconcile.RenewAt(id, i)
				if late := due.Sub(issued) - row.want; late > 0 || late < -row.life/20-time.Second {
					t.Errorf("due %s after it was issued, want up to a twentieth of the life before %s", due.Sub(issued), row.want)
				}
				if !due.Equal(reconcile.RenewAt(id, i)) {
					t.Error("two looks differ")
				}
				seen[due] = true
			}
			if len(seen) < 2 {
				t.Error("all are due at once")
			}
		})
	}
}

// TestNearTheIssuersEnd has leaves that end with their CA: they are issued once more, and not again and again.
func TestNearTheIssuersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		st := e.load()
		time.Sleep(time.Until(st.CAs["services"].Active().NotAfter) - 3*day)
		issues := 0
		for range 80 { // hours: three days, and some after the end
			for _, s := range e.converge().Done {
				if i, is := s.Action.(reconcile.Issue); is && i.Identity == "web" {
					issues++
				}
			}
			time.Sleep(time.Hour)
		}
		if s := e.state("web", time.Now()); issues != 1 || s.State != reconcile.Expired {
			t.Errorf("%d certificates, want one; %s (%s)", issues, s.State, s.Reason)
		}
	})
}
