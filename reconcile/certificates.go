package reconcile

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/certwright/certwright/spec"
)

// soon is when the end of a certificate is said, at the latest; of one that lives shortly it is the last sixth of its life.
const soon = 30 * 24 * time.Hour

// The reasons of a file or a chain are as many, at most.
const mostReasons = 5

// Managers looks at the certificates that the managers of the Swarm show at the port by which nodes talk to each other, as far
// as that is reached from here. It changes nothing: whoever connects is shown it before he has to show his own.
func Managers(ctx context.Context, p Providers, w World) {
	swarm := w.Swarms[spec.LocalHost]
	if p.Daemons == nil {
		return
	}
	_ = inWorkers(hostWorkers, len(swarm.CA.Nodes), func(i int) error {
		n := &swarm.CA.Nodes[i]
		if n.Address != "" {
			n.Served = probe(ctx, p, ProbeRequest{
				Dial:    func(ctx context.Context) (net.Conn, error) { return p.Daemons.Reach(ctx, spec.LocalHost, n.Address) },
				Address: n.Address, ClientAuth: spec.ClientAuthNone, Timeout: soonAnswered, Now: w.Now,
			})
		}
		return nil
	})
}

// soonAnswered bounds a handshake with a manager.
const soonAnswered = 3 * time.Second

// Certificates looks over the certificates that bindings bring, that stand beside them and that are served where they lead, and
// those of the Swarm's nodes. It says which can be forged, which have ended, and which end soon although somebody should have
// renewed them by now. Each is said once, by whoever it comes from first. It is pure.
func Certificates(s *spec.Spec, w World) []Finding {
	a := &auditor{linter: linter{view: newView(s, &w)}, seen: map[string]bool{}}
	for i := range s.Bindings {
		if b := &s.Bindings[i]; among(b.Name, w.Only) {
			a.trust(b)
			a.identity(b)
		}
	}
	for i := range s.Bindings {
		if b := &s.Bindings[i]; among(b.Name, w.Only) {
			a.served(b)
			a.strays(b)
		}
	}
	a.swarm(w.Swarms[spec.LocalHost].CA)
	return a.found
}

type auditor struct {
	linter
	seen map[string]bool // DER
}

// trust looks at the roots that a binding brings.
func (a *auditor) trust(b *spec.Binding) {
	for _, ref := range b.Trust {
		switch ref.Name {
		case spec.PublicRoots:
			a.chain("trust/"+ref.Name, "", "a newer certwright has newer roots", a.w.Roots[ref.Name])
		case spec.SystemRoots:
			a.chain("trust/"+ref.Name, "", "bring the certificates of this host up to date", a.w.Roots[ref.Name])
		default:
			a.ca(ref.Name)
		}
	}
}

// ca looks at the roots of a CA.
func (a *auditor) ca(name string) {
	a.chain("ca/"+name, "", "have its identities come of another CA, and both trusted meanwhile", a.w.State.CAs[name].roots())
}

// identity looks at what a binding shows of itself.
func (a *auditor) identity(b *spec.Binding) {
	if b.Identity == nil {
		return
	}
	id := a.ids[b.Identity.Name]
	if id.From == nil {
		a.ca(id.CA.Name)
	}
	i, ok := a.view.issued(id.Name, a.w.State)
	if !ok {
		return
	}
	if id.From == nil {
		a.seen[string(i.Certificate)] = true // the state of the identity says it
	}
	a.chain("identity/"+id.Name, "", "look at what issues it", slices.Concat([][]byte{i.Certificate}, i.Chain, [][]byte{i.Root}))
}

// served looks at what the consumers of a binding show.
func (a *auditor) served(b *spec.Binding) {
	for _, c := range a.consumers(b) {
		a.chain("binding/"+b.Name, "what "+c.Name+" serves: ", "`certwright why "+b.Name+"` says what keeps the wanted one from being served", a.w.Served[TargetKey(b.Name, c)].Chain)
	}
}

// strays looks at what stands in the places of a binding beside its files.
func (a *auditor) strays(b *spec.Binding) {
	at, _, _ := a.locate(b)
	for _, l := range at {
		for _, f := range a.w.Places[l.at].Strays {
			a.chain("binding/"+b.Name, f.Name+" in "+l.at.String()+", which is not of certwright: ", "remove it, or have what it is of renew it", f.Certificates)
		}
	}
}

// swarm looks at the root of a Swarm and at the certificates of its nodes.
func (a *auditor) swarm(ca SwarmCA) {
	subject := ofSwarm(spec.LocalHost)
	if ca.Certificate != nil {
		a.chain(subject, "its root: ", "raise `rotation` under `swarm`, or run `docker swarm ca --rotate`", [][]byte{ca.Certificate})
	}
	for _, n := range ca.Nodes {
		if !ca.Rotating && ca.TLS(n) == tlsOld {
			hint := "start its engine again, and look at its log"
			if n.State != nodeReady {
				hint = "start it, or remove it: `docker node rm " + n.Name + "`"
			}
			a.find(subject, hint, "node %s (%s) has a certificate of another root than the Swarm's, and no rotation is under way", n.Name, n.State)
		}
		if len(n.Served.Chain) > 0 {
			a.chain(subject, "manager "+n.Name+": ", "Swarm renews it by itself: look at the log of that engine", n.Served.Chain[:1])
		}
	}
}

// chain says what is wrong with certificates that nothing was said of yet.
func (a *auditor) chain(subject, where, hint string, chain [][]byte) {
	var why []string
	for _, der := range chain {
		if a.seen[string(der)] {
			continue
		}
		a.seen[string(der)] = true
		why = append(why, weak([][]byte{der})...)
		if c, err := x509.ParseCertificate(der); err == nil {
			why = append(why, a.ending(c)...)
		}
	}
	for n, reason := range why {
		if n == mostReasons {
			a.find(subject, hint, "%sand %d more", where, len(why)-n)
			return
		}
		a.find(subject, hint, "%s%s", where, reason)
	}
}

// ending says that a certificate has ended, or does soon.
func (a *auditor) ending(c *x509.Certificate) []string {
	who := cmp.Or(c.Subject.CommonName, c.Subject.String(), "serial "+c.SerialNumber.Text(16))
	switch left := c.NotAfter.Sub(a.w.Now); {
	case left <= 0:
		return []string{fmt.Sprintf("the certificate of %q ended %s", who, stamp(c.NotAfter))}
	case left < min(soon, c.NotAfter.Sub(c.NotBefore)/6):
		return []string{fmt.Sprintf("the certificate of %q ends %s", who, stamp(c.NotAfter))}
	}
	return nil
}
