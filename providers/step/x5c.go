package step

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/url"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/spec"
)

// maxBirthFile bounds the files of a certificate and its key.
const maxBirthFile = 256 << 10

// birth is an X5C provisioner: a certificate of something else vouches for what is issued. Its files are read when they are
// needed, and not any more once each identity has a certificate of its own.
func birth(ca *spec.StepCA) (*provisioner, error) {
	certificates, err := disk.ReadFile(ca.Certificate, maxBirthFile)
	if err != nil {
		return nil, err
	}
	key, err := disk.ReadFile(ca.KeyFile, maxBirthFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificates, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", ca.Certificate, ca.KeyFile, err)
	}
	chain := make([]string, len(pair.Certificate))
	for i, der := range pair.Certificate {
		chain[i] = base64.StdEncoding.EncodeToString(der)
	}
	with, err := algorithm(pair.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ca.KeyFile, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: with, Key: pair.PrivateKey}, (&jose.SignerOptions{}).WithHeader("x5c", chain))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ca.KeyFile, err)
	}
	return &provisioner{ca: ca, signer: signer, fragment: (&url.URL{Fragment: "x5c/" + ca.Provisioner}).String(), until: pair.Leaf.NotAfter}, nil
}
