package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
)

// The passphrases that scripts and tests give to stores and backups; they are secrets like the keys.
var passphrases = []string{"correct horse battery staple", "another passphrase entirely", swarmPassphrase}

// window is how many bytes of a secret are enough to find it by.
const window = 12

// A seen secret is looked for in everything that any test printed or left lying about.
var secrets = struct {
	sync.Mutex
	known map[string]bool
	forms map[[window]byte][]form
	leaks []string
}{known: map[string]bool{}, forms: map[[window]byte][]form{}}

type form struct {
	text []byte
	what string
}

// learn adds every form of a secret number or text.
func learn(what string, secret []byte) {
	secrets.Lock()
	defer secrets.Unlock()
	if len(secret) < 16 || secrets.known[string(secret)] {
		return
	}
	secrets.known[string(secret)] = true
	all := []form{
		{secret, "bytes"},
		{[]byte(hex.EncodeToString(secret)), "hex"},
		{[]byte(strings.ToUpper(hex.EncodeToString(secret))), "upper hex"},
		{[]byte(new(big.Int).SetBytes(secret).String()), "decimal"},
		{[]byte(strings.Trim(fmt.Sprint(secret), "[]")), "a list of numbers"},
	}
	for shift := range 3 { // where the secret stands among the groups of three bytes
		whole := secret[shift:]
		whole = whole[:len(whole)/3*3]
		all = append(all,
			form{[]byte(base64.RawStdEncoding.EncodeToString(whole)), "base64"},
			form{[]byte(base64.RawURLEncoding.EncodeToString(whole)), "base64url"})
	}
	for _, f := range all {
		f.what = what + " as " + f.what
		key := [window]byte(f.text)
		secrets.forms[key] = append(secrets.forms[key], f)
	}
}

// learnKey adds the private numbers of a key.
func learnKey(key any) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if d, err := k.Bytes(); err == nil {
			learn("an ECDSA key", d)
		}
	case *rsa.PrivateKey:
		learn("an RSA key", k.D.Bytes())
		for _, p := range k.Primes {
			learn("a prime of an RSA key", p.Bytes())
		}
	case ed25519.PrivateKey:
		learn("an Ed25519 key", k.Seed())
	}
}

// inspect looks for secrets in what was found at a place.
func inspect(where string, data []byte) (found []string) {
	secrets.Lock()
	defer secrets.Unlock()
	if i := bytes.Index(data, []byte("PRIVATE KEY-----")); i >= 0 {
		found = append(found, where+" holds the PEM of a key")
	}
	// PEM and folded base64 have line breaks, which JSON writes as \n.
	flat := strings.NewReplacer("\\n", "", "\n", "", "\r", "", " ", "", ":", "").Replace(string(data))
	for _, text := range [][]byte{data, []byte(flat)} {
		for i := 0; i+window <= len(text); i++ {
			for _, f := range secrets.forms[[window]byte(text[i:i+window])] {
				if bytes.HasPrefix(text[i:], f.text) && !slices.Contains(found, where+" holds "+f.what) {
					found = append(found, where+" holds "+f.what)
				}
			}
		}
	}
	return found
}

// harvest learns every key below a directory: of PEM files, and of stores.
func harvest(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		if entry.Name() == "state" {
			harvestStore(filepath.Dir(path), data)
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				learnKey(key)
			}
		}
		return nil
	})
}

func harvestStore(dir string, state []byte) {
	var header struct{ Project string }
	line, _, _ := bytes.Cut(state, []byte("\n"))
	if json.Unmarshal(line, &header) != nil {
		return
	}
	tries := [][]byte{nil}
	for _, p := range passphrases {
		tries = append(tries, []byte(p))
	}
	for _, p := range tries {
		s, err := store.Open(context.Background(), dir, store.Options{Project: header.Project, Passphrase: p})
		if err != nil {
			continue
		}
		if st, err := s.Load(context.Background()); err == nil {
			learnState(st)
		}
		_ = s.Close()
	}
}

func learnState(st reconcile.State) {
	var keys []reconcile.PrivateKey
	for _, ca := range st.CAs {
		for _, g := range ca.Generations {
			keys = append(keys, g.Key)
		}
	}
	for _, i := range st.Identities {
		keys = append(keys, i.Key)
	}
	for _, k := range keys {
		if key, err := x509.ParsePKCS8PrivateKey(k.PKCS8()); err == nil {
			learnKey(key)
		}
	}
}

// keep learns the keys of a script's directory when it has ended, and looks for them in everything else there.
func keep(dir, transcript string) {
	harvest(dir)
	var found []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return nil
		case entry.IsDir() && holdsKeys(path, entry.Name()):
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err == nil {
			found = append(found, inspect(filepath.Base(dir)+": "+rel, data)...)
		}
		return nil
	})
	said, _ := os.ReadFile(transcript)
	note(string(said))
	secrets.Lock()
	defer secrets.Unlock()
	secrets.leaks = append(secrets.leaks, found...)
}

// holdsKeys reports whether a directory is a store, a place, or what a script brings along.
func holdsKeys(path, name string) bool {
	_, err := os.Stat(filepath.Join(path, "store.json"))
	return err == nil || name == "certs" || name == "brought" || name == "pki" || name == ".docker"
}

// note adds to what the program said.
func note(said string) {
	transcript.Lock()
	defer transcript.Unlock()
	transcript.WriteString(said)
}

// leaked is what of all secrets stands in anything the program said or left.
func leaked() []string {
	for _, p := range passphrases {
		learn("a passphrase", []byte(p))
	}
	transcript.Lock()
	defer transcript.Unlock()
	found := inspect("the output of all tests", transcript.Bytes())
	return append(found, secrets.leaks...)
}

// TestOutputHoldsNoKeys shows that the search, which TestMain makes when all tests have run, finds a key in every
// form in which a program could print it.
func TestOutputHoldsNoKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{ec, rs, ed} {
		learnKey(key)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		_, body, _ := bytes.Cut(text, []byte("\n")) // without the line that gives it away
		quoted, err := json.Marshal(string(body))
		if err != nil {
			t.Fatal(err)
		}
		inJSON, err := json.Marshal(der)
		if err != nil {
			t.Fatal(err)
		}
		for what, said := range map[string][]byte{
			"PEM": text, "PEM without its head": body, "PEM in JSON": quoted, "DER": der, "DER in JSON": inJSON,
			"hex": fmt.Appendf(nil, "%x", der), "upper hex": fmt.Appendf(nil, "%X", der), "hex with blanks": fmt.Appendf(nil, "% x", der), "numbers": fmt.Append(nil, der),
			"URL": []byte("a" + base64.URLEncoding.EncodeToString(append([]byte("x"), der...))),
		} {
			if len(inspect("here", append([]byte("some text, "), said...))) == 0 {
				t.Errorf("%T as %s is not found", key, what)
			}
		}
	}
	for what, number := range map[string]*big.Int{"a scalar": scalar(t, ec), "an exponent": rs.D} {
		if len(inspect("here", []byte("d="+number.String()+"\n"))) == 0 {
			t.Errorf("%s in decimal is not found", what)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	if found := inspect("here", fmt.Appendf(nil, "what is public: %x", public)); len(found) > 0 {
		t.Errorf("found where there is none: %v", found)
	}
}

func scalar(t *testing.T, k *ecdsa.PrivateKey) *big.Int {
	t.Helper()
	d, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(d)
}
