// Package vault asks the PKI engine of a Vault or OpenBao server for certificates (docs/ca-vault.md). It logs in, has a role
// sign a request, and is given the root over the same connection; no key travels.
//
// The requests and answers are those of the API documentation of both servers: the PKI secrets engine, and the auth methods
// token, AppRole, JWT and TLS certificates.
package vault

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// CA implements reconcile.Outside. It must not be copied.
type CA struct {
	// Secret reads a token or another secret from where the spec says.
	Secret func(spec.Source) ([]byte, error)
	Now    func() time.Time
	Around reconcile.Around

	mu       sync.Mutex
	sessions map[string]*session // by CA
}

// Roots fetches the root of the engine's default issuer. The server has proved who it is before it is asked, as it has
// before it is given a token.
func (c *CA) Roots(ctx context.Context, ca spec.CA) ([][]byte, error) {
	client, err := c.client(ca)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Chain string `json:"certificate"`
		} `json:"data"`
	}
	if err := client.get(ctx, ca.Vault.Mount+"/cert/ca_chain", &answer); err != nil {
		return nil, err
	}
	chain, err := certificates(answer.Data.Chain)
	if err != nil {
		return nil, err
	}
	var roots [][]byte
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
			roots = append(roots, der)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s has no root in the chain of %s/cert/ca_chain: name a file of it in roots", ca.Vault.Address, ca.Vault.Mount)
	}
	return roots, nil
}

// Sign has the role sign. What an identity has already is of no interest to it: to renew is to sign again.
func (c *CA) Sign(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	var answer struct {
		Data struct {
			Certificate string   `json:"certificate"`
			Chain       []string `json:"ca_chain"`
		} `json:"data"`
	}
	if err := c.post(ctx, ca, ca.Vault.Mount+"/sign/"+ca.Vault.Role, asked(q), &answer); err != nil {
		return nil, err
	}
	return certificates(strings.Join(append([]string{answer.Data.Certificate}, answer.Data.Chain...), "\n"))
}

// asked are the parameters of PKI's sign. Where the role takes names and the common name from the request (use_csr_sans,
// use_csr_common_name), which it does by default, these are the same.
func asked(q reconcile.SigningRequest) map[string]any {
	alt, ip, uri := []string{}, []string{}, []string{}
	for _, n := range q.Identity.Names {
		switch n.Kind {
		case spec.IPName:
			ip = append(ip, n.Value)
		case spec.URIName:
			uri = append(uri, n.Value)
		default: // DNS and e-mail
			alt = append(alt, n.Value)
		}
	}
	return map[string]any{
		"csr":         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: q.CSR})),
		"common_name": q.Identity.Subject.CommonName, "exclude_cn_from_sans": true,
		"alt_names": strings.Join(alt, ","), "ip_sans": ip, "uri_sans": uri,
		"ttl": strconv.FormatInt(int64(q.Identity.Lifetime/time.Second), 10) + "s",
	}
}

// certificates decodes those of an answer (PEM).
func certificates(text string) ([][]byte, error) {
	var all [][]byte
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			all = append(all, block.Bytes)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the answer holds no certificate (PEM)")
	}
	return all, nil
}
