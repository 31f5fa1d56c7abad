package step

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/certwright/certwright/providers/exchange"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	answerLimit = 30 * time.Second // for one answer
)

// client talks to one server. Each request has a connection of its own: few are made, and not all with the same certificate.
type client struct {
	ca     spec.CA
	tls    *tls.Config
	around reconcile.Around
	now    func() time.Time
}

// stranger is a client to which the server has proved nothing, and which must not be told anything.
func (c *CA) stranger(ca spec.CA) client {
	return c.client(ca, &tls.Config{InsecureSkipVerify: true}) // what is asked for is recognized by its hash
}

// known is a client to a server that has proved to be of the pinned root before anything is sent. own, if not nil, is the
// certificate it shows.
func (c *CA) known(ca spec.CA, roots [][]byte, own *reconcile.Issued) (client, error) {
	i := slices.IndexFunc(roots, func(root []byte) bool { return pinned(ca, root) })
	if i < 0 {
		return client{}, errors.New("the root in the store is not the one that the spec pins")
	}
	root, err := x509.ParseCertificate(roots[i])
	if err != nil {
		return client{}, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(root)
	if own != nil {
		key, err := x509.ParsePKCS8PrivateKey(own.Key.PKCS8())
		if err != nil {
			return client{}, err
		}
		config.Certificates = []tls.Certificate{{Certificate: slices.Concat([][]byte{own.Certificate}, own.Chain), PrivateKey: key}}
	}
	return c.client(ca, config), nil
}

func (c *CA) client(ca spec.CA, config *tls.Config) client {
	config.Time, config.MinVersion = c.Now, tls.VersionTLS12
	return client{ca: ca, tls: config, around: c.Around, now: c.Now}
}

// get asks for a path. what is its name as an effect.
func (c client) get(ctx context.Context, what, path string, answer any) error {
	return c.do(ctx, http.MethodGet, what, path, nil, answer)
}

func (c client) post(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, path, body, answer)
}

func (c client) do(ctx context.Context, method, what, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, c.ca.Step.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	var data []byte
	err = c.around.Do(method+" step "+what, func() error {
		data, err = c.ask(q)
		return err
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("the answer of %s%s: %w", c.ca.Step.URL, what, err)
	}
	return nil
}

// ask sends one request, and returns the body of an answer that is a success.
func (c client) ask(q *http.Request) ([]byte, error) {
	answer, body, err := exchange.Do(q, c.tls)
	var none exchange.Unanswered
	switch {
	case errors.As(err, &none):
		return nil, c.unanswered(none.Err)
	case err != nil:
		return nil, err
	case answer.StatusCode/100 != 2:
		return nil, refusal(answer, body, c.now())
	}
	return body, nil
}
