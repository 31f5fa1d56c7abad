// Package reload asks servers to read their files again, over the port they serve: whoever reaches that can, whatever they run
// in.
package reload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	// defaultTimeout bounds a rung that says nothing.
	defaultTimeout = 30 * time.Second
	// maxSaid is how much of what a server said goes into an error.
	maxSaid = 300
)

// Server is one that can be asked.
type Server struct {
	Dial   func(ctx context.Context, port int) (net.Conn, error)
	Secret func(spec.Source) ([]byte, error) // nil where passwords cannot be read
	Now    func() time.Time
	Around reconcile.Around
}

// Ask tells a server over its own protocol to read its files again.
func (s Server) Ask(ctx context.Context, p spec.Preset, how spec.Reload, env reconcile.ReloadEnv) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout(how))
	defer cancel()
	password, err := s.password(how)
	if err != nil {
		return err
	}
	config, err := TLS(env, s.Now)
	if err != nil {
		return err
	}
	conn, err := s.Dial(ctx, env.Port)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	to := talk{Server: s, conn: conn, tls: config, env: env, user: how.Username, password: password}
	switch p.Protocol {
	case "redis":
		return to.redis(ctx, p.Ask)
	case "mysql":
		return to.mysql(ctx, p.Ask)
	}
	return fmt.Errorf("the preset %s asks over %q, which nobody speaks here", p.Name, p.Protocol)
}

// talk is a connection to a server, before TLS, and who asks.
type talk struct {
	Server
	conn     net.Conn
	tls      *tls.Config
	env      reconcile.ReloadEnv
	user     string
	password []byte
}

// secure makes the TLS handshake.
func (t talk) secure(ctx context.Context) (*tls.Conn, error) {
	conn := tls.Client(t.conn, t.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS to its port %d: %w", t.env.Port, err)
	}
	return conn, nil
}

// password reads the rung's password, without the line end that files have; nil when there is none.
func (s Server) password(how spec.Reload) ([]byte, error) {
	if how.Password == nil {
		return nil, nil
	}
	if s.Secret == nil {
		return nil, errors.New("passwords cannot be read here")
	}
	p, err := s.Secret(*how.Password)
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	return bytes.TrimRight(p, "\r\n"), nil
}

// Timeout is how long a rung may take.
func Timeout(how spec.Reload) time.Duration {
	if how.Timeout > 0 {
		return how.Timeout
	}
	return defaultTimeout
}

// TLS is of a client that verifies that the server's chain ends in the binding's trust. Its names and its expiry are not looked
// at: the connection goes to the container itself, and a wrong or expired certificate is what the reload is to
// replace.
func TLS(env reconcile.ReloadEnv, now func() time.Time) (*tls.Config, error) {
	roots := x509.NewCertPool()
	for _, der := range env.Roots {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("trusted certificate: %w", err)
		}
		roots.AddCert(c)
	}
	config := &tls.Config{
		ServerName:         env.ServerName,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			return chains(s.PeerCertificates, roots, now())
		},
	}
	if env.Client != nil {
		key, err := x509.ParsePKCS8PrivateKey(env.Client.Key.PKCS8())
		if err != nil {
			return nil, errors.New("the client certificate's key cannot be read")
		}
		config.Certificates = []tls.Certificate{{
			Certificate: append([][]byte{env.Client.Certificate}, env.Client.Chain...), PrivateKey: key,
		}}
	}
	return config, nil
}

// chains verifies a presented chain at a time when its leaf was, or is, valid.
func chains(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if len(presented) == 0 {
		return errors.New("the server presented no certificate")
	}
	leaf := presented[0]
	if now.After(leaf.NotAfter) {
		now = leaf.NotAfter
	}
	between := x509.NewCertPool()
	for _, c := range presented[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	return err
}
