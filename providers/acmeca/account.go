package acmeca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/spec"
)

// enrol makes sure that the server knows the account. Its key is kept before the server sees it: one account, however often
// this is cut off (RFC 8555 section 7.3: the same key gets the same account). Whoever has an account in the spec agrees to the
// server's terms; docs/ca-acme.md says so.
func (s *signing) enrol(ctx context.Context) error {
	return s.locked(func() error {
		k, err := s.read()
		if err != nil {
			return err
		}
		if len(k.Account.Key) == 0 {
			if k.Account.Key, err = newKey(); err != nil {
				return err
			}
			if err := s.write(k); err != nil {
				return err
			}
		}
		key, err := parseKey(k.Account.Key)
		if err != nil {
			return err
		}
		s.account = acme.Account{PrivateKey: key, Location: k.Account.Location, TermsOfServiceAgreed: true, Contact: contact(s.ca)}
		known, same := k.Account.Location != "", k.Account.Contact == s.ca.ACME.Email
		switch {
		case known && same:
			return nil
		case known:
			_, err = s.client.UpdateAccount(ctx, acme.Account{PrivateKey: key, Location: k.Account.Location, Contact: contact(s.ca)})
		default:
			err = s.register(ctx)
		}
		if err != nil {
			return err
		}
		k.Account.Location, k.Account.Contact = s.account.Location, s.ca.ACME.Email
		return s.write(k)
	})
}

func (s *signing) register(ctx context.Context) error {
	if eab := s.ca.ACME.EAB; eab != nil {
		key, err := s.Secret(*eab.Key)
		if err != nil {
			return err
		}
		// CAs print it with and without padding.
		err = s.account.SetExternalAccountBinding(ctx, s.client, acme.EAB{KeyID: eab.KeyID, MACKey: strings.TrimRight(string(key), "=")})
		if err != nil && strings.Contains(err.Error(), "base64") {
			return fmt.Errorf("%s: the key of the external account is not base64url", eab.Key.Pos)
		}
		if err != nil {
			return err
		}
	}
	account, err := s.client.NewAccount(ctx, s.account)
	if err != nil {
		return err
	}
	if account.Location == "" {
		return errors.New("the server made an account without a location")
	}
	s.account.Location = account.Location
	return nil
}

// forgetAccount keeps the key, with which the server makes the account anew, and no order: they were the account's.
func (s *signing) forgetAccount() error {
	return s.change(func(k *kept) {
		k.Account.Location = ""
		clear(k.Orders)
	})
}

func contact(ca spec.CA) []string {
	if ca.ACME.Email == "" {
		return nil
	}
	return []string{"mailto:" + ca.ACME.Email}
}

// external names the external account. An ACME account cannot go from one to another.
func external(ca spec.CA) string {
	if ca.ACME.EAB == nil {
		return ""
	}
	return ca.ACME.EAB.KeyID
}

// newKey is of a kind that every server takes.
func newKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the key of the account in the store cannot be read")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key of the account in the store signs nothing")
	}
	return signer, nil
}
