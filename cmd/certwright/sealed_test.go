package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/store"
)

// TestSealedStore looks for every key in every file of a store with a passphrase, and opens it with another.
func TestSealedStore(t *testing.T) {
	t.Parallel()
	const passphrase = "four words of a store"
	s := offline(t)
	s.vars = map[string]string{"STORE": passphrase}
	s.write("tls.yaml", `version: 1
project: sealed
store: {passphrase: {env: STORE}}
cas:
  internal: {local: {key: rsa-2048}}
  services: {local: {parent: internal}}
identities:
  web: {ca: services, names: [web.test]}
  api: {ca: services, names: [api.test], key: ed25519}
bindings:
  web: {identity: web, directory: ./certs}
  api: {identity: api, directory: ./api}
`)
	s.want(exitDone, "apply")
	dir := filepath.Join(s.dir, ".certwright")
	keys := storedKeys(t, dir, passphrase)
	s.want(exitDone, "rotate", "identity/web")
	keys = append(keys, storedKeys(t, dir, passphrase)...)
	if len(keys) != 8 {
		t.Fatalf("%d keys, want two times two of CAs and two of identities", len(keys))
	}
	if found := keysIn(t, dir, keys...); len(found) > 0 {
		t.Errorf("keys in the store: %v", found)
	}
	if len(keysIn(t, s.certs, keys...)) == 0 {
		t.Error("the key that was placed is not found")
	}

	before := tree(t, s.dir)
	for name, vars := range map[string]map[string]string{"another": {"STORE": "four words of another"}, "none": {"STORE": ""}} {
		s.vars = vars
		for _, args := range [][]string{{"apply"}, {"plan"}, {"status"}, {"rotate", "identity/web"}} {
			r := s.want(exitNothing, args...)
			s.says(r, "passphrase")
			if strings.Contains(r.out+r.err, vars["STORE"]) && vars["STORE"] != "" {
				t.Errorf("%s: the passphrase is in the output", name)
			}
		}
	}
	if diff := cmp.Diff(before, tree(t, s.dir)); diff != "" {
		t.Errorf("a wrong passphrase changed (-before +after):\n%s", diff)
	}
	s.vars = map[string]string{"STORE": passphrase}
	s.want(exitDone, "plan", "--exit-code")
}

// storedKeys opens a store, and returns the PKCS#8 of every key in it.
func storedKeys(t *testing.T, dir, passphrase string) (keys [][]byte) {
	t.Helper()
	st, err := store.Open(t.Context(), dir, store.Options{Passphrase: []byte(passphrase), Project: "sealed"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	state, err := st.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ca := range state.CAs {
		for _, g := range ca.Generations {
			keys = append(keys, g.Key.PKCS8())
		}
	}
	for _, i := range state.Identities {
		keys = append(keys, i.Key.PKCS8())
	}
	return keys
}

// keysIn finds the files of a directory that hold the secret number of a key, raw, in hex or in base64.
func keysIn(t testing.TB, dir string, keys ...[]byte) (found []string) {
	t.Helper()
	needles := map[string]string{}
	for _, pkcs8 := range keys {
		secret := secretOf(t, pkcs8)
		needles[string(secret)] = "raw"
		needles[hex.EncodeToString(secret)], needles[strings.ToUpper(hex.EncodeToString(secret))] = "hex", "hex"
		for skip := range 3 { // where it stands among the groups of three bytes
			whole := secret[skip : skip+(len(secret)-skip)/3*3]
			needles[base64.RawStdEncoding.EncodeToString(whole)] = "base64"
		}
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files++
		data := string(read(t, path))
		for needle, form := range needles {
			if strings.Contains(strings.ReplaceAll(data, "\n", ""), needle) || strings.Contains(data, needle) {
				found = append(found, fmt.Sprintf("%s (%s)", path, form))
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files below %s: %v", files, dir, err)
	}
	return found
}

// secretOf is 24 bytes of the private number of a key.
func secretOf(t testing.TB, pkcs8 []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal("a key cannot be read")
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if d, err := k.Bytes(); err == nil {
			return d[:24]
		}
	case *rsa.PrivateKey:
		return k.Primes[0].Bytes()[:24]
	case ed25519.PrivateKey:
		return k.Seed()[:24]
	}
	t.Fatalf("a key of type %T", key)
	return nil
}
