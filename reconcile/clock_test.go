package reconcile_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/reconcile"
)

// clocked is an estate whose clock can be set.
type clocked struct {
	*estate
	ahead time.Duration
	built time.Time
}

func (c *clocked) now() time.Time { return time.Now().Add(c.ahead) }

func (c *clocked) applier() reconcile.Applier {
	a := c.estate.applier()
	a.Clock, a.Authority, a.Built = c.now, &localca.CA{Now: c.now}, c.built
	return a
}

// passes is what n passes of watch do, a minute apart: how many certificates they issue, and what is said of the clock
// after the last.
func (c *clocked) passes(n int) (issued int, said string) {
	c.t.Helper()
	for range n {
		out, err := c.applier().Converge(c.t.Context(), reconcile.Scope{Patient: true})
		if err := errors.Join(err, out.Err); err != nil {
			c.t.Fatal(err)
		}
		for _, s := range out.Done {
			if _, is := s.Action.(reconcile.Issue); is {
				issued++
			}
		}
		said = ""
		for _, r := range out.Plan.Blocked {
			if r.Subject == "clock" {
				said = r.Reason + "; " + r.Hint
			}
		}
		time.Sleep(time.Minute)
	}
	return issued, said
}

// TestClock has a row for each way in which a clock can be wrong, and two certificates that are kept by it. The trust that
// was placed is there whatever it says.
func TestClock(t *testing.T) {
	for _, row := range []struct {
		name   string
		ahead  time.Duration
		issued int
		said   string
	}{
		{"an hour behind", -time.Hour, 0, ""},
		{"two hours behind", -2 * time.Hour, 0, "nothing is issued"},
		{"ten years behind", -10 * 365 * day, 0, "nothing is issued"},
		{"an hour ahead", time.Hour, 0, ""},
		{"two lives ahead", 180 * day, 2, ""},
		{"twenty years ahead", 20 * 365 * day, 0, ""}, // the CA has ended
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &clocked{estate: newEstate(t)}
				c.read(simpleYAML)
				if issued, said := c.passes(2); issued != 2 || said != "" {
					t.Fatalf("%d certificates, %s", issued, said)
				}
				before := c.roots()
				c.ahead = row.ahead
				c.Delete(reconcile.Location{Host: "local", Dir: "/srv/web"}, "ca.pem")
				issued, said := c.passes(20)
				if issued != row.issued || (said == "") != (row.said == "") || !strings.Contains(said, row.said) {
					t.Errorf("%d certificates, want %d; it says %q", issued, row.issued, said)
				}
				if _, again := c.passes(1); again != said {
					t.Errorf("a minute later it says %q, after %q", again, said)
				}
				if after := c.roots(); after["internal"] != before["internal"] || !c.holds("web") {
					t.Error("the CA is another one, or its trust is gone")
				}
			})
		})
	}
}

// TestClockIsSetRight has certificates that were issued by a clock that was ahead: nothing is issued behind them but what
// is asked for, and when all of them were, all is well.
func TestClockIsSetRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocked{estate: newEstate(t)}
		c.read(simpleYAML)
		c.passes(2)
		c.ahead = 180 * day
		c.passes(2)
		c.ahead = 0
		c.read(strings.Replace(simpleYAML, "names: [web]", "names: [web, www]", 1))
		if issued, said := c.passes(3); issued != 0 || !strings.Contains(said, "certwright rotate identity/") {
			t.Fatalf("%d certificates; it says %q", issued, said)
		}
		for _, name := range []string{"web", "db"} {
			c.wish("identity/" + name)
			if issued, _ := c.passes(2); issued != 1 {
				t.Errorf("%d certificates for a wish", issued)
			}
		}
		if issued, said := c.passes(2); issued != 0 || said != "" {
			t.Errorf("%d certificates; it says %q", issued, said)
		}
	})
}

// TestFirstClock has a machine whose clock stands before this program was built, and no store that could know better.
func TestFirstClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocked{estate: newEstate(t), built: time.Now().Add(26 * 365 * day)}
		c.read(simpleYAML)
		if issued, said := c.passes(3); issued != 0 || !strings.Contains(said, "certwright was built") || c.roots() != nil {
			t.Errorf("%d certificates, %v; it says %q", issued, c.roots(), said)
		}
		c.ahead = 27 * 365 * day
		if issued, said := c.passes(2); issued != 2 || said != "" {
			t.Errorf("%d certificates; it says %q", issued, said)
		}
	})
}
