package memory

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Probe implements reconcile.Prober for the connections that Dial makes.
func (w *World) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	served := reconcile.Served{At: r.Now, Address: r.Address}
	raw, err := r.Dial(ctx)
	if err != nil {
		served.Err, served.Unreachable = err.Error(), errors.Is(err, reconcile.ErrNotHere)
		return served
	}
	_ = raw.Close()
	to, ok := raw.(conn)
	if !ok {
		served.Err = "the connection leads out of this world"
		return served
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := to.to
	if c.Running() && c.Server.Behaviour == Notices {
		if l, err := w.loadServer(c); err == nil {
			c.loaded = l
		}
	}
	if c.loaded == nil {
		served.Err = "the connection was closed"
		return served
	}
	served.Version, served.Serial, served.NotAfter = "TLS 1.3", c.loaded.serial(), c.loaded.chain[0].NotAfter
	for _, one := range c.loaded.chain {
		served.Chain = append(served.Chain, one.Raw)
	}
	served.Untrusted = untrusted(c.loaded.chain, r)
	if c.asks() {
		for _, ca := range c.loaded.ca {
			served.CANames = append(served.CANames, ca.RawSubject)
		}
	}
	if r.ClientAuth == spec.ClientAuthOptional || r.ClientAuth == spec.ClientAuthRequired {
		c.clients(r, &served)
	}
	return served
}

func untrusted(chain []*x509.Certificate, r reconcile.ProbeRequest) string {
	roots := x509.NewCertPool()
	for _, der := range r.Roots {
		if root, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(root)
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: r.ServerName, CurrentTime: r.Now, Roots: roots, Intermediates: pool(chain[1:]),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

// asks reports whether the server asks for client certificates.
func (c *container) asks() bool {
	return c.Server.ClientAuth == spec.ClientAuthOptional || c.Server.ClientAuth == spec.ClientAuthRequired
}

// clients fills in what becomes of each client, and says what should have been otherwise.
func (c *container) clients(r reconcile.ProbeRequest, s *reconcile.Served) {
	without := reconcile.Refused
	if r.ClientAuth == spec.ClientAuthOptional {
		without = reconcile.LetIn
	}
	var faults []string
	judge := func(who string, is *reconcile.Answer, client *reconcile.Issued, want reconcile.Answer) {
		*is = c.letIn(client, r)
		if *is != want {
			faults = append(faults, who+map[reconcile.Answer]string{reconcile.LetIn: " was let in", reconcile.Refused: " was refused"}[*is])
		}
	}
	if r.Good == nil {
		faults = append(faults, "there is no client that must be accepted: only refusal was checked")
	} else {
		judge("the client that must be accepted", &s.Accepted, r.Good, reconcile.LetIn)
	}
	judge("a client without a certificate", &s.Without, nil, without)
	if r.Foreign != nil {
		judge("a foreign client", &s.Foreign, r.Foreign, reconcile.Refused)
	}
	s.ClientErr = strings.Join(faults, "; ")
}

// letIn says what the server makes of a client; nil is one without a certificate.
func (c *container) letIn(client *reconcile.Issued, r reconcile.ProbeRequest) reconcile.Answer {
	if !c.asks() || client == nil && c.Server.ClientAuth == spec.ClientAuthOptional {
		return reconcile.LetIn
	}
	if client == nil {
		return reconcile.Refused
	}
	leaf, err := x509.ParseCertificate(client.Certificate)
	if err != nil {
		return reconcile.Refused
	}
	var chain []*x509.Certificate
	for _, der := range client.Chain {
		if one, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, one)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		CurrentTime: r.Now, Roots: pool(c.loaded.ca), Intermediates: pool(chain),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return reconcile.Refused
	}
	return reconcile.LetIn
}
