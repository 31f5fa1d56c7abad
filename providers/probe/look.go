package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/certwright/certwright/providers/probe/wire"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// target is a server to look at, and what to say to it.
type target struct {
	reconcile.ProbeRequest
	question wire.Question
	good     *tls.Certificate // the client that must be accepted, nil if there is none that can be used
}

// asks reports whether it matters what the server makes of a client.
func (t target) asks() bool {
	return t.ClientAuth == spec.ClientAuthOptional || t.ClientAuth == spec.ClientAuthRequired
}

// look is what one connection showed.
type look struct {
	chain     []*x509.Certificate
	version   string
	caNames   [][]byte
	requested bool // the server asked for a client certificate
	proved    bool // the server proved that it holds the key of its certificate
	completed bool // the handshake came to its end, as the client sees it
	answer    reconcile.Answer
	err       error // why there is no proof, why the client was refused, or why nothing was learned
}

func (l look) refused() bool { return l.answer == reconcile.Refused }

// look makes one connection with a client certificate, or with none when it is nil. It waits for nothing longer
// than the timeout: then, or when ctx ends, the connection is closed under whatever reads it. A connection to a
// container may be a pipe that knows no deadlines.
func (t target) look(ctx context.Context, client *tls.Certificate) look {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	raw, err := t.Dial(ctx)
	if err != nil {
		return look{err: t.late(ctx, err, "no connection")}
	}
	defer func() { _ = raw.Close() }()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	if err := wire.StartTLS(raw, t.Protocol); err != nil {
		return look{err: t.late(ctx, err, "no answer to the request for TLS")}
	}

	var l look
	conn := tls.Client(raw, t.config(&l, client))
	if err := conn.HandshakeContext(ctx); err != nil {
		l.err = t.late(ctx, err, "no answer to the TLS handshake")
		l.handshakeFailed(ctx)
		return l
	}
	defer func() { _ = conn.Close() }()
	l.proved, l.completed = true, true
	switch {
	case !t.asks() && t.Protocol == wire.MySQL:
		// Connections that end before a login are counted, and a hundred of them block the host (max_connect_errors).
		_, _ = t.ask(ctx, raw, conn)
	case !t.asks():
	case !l.requested:
		l.answer = reconcile.LetIn
	default:
		l.answer, l.err = t.ask(ctx, raw, conn)
	}
	return l
}

// config is that of one handshake. The chain is verified by hand afterwards, so that a server that a client would
// refuse is still seen. The certificate is sent whatever CAs the server says it accepts.
func (t target) config(l *look, client *tls.Certificate) *tls.Config {
	if client == nil {
		client = &tls.Certificate{}
	}
	c := &tls.Config{
		InsecureSkipVerify: true, // #nosec G402 -- untrusted verifies, and says why not
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		VerifyConnection: func(s tls.ConnectionState) error {
			l.chain, l.version = s.PeerCertificates, tls.VersionName(s.Version)
			return nil
		},
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			l.requested, l.caNames = true, r.AcceptableCAs
			// Go calls this after it has checked the server's signature, in TLS 1.2 (the key exchange) and in
			// TLS 1.3 (CertificateVerify and Finished).
			l.proved = true
			return client, nil
		},
	}
	if t.question.Silent {
		// A server that speaks nothing but HTTP/2 ends a connection that did not agree on it.
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	return c
}

// handshakeFailed tells a refused client, which in TLS 1.2 ends the handshake, from a server that has none to give.
func (l *look) handshakeFailed(ctx context.Context) {
	switch {
	case ctx.Err() != nil:
		l.proved = false
	case l.proved && (wire.Alert(l.err) != "" || wire.Closed(l.err)):
		l.answer = reconcile.Refused
	}
}

// ask goes on after the handshake until it is known whether the client was let in. A server of the protocol tls
// may be one that waits for more than HTTP: after a quarter of the timeout its silence means let in.
func (t target) ask(ctx context.Context, raw net.Conn, conn *tls.Conn) (reconcile.Answer, error) {
	patience := t.Timeout
	if t.Protocol == wire.TLS {
		patience /= 4
	}
	quiet, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(quiet, func() { _ = raw.Close() })()

	answer, err := wire.Ask(conn, t.question)
	switch {
	case answer != reconcile.NotAsked:
	case ctx.Err() == nil && quiet.Err() != nil && t.Protocol == wire.TLS:
		return reconcile.LetIn, nil
	// Both are asked: ctx ends, and closes the connection, a moment before quiet, its child, does.
	case ctx.Err() == nil && quiet.Err() == nil && (wire.Alert(err) != "" || wire.Closed(err)):
		return reconcile.Refused, err
	default:
		err = t.late(ctx, err, "no answer after the handshake")
	}
	return answer, err
}

// late replaces the error of a connection that was closed because its time was up.
func (t target) late(ctx context.Context, err error, what string) error {
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errors.New(what + ": the probe was cancelled")
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s within %s", what, t.Timeout.Round(time.Millisecond))
	}
	return err
}

// certificate makes an identity ready for a handshake; nil for nil. Its errors say nothing of the key.
func certificate(id *reconcile.Issued) (*tls.Certificate, error) {
	if id == nil {
		return nil, nil
	}
	leaf, err := x509.ParseCertificate(id.Certificate)
	if err != nil {
		return nil, errors.New("its certificate cannot be read")
	}
	key, err := x509.ParsePKCS8PrivateKey(id.Key.PKCS8())
	if err != nil {
		return nil, errors.New("its key cannot be read")
	}
	return &tls.Certificate{
		Certificate: append([][]byte{id.Certificate}, id.Chain...),
		PrivateKey:  key,
		Leaf:        leaf,
	}, nil
}
