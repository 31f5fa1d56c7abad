package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// request makes an HTTP request to the container itself: the URL says port, path and Host header; its host name is
// never resolved. A status of 400 and above is an error.
func (e *Engine) request(ctx context.Context, how spec.Reload, env reconcile.ReloadEnv) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutOf(how))
	defer cancel()
	method := how.HTTP.Method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, how.HTTP.URL, strings.NewReader(how.HTTP.Body))
	if err != nil {
		return err
	}
	port, err := portOf(r.URL)
	if err != nil {
		return err
	}
	config, err := e.serverTLS(env)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return e.Dial(ctx, env.Container, port, true)
		},
		TLSClientConfig:   config,
		DisableKeepAlives: true,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := http.Client{Transport: transport, CheckRedirect: stay}
	return e.o.Around.Do("HTTP "+method, func() error {
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode < 400 {
			return nil
		}
		said := &head{max: outputMax}
		said.readAll(answer.Body)
		return fmt.Errorf("the server answered %s: %s", answer.Status, said)
	})
}

func portOf(u *url.URL) (int, error) {
	switch {
	case u.Port() != "":
		return strconv.Atoi(u.Port())
	case u.Scheme == "https":
		return 443, nil
	case u.Scheme == "http":
		return 80, nil
	}
	return 0, fmt.Errorf("%q is no http or https URL", u.Redacted())
}

// serverTLS verifies that the server's chain ends in the binding's trust. Its names and its expiry are not looked
// at: the connection goes to the container itself, and a wrong or expired certificate is what the reload is to
// replace.
func (e *Engine) serverTLS(env reconcile.ReloadEnv) (*tls.Config, error) {
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
			return chains(s.PeerCertificates, roots, e.o.Now())
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
