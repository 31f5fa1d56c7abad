// Package probe looks at what a server really serves and whom it lets in.
//
// A probe makes up to four handshakes, each on a connection of its own and never resumed. The first shows the
// certificate, the chain, the version and the CAs whose clients the server accepts; it is made with the client
// that must be accepted, when there is one. The others are made without a certificate and with one of a foreign
// CA. Where a refusal shows depends on the protocol, its version and the server, so a check goes on after the
// handshake until the server has said something (package wire).
//
// A probe changes nothing, never fails, and ends within its timeouts whatever the server does.
package probe

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/probe/wire"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// defaultTimeout is that of a handshake when a request has none (DESIGN.md 1.2).
const defaultTimeout = 5 * time.Second

// Prober is the reconcile.Prober of real servers. It keeps nothing between probes.
type Prober struct{}

var _ reconcile.Prober = Prober{}

// Probe looks at one server. What the server showed is reported whatever became of the client: a certificate that
// has expired or a client that was refused leave Err empty. A client is refused when the server says so (a TLS
// alert, HTTP 400 in nginx's words, PostgreSQL's error class 28) or, having asked for a certificate, closes the
// connection before its first byte; a server that asks for none lets everyone in.
//
// With clientAuth none nothing is asked about clients, and a server that refuses one is still seen.
func (Prober) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	served := reconcile.Served{At: r.Now, Address: r.Address}
	t := target{r, wire.Question{Protocol: r.Protocol, Host: r.ServerName, User: r.User, Database: r.Database}}
	if t.Protocol == "" {
		t.Protocol, t.question.Protocol = wire.TLS, wire.TLS
	}
	if t.Timeout <= 0 {
		t.Timeout = defaultTimeout
	}
	good, goodErr := certificate(r.Good)
	if good == nil && goodErr == nil {
		goodErr = errors.New("there is none: only refusal was checked")
	}
	if good != nil && t.question.User == "" {
		t.question.User = good.Leaf.Subject.CommonName
	}
	if t.question.User == "" {
		t.question.User = "postgres"
	}
	if t.question.Database == "" {
		t.question.Database = t.question.User
	}

	first := t.look(ctx, good)
	if !first.proved {
		served.Err = wire.Words(first.err)
		served.Unreachable = errors.Is(first.err, reconcile.ErrNotHere)
		return served
	}
	leaf := first.chain[0]
	served.Serial = serial(leaf)
	served.Version = first.version
	served.CANames = first.caNames
	for _, c := range first.chain {
		served.Chain = append(served.Chain, c.Raw)
	}
	served.Untrusted = wire.Printable(untrusted(first.chain, r.Roots, r.ServerName, r.Now))
	if t.asks() {
		t.clients(ctx, &served, first, good != nil, goodErr)
	}
	return served
}

// serial writes a certificate's serial number as State does: lower-case hex, two digits a byte.
func serial(c *x509.Certificate) string {
	if c.SerialNumber.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(c.SerialNumber.Bytes())
}

// clients fills in the answers of the three clients. The first look was with the good one, if there is one, else
// without a certificate, and is not made again.
func (t target) clients(ctx context.Context, s *reconcile.Served, first look, isGood bool, goodErr error) {
	without := first
	var faults []string
	if isGood {
		if first.refused() && first.completed && wire.Closed(first.err) && t.Protocol == wire.TLS {
			// It may have closed at the request, because it speaks no HTTP: see what it does by itself.
			quiet := t
			quiet.question.Silent = true
			if again := quiet.look(ctx, t.good()); again.answer == reconcile.LetIn {
				first, t = again, quiet
			}
		}
		s.Accepted = first.answer
		faults = append(faults, first.fault("the client certificate that must be accepted", reconcile.LetIn))
		without = t.look(ctx, nil)
	} else {
		faults = append(faults, "the client certificate that must be accepted: "+goodErr.Error())
	}

	s.Without = without.answer
	want := reconcile.Refused
	if t.ClientAuth == spec.ClientAuthOptional {
		want = reconcile.LetIn
	}
	faults = append(faults, without.fault("a client without a certificate", want))

	foreign, err := certificate(t.Foreign)
	switch {
	case err != nil:
		faults = append(faults, "a foreign client certificate: "+err.Error())
	case foreign != nil:
		l := t.look(ctx, foreign)
		s.Foreign = l.answer
		faults = append(faults, l.fault("a foreign client certificate", reconcile.Refused))
	}
	s.ClientErr = join(faults)
}

// join puts what was found into one line, or "" when nothing was.
func join(faults []string) string {
	var found []string
	for _, f := range faults {
		if f != "" {
			found = append(found, f)
		}
	}
	return strings.Join(found, "; ")
}

// fault says in words how a look at a client differs from what it should be, "" if it does not.
func (l look) fault(who string, want reconcile.Answer) string {
	switch {
	case l.answer == want:
		return ""
	case l.answer == reconcile.LetIn && !l.requested:
		return who + " was let in: the server asks for none"
	case l.answer == reconcile.LetIn:
		return who + " was let in"
	case l.refused():
		return fmt.Sprintf("%s was refused: %s", who, wire.Words(l.err))
	}
	return fmt.Sprintf("%s: nothing was learned: %s", who, wire.Words(l.err))
}
