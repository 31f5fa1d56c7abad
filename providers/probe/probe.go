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
	"cmp"
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
// alert, HTTP 400 in nginx's words, an error of a database at the login, words of a mail server about the certificate) or, having asked for a certificate, closes the
// connection before its first byte; a server that asks for none lets everyone in.
//
// With clientAuth none nothing is asked about clients, and a server that refuses one is still seen.
func (Prober) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	served := reconcile.Served{At: r.Now, Address: r.Address}
	t, goodErr := aim(r)
	first := t.look(ctx, t.good)
	if !first.proved {
		served.Err = wire.Words(first.err)
		served.Unreachable = errors.Is(first.err, reconcile.ErrNotHere)
		return served
	}
	leaf := first.chain[0]
	served.Serial, served.NotAfter = serial(leaf), leaf.NotAfter
	served.Version = first.version
	served.CANames = first.caNames
	for _, c := range first.chain {
		served.Chain = append(served.Chain, c.Raw)
	}
	served.Untrusted = wire.Printable(untrusted(first.chain, r.Roots, r.ServerName, r.Now))
	if t.asks() {
		t.clients(ctx, &served, first, goodErr)
	}
	return served
}

// nobody logs in to MySQL where a request names no one: an account that exists may be locked for logins without its password
// (FAILED_LOGIN_ATTEMPTS), and root is the one that everybody has.
const nobody = "certwright-probe"

// aim fills in what a request leaves open: the user is the good client's common name, else postgres or, for MySQL, one
// that there is not. PostgreSQL's database is the user. The error says why there is no good client.
func aim(r reconcile.ProbeRequest) (target, error) {
	if r.Protocol == "" {
		r.Protocol = wire.TLS
	}
	if r.Timeout <= 0 {
		r.Timeout = defaultTimeout
	}
	good, err := certificate(r.Good)
	if good == nil && err == nil {
		err = errors.New("there is none: only refusal was checked")
	}
	q := wire.Question{Protocol: r.Protocol, Host: r.ServerName, User: r.User, Database: r.Database}
	if q.User == "" && good != nil {
		q.User = good.Leaf.Subject.CommonName
	}
	if r.Protocol == wire.MySQL {
		q.User = cmp.Or(q.User, nobody)
		return target{r, q, good}, err
	}
	q.User = cmp.Or(q.User, "postgres")
	q.Database = cmp.Or(q.Database, q.User)
	return target{r, q, good}, err
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
func (t target) clients(ctx context.Context, s *reconcile.Served, first look, goodErr error) {
	without := first
	var faults []string
	if t.good == nil {
		faults = append(faults, "the client certificate that must be accepted: "+goodErr.Error())
	} else {
		t, first = t.again(ctx, first)
		s.Accepted = first.answer
		faults = append(faults, first.fault("the client certificate that must be accepted", reconcile.LetIn))
		without = t.look(ctx, nil)
	}

	if errors.Is(without.err, wire.ErrLogin) && s.Accepted != reconcile.LetIn {
		without.answer = reconcile.NotAsked // the account may want a password, and not a certificate
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
	case foreign == nil:
	case t.counts(without) && s.Accepted != reconcile.LetIn && s.Without != reconcile.LetIn:
		faults = append(faults, "a foreign client certificate was not tried: "+uncounted)
	default:
		l := t.look(ctx, foreign)
		s.Foreign = l.answer
		faults = append(faults, l.fault("a foreign client certificate", reconcile.Refused))
	}
	s.ClientErr = join(faults)
}

// uncounted is why a foreign client does not knock at MySQL after nobody was let in.
const uncounted = "the server counts whom it refuses in the handshake until a login succeeds, and would lock this host out (max_connect_errors)"

// counts reports whether a server counts those whom it refuses in the handshake.
func (t target) counts(l look) bool { return t.Protocol == wire.MySQL && l.requested }

// again looks a second time when the server closed the connection to the good client without a word. It may have
// closed at the HTTP request, because it speaks no HTTP. If it lets the client in when that says nothing, so shall
// the other clients.
func (t target) again(ctx context.Context, first look) (target, look) {
	if t.Protocol != wire.TLS || !first.completed || !first.refused() || !wire.Closed(first.err) {
		return t, first
	}
	quiet := t
	quiet.question.Silent = true
	if second := quiet.look(ctx, t.good); second.answer == reconcile.LetIn {
		return quiet, second
	}
	return t, first
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
