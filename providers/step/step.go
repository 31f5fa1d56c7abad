// Package step asks a step-ca server for certificates (docs/ca-step.md). Its root is pinned by fingerprint, a token of one
// of its provisioners enrols, and what has a certificate of it is given the next one by showing the last.
//
// The requests and answers are those of the package api of github.com/smallstep/certificates, version 1.0 of the API.
package step

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// CA implements reconcile.Outside. It must not be copied.
type CA struct {
	// Secret reads a password from where the spec says.
	Secret func(spec.Source) ([]byte, error)
	Now    func() time.Time
	Around reconcile.Around

	mu   sync.Mutex
	keys map[string]*opened // by CA
}

// rootPath is where a step-ca has its roots, each under its SHA-256.
const rootPath = "/root"

// Roots fetches the root with the fingerprint that the spec pins, over a connection that proves nothing: what is there is
// asked for by its SHA-256, and anything else is an error.
func (c *CA) Roots(ctx context.Context, ca spec.CA) ([][]byte, error) {
	var answer struct {
		Root certificate `json:"ca"`
	}
	if err := c.stranger(ca).get(ctx, rootPath+"/{sha}", rootPath+"/"+ca.Step.Fingerprint, &answer); err != nil {
		return nil, err
	}
	if !pinned(ca, answer.Root) {
		return nil, fmt.Errorf("%s gave another root than the one with the fingerprint %s: look who answers there", ca.Step.URL, ca.Step.Fingerprint)
	}
	return [][]byte{answer.Root}, nil
}

// pinned reports whether a root is the one that the spec pins.
func pinned(ca spec.CA, root []byte) bool {
	sum := sha256.Sum256(root)
	return hex.EncodeToString(sum[:]) == ca.Step.Fingerprint
}

// Sign has the CA sign. What q.Identity has already vouches for itself; where there is nothing yet, or where the CA will
// not take it (as it does with what was revoked, and where its provisioner has renewal disabled), a token enrols it anew.
func (c *CA) Sign(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	if q.Current != nil {
		chain, err := c.rekey(ctx, ca, q)
		// TLS 1.3 sends before it knows whether its certificate is taken: then the server may be gone without a word.
		var away reconcile.Away
		if !errors.Is(err, reconcile.ErrRefused) && !errors.As(err, &away) {
			return chain, err
		}
	}
	return c.enrol(ctx, ca, q)
}

// signed is what a CA answers with when it has signed.
type signed struct {
	Chain []certificate `json:"certChain"`
}

func (s signed) chain() ([][]byte, error) {
	if len(s.Chain) == 0 {
		return nil, errors.New("the answer holds no certificate")
	}
	out := make([][]byte, len(s.Chain))
	for i, c := range s.Chain {
		out[i] = c
	}
	return out, nil
}

// rekey gets the next certificate by mutual TLS with the last one. The CA copies what is in that; the key is the CSR's, be
// it a new one or the same, which is why renew, which knows no CSR, is not asked.
func (c *CA) rekey(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	client, err := c.known(ca, q.Roots, q.Current)
	if err != nil {
		return nil, err
	}
	var answer signed
	if err := client.post(ctx, "/1.0/rekey", map[string]any{"csr": request(q.CSR)}, &answer); err != nil {
		return nil, err
	}
	return answer.chain()
}

// enrol gets a certificate by a token that is made for this one request, and good for no other.
func (c *CA) enrol(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	client, err := c.known(ca, q.Roots, nil)
	if err != nil {
		return nil, err
	}
	by, err := c.provisioner(ctx, client, ca)
	if err != nil {
		return nil, err
	}
	ott, err := by.token(signPath, q.Identity.Subject.CommonName, names(q.Identity), q.CSR, c.Now())
	if err != nil {
		return nil, err
	}
	end, err := by.notAfter(q.Identity.Lifetime, c.Now())
	if err != nil {
		return nil, err
	}
	var answer signed
	if err := client.post(ctx, signPath, map[string]any{"csr": request(q.CSR), "ott": ott, "notAfter": end}, &answer); err != nil {
		return nil, err
	}
	return answer.chain()
}

func names(id spec.Identity) []string {
	out := make([]string, len(id.Names))
	for i, n := range id.Names {
		out[i] = n.Value
	}
	return out
}

// request is a CSR as the API has it.
func request(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// certificate is one as the API has it, in DER.
type certificate []byte

// UnmarshalText takes PEM.
func (c *certificate) UnmarshalText(text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("no certificate in PEM")
	}
	*c = block.Bytes
	return nil
}
