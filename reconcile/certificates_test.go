package reconcile_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// certificates is all that is found of certificates.
func (s *set) certificates() string {
	s.t.Helper()
	parsed, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(s.yaml)}}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range reconcile.Certificates(parsed, s.w) {
		b.WriteString(f.Subject + ": " + f.Reason + "\n    " + f.Hint + "\n")
	}
	return b.String()
}

// ends has a certificate live for 60 days and end on a day of 2026, in UTC.
func ends(name string, month time.Month, day int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.NotAfter = time.Date(2026, month, day, 0, 0, 0, 0, time.UTC)
		c.NotBefore = c.NotAfter.Add(-60 * 24 * time.Hour)
	}
}

// TestCertificates has certificates that come from elsewhere, in each place where a binding leads to them. It is 2026-11-22.
func TestCertificates(t *testing.T) {
	place := func(s *set, names ...string) {
		var strays []reconcile.Stray
		for _, name := range names {
			strays = append(strays, reconcile.Stray{Name: name, Certificates: [][]byte{selfMade(t, ends("old", 11, 1), nil, nil)}})
		}
		s.w.Places[reconcile.Location{Host: "local", Dir: "/srv/web"}] = reconcile.PlaceState{Exists: true, Strays: strays}
	}
	root := func(edit func(*x509.Certificate), key any) reconcile.State {
		der := selfMade(t, edit, key, nil)
		return reconcile.State{CAs: map[string]reconcile.CA{"internal": {Generations: []reconcile.Generation{{State: reconcile.GenerationActive, Certificate: der}}}}}
	}
	issued := func(s *set, name string, chain ...[]byte) {
		s.w.State = root(ends("Root", 12, 31), nil)
		s.w.State.Identities = map[string]reconcile.Issued{name: {CA: "internal", Certificate: selfMade(t, ends(name, 11, 23), nil, nil), Chain: chain}}
	}
	node := func(s *set, edit func(*reconcile.SwarmCA)) {
		ca := reconcile.SwarmCA{Root: "r", Issuer: "i", Nodes: []reconcile.SwarmNode{
			{Name: "one", State: "ready", Root: "r", Issuer: "i"}, {Name: "two", State: "down", Root: "old", Issuer: "i"},
		}}
		edit(&ca)
		s.w.Swarms["local"] = reconcile.Swarm{CA: ca}
	}
	for name, row := range map[string]struct {
		do   func(*set)
		want string
	}{
		"nothing": {func(*set) {}, ""},
		"a root that has ended": {
			func(s *set) { s.w.State = root(ends("Root", 11, 21), nil) },
			"ca/internal: the certificate of \"Root\" ended 2026-11-21T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n",
		},
		"a root that ends in the last sixth of its life": {
			func(s *set) { s.w.State = root(ends("Root", 12, 1), nil) },
			"ca/internal: the certificate of \"Root\" ends 2026-12-01T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n",
		},
		"a root that ends a day later": {func(s *set) { s.w.State = root(ends("Root", 12, 3), nil) }, ""},
		"a root of a long life that ends in 29 days": {func(s *set) {
			s.w.State = root(func(c *x509.Certificate) { ends("Root", 12, 21)(c); c.NotBefore = c.NotBefore.AddDate(-9, 0, 0) }, nil)
		}, "ca/internal: the certificate of \"Root\" ends 2026-12-21T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n"},
		"a root of a long life that ends in 31 days": {func(s *set) {
			s.w.State = root(func(c *x509.Certificate) { ends("Root", 12, 23)(c); c.NotBefore = c.NotBefore.AddDate(-9, 0, 0) }, nil)
		}, ""},
		"a short key of a root": {
			func(s *set) { s.w.State = root(ends("Root", 12, 31), smallRSA(t)) },
			"ca/internal: the key of \"Root\" has 1024 bits; RSA wants 2048 or more\n    have its identities come of another CA, and both trusted meanwhile\n",
		},
		"SHA-1 below a root": {func(s *set) {
			s.w.State = reconcile.State{CAs: map[string]reconcile.CA{"internal": {Generations: []reconcile.Generation{{State: reconcile.GenerationActive, Certificate: sha1Of(t)}}}}}
		}, "ca/internal: the certificate of \"web\" is signed with ECDSA-SHA1, which can be forged and is refused\n    have its identities come of another CA, and both trusted meanwhile\n"},
		"a root from outside": {func(s *set) {
			s.edit("internal: {local: {lifetime: 10y}}", "internal: {vault: {address: \"https://vault:8200\", mount: pki, role: docker, token: {env: T}, roots: vault.pem}}")
			s.w.State = root(ends("Root", 11, 21), nil)
		}, "ca/internal: the certificate of \"Root\" ended 2026-11-21T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n"},
		"a root of the system": {func(s *set) {
			s.edit("    identity: joe\n", "    identity: joe\n    trust: [internal, system]\n")
			s.w.Roots = map[string][][]byte{"system": {selfMade(t, ends("Old Authority", 2, 1), nil, nil)}}
		}, "trust/system: the certificate of \"Old Authority\" ended 2026-02-01T00:00:00Z\n    bring the certificates of this host up to date\n"},
		"an identity that is not renewed, which its state says": {func(s *set) { issued(s, "web") }, ""},
		"what leads from an identity to its root": {
			func(s *set) { issued(s, "web", selfMade(t, ends("Between", 11, 2), nil, nil)) },
			"identity/web: the certificate of \"Between\" ended 2026-11-02T00:00:00Z\n    look at what issues it\n",
		},
		"of something else": {func(s *set) {
			s.from(ends("web", 11, 24), nil, nil)
		}, "identity/web: the certificate of \"web\" ends 2026-11-24T00:00:00Z\n    look at what issues it\n"},
		"on the wire": {func(s *set) {
			s.w.Served["web/1"] = reconcile.Served{Serial: "07", Chain: [][]byte{selfMade(t, ends("web", 12, 31), nil, nil), selfMade(t, ends("Between", 11, 2), nil, nil)}}
		}, "binding/web: what shop-web-1 serves: the certificate of \"Between\" ended 2026-11-02T00:00:00Z\n    `certwright why web` says what keeps the wanted one from being served\n"},
		"on the wire, and said before": {func(s *set) {
			s.w.State = root(ends("Root", 11, 21), nil)
			s.w.Served["web/1"] = reconcile.Served{Serial: "07", Chain: [][]byte{s.w.State.CAs["internal"].Generations[0].Certificate}}
		}, "ca/internal: the certificate of \"Root\" ended 2026-11-21T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n"},
		"beside the files": {
			func(s *set) { place(s, "old.pem") },
			"binding/web: old.pem in /srv/web, which is not of certwright: the certificate of \"old\" ended 2026-11-01T00:00:00Z\n    remove it, or have what it is of renew it\n",
		},
		"a nameless one": {func(s *set) {
			s.w.State = root(func(c *x509.Certificate) { ends("", 11, 21)(c); c.SerialNumber = big.NewInt(171) }, nil)
		}, "ca/internal: the certificate of \"serial ab\" ended 2026-11-21T00:00:00Z\n    have its identities come of another CA, and both trusted meanwhile\n"},
		"a node of the old root": {
			func(s *set) { node(s, func(*reconcile.SwarmCA) {}) },
			"swarm/local: node two (down) has a certificate of another root than the Swarm's, and no rotation is under way\n    start it, or remove it: `docker node rm two`\n",
		},
		"a node of the old root that is there": {
			func(s *set) { node(s, func(ca *reconcile.SwarmCA) { ca.Nodes[1].State = "ready" }) },
			"swarm/local: node two (ready) has a certificate of another root than the Swarm's, and no rotation is under way\n    start its engine again, and look at its log\n",
		},
		"a node of the old root in a rotation": {func(s *set) { node(s, func(ca *reconcile.SwarmCA) { ca.Rotating = true }) }, ""},
		"a node that says nothing":             {func(s *set) { node(s, func(ca *reconcile.SwarmCA) { ca.Nodes[1].Issuer = "" }) }, ""},
		"a manager that is not renewed": {func(s *set) {
			node(s, func(ca *reconcile.SwarmCA) {
				ca.Nodes = ca.Nodes[:1]
				ca.Nodes[0].Served.Chain = [][]byte{selfMade(t, ends("node", 11, 24), nil, nil), selfMade(t, ends("above", 11, 1), nil, nil)}
			})
		}, "swarm/local: manager one: the certificate of \"node\" ends 2026-11-24T00:00:00Z\n    Swarm renews it by itself: look at the log of that engine\n"},
		"the root of the Swarm": {func(s *set) {
			node(s, func(ca *reconcile.SwarmCA) {
				ca.Nodes, ca.Certificate = nil, selfMade(t, ends("swarm-ca", 11, 24), nil, nil)
			})
		}, "swarm/local: its root: the certificate of \"swarm-ca\" ends 2026-11-24T00:00:00Z\n    raise `rotation` under `swarm`, or run `docker swarm ca --rotate`\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := cleanSet(t)
			row.do(s)
			if diff := cmp.Diff(row.want, s.certificates()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	s := cleanSet(t)
	s.w.Places[reconcile.Location{Host: "local", Dir: "/srv/web"}] = reconcile.PlaceState{Strays: []reconcile.Stray{{Name: "all.pem"}}}
	for range 9 {
		s.w.Places[reconcile.Location{Host: "local", Dir: "/srv/web"}].Strays[0].Certificates = append(s.w.Places[reconcile.Location{Host: "local", Dir: "/srv/web"}].Strays[0].Certificates, selfMade(t, ends("old", 11, 1), nil, nil))
	}
	if got := s.certificates(); !strings.HasSuffix(got, "which is not of certwright: and 4 more\n    remove it, or have what it is of renew it\n") {
		t.Errorf("nine in a file:\n%s", got)
	}
}
