package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pavlo-v-chernykh/keystore-go/v4"

	"github.com/certwright/certwright/reconcile"
)

// javaCertificate is the certificate type that Java writes into a JKS.
const javaCertificate = "X.509"

func encodeJKS(h reconcile.Holding, alias, password string, salts io.Reader) ([]byte, error) {
	if alias == "" {
		return nil, errors.New("the entry of a JKS needs an alias")
	}
	secret, err := jksPassword(password)
	if err != nil {
		return nil, err
	}
	certificates, err := parse(h.Certificates)
	if err != nil {
		return nil, err
	}
	// The time of creation is that of the certificate, so that it says the same however often the file is written.
	entry := keystore.PrivateKeyEntry{CreationTime: certificates[0].NotBefore, PrivateKey: h.Key.PKCS8()}
	for _, der := range h.Certificates {
		entry.CertificateChain = append(entry.CertificateChain, keystore.Certificate{Type: javaCertificate, Content: der})
	}
	store := keystore.New(keystore.WithCustomRandomNumberGenerator(salts))
	if err := store.SetPrivateKeyEntry(alias, entry, secret); err != nil {
		return nil, err
	}
	return storeJKS(store, secret)
}

func encodeTrustJKS(trust [][]byte, alias, password string) ([]byte, error) {
	secret, err := jksPassword(password)
	if err != nil {
		return nil, err
	}
	entries, err := trustEntries(trust, alias)
	if err != nil {
		return nil, err
	}
	store := keystore.New(keystore.WithOrderedAliases())
	for _, e := range entries {
		entry := keystore.TrustedCertificateEntry{
			CreationTime: e.Cert.NotBefore,
			Certificate:  keystore.Certificate{Type: javaCertificate, Content: e.Cert.Raw},
		}
		if err := store.SetTrustedCertificateEntry(e.FriendlyName, entry); err != nil {
			return nil, err
		}
	}
	return storeJKS(store, secret)
}

func storeJKS(store keystore.KeyStore, secret []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := store.Store(&b, secret); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decodeJKS(data []byte, password string) (reconcile.Holding, error) {
	store, secret, err := loadJKS(data, password)
	if err != nil {
		return reconcile.Holding{}, err
	}
	aliases := store.Aliases()
	if len(aliases) != 1 {
		return reconcile.Holding{}, errors.New("it has not exactly one entry")
	}
	entry, err := store.GetPrivateKeyEntry(aliases[0], secret)
	if err != nil {
		return reconcile.Holding{}, err
	}
	h := reconcile.Holding{Key: reconcile.NewPrivateKey(entry.PrivateKey)}
	for _, c := range entry.CertificateChain {
		if c.Type != javaCertificate {
			return reconcile.Holding{}, errNotX509
		}
		h.Certificates = append(h.Certificates, c.Content)
	}
	return h, nil
}

func decodeTrustJKS(data []byte, password string) (reconcile.Holding, error) {
	store, _, err := loadJKS(data, password)
	if err != nil {
		return reconcile.Holding{}, err
	}
	var h reconcile.Holding
	for _, alias := range store.Aliases() {
		entry, err := store.GetTrustedCertificateEntry(alias)
		if err != nil {
			return reconcile.Holding{}, err
		}
		if entry.Certificate.Type != javaCertificate {
			return reconcile.Holding{}, errNotX509
		}
		h.Certificates = append(h.Certificates, entry.Certificate.Content)
	}
	slices.SortFunc(h.Certificates, bytes.Compare)
	return h, nil
}

var errNotX509 = errors.New("it holds a certificate that is not X.509")

func loadJKS(data []byte, password string) (keystore.KeyStore, []byte, error) {
	store := keystore.New(keystore.WithCaseExactAliases())
	secret, err := jksPassword(password)
	if err != nil {
		return store, nil, err
	}
	entries, err := checkJKS(data)
	if err != nil {
		return store, nil, err
	}
	if err := store.Load(bytes.NewReader(data), secret); err != nil {
		return store, nil, fmt.Errorf("%w: %w", errPassword, err)
	}
	if len(store.Aliases()) != entries {
		return store, nil, errors.New("two entries have one alias")
	}
	return store, secret, nil
}

// jksPassword gives the low bytes of the password's UTF-16 form, of which the library makes the form that Java
// uses. Characters with a high byte are out of its reach.
func jksPassword(password string) ([]byte, error) {
	var secret []byte
	for _, r := range password {
		if r > 0xff {
			return nil, errors.New("the password has a character outside Latin-1, which a JKS cannot take here; use PKCS#12")
		}
		secret = append(secret, byte(r))
	}
	return secret, nil
}
