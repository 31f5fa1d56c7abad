package step

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/spec"
)

const (
	signPath   = "/1.0/sign"
	revokePath = "/1.0/revoke"
)

// tokenLife is how long a token is good for, if it is not used before: as long as those of the step command.
const tokenLife = 5 * time.Minute

// provisioner makes tokens.
type provisioner struct {
	ca       *spec.StepCA
	signer   jose.Signer
	fragment string    // of the audience
	until    time.Time // nothing that is issued by its word lives longer; zero where there is no bound
}

// claims are what step-ca reads of a token (authority/provisioner: jwtPayload, x5cPayload).
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	IssuedAt  int64    `json:"iat"`
	ExpiresAt int64    `json:"exp"`
	ID        string   `json:"jti"`
	Names     []string `json:"sans,omitempty"`
	Confirmed *csrHash `json:"cnf,omitempty"`
}

// csrHash binds a token to the one request it is for: who sees it cannot use it with a key of his own.
type csrHash struct {
	SHA256 string `json:"x5rt#S256"`
}

// token returns a token for one request. csr is nil where there is none.
func (p *provisioner) token(path, subject string, names []string, csr []byte, now time.Time) (string, error) {
	c := claims{
		Issuer: p.ca.Provisioner, Subject: subject, Audience: p.ca.URL + path + p.fragment, ID: rand.Text(), Names: names,
		IssuedAt: now.Unix(), ExpiresAt: now.Add(tokenLife).Unix(),
	}
	if csr != nil {
		sum := sha256.Sum256(csr)
		c.Confirmed = &csrHash{base64.RawURLEncoding.EncodeToString(sum[:])}
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	token, err := p.signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return token.CompactSerialize()
}

// notAfter is the end to ask for. It is a duration where it can be, since the clocks may differ.
func (p *provisioner) notAfter(life time.Duration, now time.Time) (string, error) {
	switch {
	case p.until.IsZero() || now.Add(life).Before(p.until):
		return life.String(), nil
	case now.After(p.until):
		return "", fmt.Errorf("%s expired at %s: get another one", p.ca.Certificate, p.until.UTC().Format(time.RFC3339))
	}
	return p.until.UTC().Format(time.RFC3339), nil
}

// algorithm is the one that goes with a key (RFC 7518 section 3.1, RFC 8037 section 3.1).
func algorithm(key any) (jose.SignatureAlgorithm, error) {
	public := key
	if signer, is := key.(crypto.Signer); is {
		public = signer.Public()
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return jose.ES256, nil
		case 384:
			return jose.ES384, nil
		case 521:
			return jose.ES512, nil
		}
	case *rsa.PublicKey:
		return jose.RS256, nil
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	}
	return "", fmt.Errorf("no token can be signed with a key of the type %T", public)
}
