package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/exchange"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	answerLimit = 30 * time.Second // for one answer
	maxFile     = 256 << 10        // of roots, a certificate or its key
)

// client talks to one server, which has to prove who it is before anything is sent. Each request has a connection of its own:
// few are made.
type client struct {
	ca     *spec.VaultCA
	tls    *tls.Config
	around reconcile.Around
	now    func() time.Time
	token  string // of whoever is logged in, or ""
	hidden string // a secret that is sent otherwise, or ""
}

func (c *CA) client(ca spec.CA) (client, error) {
	v := ca.Vault
	config := &tls.Config{Time: c.Now, MinVersion: tls.VersionTLS12}
	if v.ServerRoots != "" {
		data, err := disk.ReadFile(v.ServerRoots, maxFile)
		if err != nil {
			return client{}, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return client{}, fmt.Errorf("%s holds no certificate (PEM)", v.ServerRoots)
		}
	}
	if v.Certificate != nil {
		// The session is bound to the certificate: each request shows it, not only the login.
		pair, err := loginPair(v.Certificate)
		if err != nil {
			return client{}, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return client{ca: v, tls: config, around: c.Around, now: c.Now}, nil
}

// as is the client of whoever has a token.
func (c client) as(token string) client {
	c.token = token
	return c
}

func loginPair(by *spec.VaultCertificate) (tls.Certificate, error) {
	certificate, err := disk.ReadFile(by.Certificate, maxFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := disk.ReadFile(by.KeyFile, maxFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		err = fmt.Errorf("%s and %s: %w", by.Certificate, by.KeyFile, err)
	}
	return pair, err
}

// get and post ask for a path below /v1/.
func (c client) get(ctx context.Context, path string, answer any) error {
	return c.do(ctx, http.MethodGet, path, nil, answer)
}

func (c client) post(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, body, answer)
}

func (c client) do(ctx context.Context, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, c.ca.Address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-Vault-Request", "true") // agents and proxies of Vault may want it
	if c.ca.Namespace != "" {
		q.Header.Set("X-Vault-Namespace", c.ca.Namespace)
	}
	if c.token != "" {
		q.Header.Set("X-Vault-Token", c.token)
	}
	var data []byte
	err = c.around.Do(method+" vault /v1/"+path, func() error {
		data, err = c.ask(q, path)
		return err
	})
	if err != nil {
		return err
	}
	if json.Unmarshal(data, answer) != nil { // what it says is wrong may be a part of the answer, and that a token
		return fmt.Errorf("the answer of %s is not what /v1/%s answers: look who is there", c.ca.Address, path)
	}
	return nil
}

// ask sends one request, and returns the body of an answer that is a success.
func (c client) ask(q *http.Request, path string) ([]byte, error) {
	answer, body, err := exchange.Do(q, c.tls)
	var none exchange.Unanswered
	switch {
	case errors.As(err, &none):
		return nil, c.unanswered(none.Err)
	case err != nil:
		return nil, err
	case answer.StatusCode/100 != 2:
		return nil, c.refusal(answer, path, body)
	}
	return body, nil
}

// unanswered says why there is no answer.
func (c client) unanswered(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		roots := c.ca.ServerRoots
		if roots == "" {
			roots = "this machine"
		}
		err = fmt.Errorf("%s shows no certificate of a root of %s, and was told nothing: look who answers there, or name its root in serverRoots: %w", c.ca.Address, roots, err)
	}
	return reconcile.Away{Err: err}
}
