package localca

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Found is what directories hold that other tools left behind. Everything in it was proved: the CAs can sign, and the
// identities are as Bring, BringIdentity or Read take them.
type Found struct {
	CAs        []FoundCA
	Identities []FoundIdentity
	Left       []Left   // sorted by file
	Shut       []string // the files of keys that are encrypted and did not open, as they were found
}

// FoundCA is a CA that is brought along.
type FoundCA struct {
	spec.CA
	Notes []string // what is to be known of it
}

// FoundIdentity is an identity with Brought, or with From where its CA's key was not found.
type FoundIdentity struct {
	spec.Identity
	Issued reconcile.Issued
	Notes  []string // what is to be known of it
}

// Left is what cannot be taken over, and why.
type Left struct{ File, Why string }

// Survey looks for CAs, certificates and keys in directories and what is below them, whatever tool made them: what belongs
// together is told by content, never by name. passphrases are tried on keys that are encrypted. Nothing is changed.
// An error says that a directory cannot be read, or is too large.
func (c *CA) Survey(dirs []string, passphrases []spec.Source) (Found, error) {
	s := &survey{ca: c, passphrases: passphrases, keys: map[string][]foundKey{}, revoked: map[string]bool{}, signers: map[string]foundSigner{}}
	for _, dir := range dirs {
		if err := s.read(dir); err != nil {
			return Found{}, err
		}
	}
	s.readRevocations()
	s.findCAs()
	s.findIdentities()
	slices.SortStableFunc(s.found.Left, func(a, b Left) int { return slices.Compare([]string{a.File, a.Why}, []string{b.File, b.Why}) })
	return s.found, nil
}

// survey is one Survey under way.
type survey struct {
	ca          *CA
	passphrases []spec.Source

	certs   []foundCert
	keys    map[string][]foundKey // by publicText
	lists   []foundList           // of revoked certificates, signed
	indexes []file                // of `openssl ca`
	revoked map[string]bool       // by revokedKey and indexKey

	signers map[string]foundSigner // by the name of the CA found
	found   Found
}

// foundCert is the first certificate of a file.
type foundCert struct {
	*x509.Certificate
	file string
}

// foundSigner is a CA with its key.
type foundSigner struct {
	reconcile.Generation
	cert *x509.Certificate
}

// foundKey is a key that could be opened.
type foundKey struct {
	file       string
	passphrase *spec.Source // nil: it is plain
}

type foundList struct {
	*x509.RevocationList
	file string
}

func (s *survey) left(file, why string) {
	if l := (Left{file, why}); !slices.Contains(s.found.Left, l) {
		s.found.Left = append(s.found.Left, l)
	}
}

// publicText is equal for equal keys.
func publicText(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Sprintf("%T", key) // of a kind that no key here is
	}
	return string(der)
}

func (s *survey) now() time.Time { return s.ca.now() }
