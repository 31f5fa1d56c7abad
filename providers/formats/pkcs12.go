package formats

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/certwright/certwright/reconcile"
)

func encodePKCS12(h reconcile.Holding, password string, salts io.Reader) ([]byte, error) {
	key, err := x509.ParsePKCS8PrivateKey(h.Key.PKCS8())
	if err != nil {
		return nil, errors.New("the private key is of a kind that is not known")
	}
	again, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil || !bytes.Equal(again, h.Key.PKCS8()) {
		return nil, errors.New("the private key has optional parts that PKCS#12 would lose; write it again without them")
	}
	certificates, err := parse(h.Certificates)
	if err != nil {
		return nil, err
	}
	return pkcs12.Modern2023.WithRand(salts).Encode(key, certificates[0], certificates[1:], password)
}

func decodePKCS12(data []byte, password string) (reconcile.Holding, error) {
	if err := checkPKCS12(data, password); err != nil {
		return reconcile.Holding{}, err
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password)
	if err != nil {
		return reconcile.Holding{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return reconcile.Holding{}, errors.New("the private key is of a kind that is not known")
	}
	h := reconcile.Holding{Certificates: [][]byte{leaf.Raw}, Key: reconcile.NewPrivateKey(der)}
	for _, c := range chain {
		h.Certificates = append(h.Certificates, c.Raw)
	}
	return h, nil
}

func encodeTrustPKCS12(trust [][]byte, alias, password string, salts io.Reader) ([]byte, error) {
	entries, err := trustEntries(trust, alias)
	if err != nil {
		return nil, err
	}
	return pkcs12.Modern2023.WithRand(salts).EncodeTrustStoreEntries(entries, password)
}

func decodeTrustPKCS12(data []byte, password string) (reconcile.Holding, error) {
	if err := checkPKCS12(data, password); err != nil {
		return reconcile.Holding{}, err
	}
	trusted, err := pkcs12.DecodeTrustStore(data, password)
	if err != nil {
		return reconcile.Holding{}, err
	}
	var h reconcile.Holding
	for _, c := range trusted {
		h.Certificates = append(h.Certificates, c.Raw)
	}
	slices.SortFunc(h.Certificates, bytes.Compare)
	return h, nil
}

// trustEntries names each certificate of a truststore, so that the name stays when others come and go. The names
// of Java are unique without regard to case.
func trustEntries(trust [][]byte, alias string) ([]pkcs12.TrustStoreEntry, error) {
	if alias == "" {
		alias = "ca"
	}
	certificates, err := parse(slices.SortedFunc(slices.Values(trust), bytes.Compare))
	if err != nil {
		return nil, err
	}
	var entries []pkcs12.TrustStoreEntry
	for _, c := range certificates {
		name := alias
		if len(certificates) > 1 {
			hash := sha256.Sum256(c.Raw)
			name += "-" + hex.EncodeToString(hash[:6])
		}
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: c, FriendlyName: name})
	}
	return entries, nil
}

func parse(ders [][]byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}
