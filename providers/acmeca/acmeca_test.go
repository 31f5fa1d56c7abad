package acmeca

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestExplain wants each error to be tried again when that is of use.
func TestExplain(t *testing.T) {
	said := func(kind string) error {
		return fmt.Errorf("attempt 1: %w", acme.Problem{Type: acme.ProblemTypeNamespace + kind, Detail: "no\x1b[31m"})
	}
	for _, c := range []struct {
		name    string
		err     error
		header  time.Duration
		want    time.Duration
		refused bool
		all     bool // nothing else may be asked either
	}{
		{"the network", errors.New("connection reset"), 0, 0, false, false},
		{"a busy server that is no ACME server", errors.New("HTTP 503"), time.Minute, time.Minute, false, true},
		{"a server in trouble", acme.Problem{Type: acme.ProblemTypeServerInternal, Status: 503}, time.Minute, time.Minute, false, true},
		{"a limit with a time", said("rateLimited"), 3 * time.Hour, 3 * time.Hour, false, false},
		{"a limit without", said("rateLimited"), 0, time.Hour, false, false},
		{"trouble", said("serverInternal"), 0, 0, false, false},
		{"a refusal", said("rejectedIdentifier"), 0, 0, true, false},
		{"a refusal that passes", said("unauthorized"), time.Minute, time.Minute, false, false},
		{"a refused order", fmt.Errorf("final order is invalid: %w", &acme.Problem{Type: acme.ProblemTypeBadCSR}), 0, 0, true, false},
		{"a name", unproved{"web.test", said("connection")}, 0, 15 * time.Minute, false, false},
		{"a name, and a time", unproved{"web.test", said("dns")}, time.Hour, time.Hour, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &signing{wire: &wire{said: c.header, failed: true}}
			err := s.explain(c.err)
			var again reconcile.RetryAfter
			errors.As(err, &again)
			if c.want > 0 && again.One == c.all {
				t.Errorf("it is of this alone: %v", again.One)
			}
			if again.Wait != c.want || errors.Is(err, reconcile.ErrRefused) != c.refused {
				t.Errorf("wait %s, refused %v: %v", again.Wait, errors.Is(err, reconcile.ErrRefused), err)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("what the server says reaches the terminal: %q", err)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for said, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "1e9": 0, "99999999999999999999": 0, "soon": 0,
		"Wed, 25 Nov 2026 12:05:00 GMT": 5 * time.Minute, "Wed, 25 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := reconcile.ParseRetryAfter(said, now); got != want {
			t.Errorf("%q is %s, want %s", said, got, want)
		}
	}
}

// TestToken wants no token that leads out of the directory it becomes a file of.
func TestToken(t *testing.T) {
	for token, want := range map[string]bool{
		"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA": true, "": false, "..": false, "a/b": false, "a\x00": false, "a.b": false,
		strings.Repeat("a", 256): false,
	} {
		if isToken(token) != want {
			t.Errorf("%q: %v", token, !want)
		}
	}
}

// TestServerName has the names of RFC 8738 section 6.
func TestServerName(t *testing.T) {
	for id, want := range map[string]string{
		"web.test": "web.test", "192.0.2.7": "7.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := serverName(acme.Identifier{Value: id}); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// TestOver says which orders are gone on with.
func TestOver(t *testing.T) {
	now := time.Now()
	id := spec.Identity{Name: "web", Key: spec.ECDSAP256, Names: []spec.Name{{Kind: spec.DNSName, Value: "b.test"}, {Kind: spec.DNSName, Value: "a.test"}}}
	good := keptOrder{For: []string{"ecdsa-p256", "false [] 0s", "a.test", "b.test"}, Replaces: "01", Made: now.Add(-time.Hour)}
	other := func(change func(*keptOrder)) keptOrder { o := good; change(&o); return o }
	for _, c := range []struct {
		name    string
		order   keptOrder
		current *reconcile.Issued
		want    bool
	}{
		{"what it replaces is still there", good, &reconcile.Issued{Serial: "01"}, false},
		{"what it replaces has expired", good, nil, false},
		{"something else is there", good, &reconcile.Issued{Serial: "02"}, true},
		{"the first one, and it is there", other(func(o *keptOrder) { o.Replaces = "" }), &reconcile.Issued{Serial: "01"}, true},
		{"other names", other(func(o *keptOrder) { o.For = []string{"ecdsa-p256", "false [] 0s", "a.test"} }), nil, true},
		{"another kind of key", other(func(o *keptOrder) { o.For = []string{"rsa-2048", "false [] 0s", "a.test", "b.test"} }), nil, true},
		{"old", other(func(o *keptOrder) { o.Made = now.Add(-25 * time.Hour) }), nil, true},
		{"of a clock that was set back", other(func(o *keptOrder) { o.Made = now.Add(2 * time.Hour) }), nil, true},
	} {
		if got := c.order.over(reconcile.SigningRequest{Identity: id, Current: c.current, Now: now}); got != c.want {
			t.Errorf("%s: over is %v", c.name, got)
		}
	}
}
