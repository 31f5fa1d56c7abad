package formats

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
)

// Cacerts reads and writes the keystores of roots that JVMs come with: JKS, of the password that all of them have, and PKCS#12
// without one, as Java has it since version 18 (JDK-8275252). Aliases are in lower case, as Java compares them.
type Cacerts struct{}

// changeit is the password of cacerts in every JDK. It keeps nothing secret.
const changeit = "changeit"

// Trusted gives the DER of the certificates that a keystore trusts, by alias. A keystore of another kind, or password, is an
// error.
func (Cacerts) Trusted(data []byte) (map[string][]byte, error) {
	if isJKS(data) {
		store, _, err := loadCacerts(data)
		if err != nil {
			return nil, err
		}
		all := map[string][]byte{}
		for _, alias := range store.Aliases() {
			if store.IsTrustedCertificateEntry(alias) {
				entry, err := store.GetTrustedCertificateEntry(alias)
				if err != nil {
					return nil, err
				}
				all[strings.ToLower(alias)] = entry.Certificate.Content
			}
		}
		return all, nil
	}
	safes, err := readSafes(data)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, bag := range slices.Concat(safes...) {
		if bag.alias != "" && bag.certificate != nil {
			all[bag.alias] = bag.certificate
		}
	}
	return all, nil
}

// Retrust gives a keystore with the certificates of add, by alias, and without the aliases of remove. All else in it stays: in
// PKCS#12 byte for byte, in a JKS entry for entry.
func (Cacerts) Retrust(data []byte, add map[string][]byte, remove []string) ([]byte, error) {
	for _, alias := range slices.Sorted(maps.Keys(add)) {
		if _, err := x509.ParseCertificate(add[alias]); err != nil {
			return nil, fmt.Errorf("%s: %w", alias, err)
		}
	}
	if isJKS(data) {
		return retrustJKS(data, add, remove)
	}
	safes, err := readSafes(data)
	if err != nil {
		return nil, err
	}
	for i := range safes {
		safes[i] = slices.DeleteFunc(safes[i], func(b bag) bool { return b.certificate != nil && slices.Contains(remove, b.alias) })
	}
	if len(safes) == 0 {
		safes = make([][]bag, 1)
	}
	for _, alias := range slices.Sorted(maps.Keys(add)) {
		made, err := trustedBag(alias, add[alias])
		if err != nil {
			return nil, err
		}
		safes[len(safes)-1] = append(safes[len(safes)-1], made)
	}
	return writeSafes(safes)
}

func isJKS(data []byte) bool { return bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}) }

func loadCacerts(data []byte) (keystore.KeyStore, []byte, error) {
	store, secret, err := loadJKS(data, changeit)
	if errors.Is(err, errPassword) {
		err = errors.New("it has another password than the usual one: give the JVM a truststore in a volume, or that password back (`keytool -storepasswd -cacerts`)")
	}
	return store, secret, err
}

func retrustJKS(data []byte, add map[string][]byte, remove []string) ([]byte, error) {
	store, secret, err := loadCacerts(data)
	if err != nil {
		return nil, err
	}
	for _, alias := range store.Aliases() {
		if store.IsTrustedCertificateEntry(alias) && slices.Contains(remove, strings.ToLower(alias)) {
			store.DeleteEntry(alias)
		}
	}
	for alias, der := range add {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		entry := keystore.TrustedCertificateEntry{CreationTime: c.NotBefore, Certificate: keystore.Certificate{Type: javaCertificate, Content: der}}
		if err := store.SetTrustedCertificateEntry(alias, entry); err != nil {
			return nil, err
		}
	}
	return storeJKS(store, secret)
}
