package files

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestStrays has certificates stand in a place beside the files of a unit.
func TestStrays(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := func(n int64) []byte {
		c := &x509.Certificate{SerialNumber: big.NewInt(n)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	armour := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	one, two, three := made(1), made(2), made(3)
	for name, data := range map[string][]byte{
		"both.pem":     bytes.Join([][]byte{armour("CERTIFICATE", one), armour("PRIVATE KEY", secret), armour("CERTIFICATE", two)}, nil),
		"binary.DER":   three,
		"key.pem":      armour("PRIVATE KEY", secret),
		"cert.pem":     armour("CERTIFICATE", one), // of the unit
		"wrong.crt":    armour("CERTIFICATE", []byte("none")),
		"notes.txt":    armour("CERTIFICATE", one),
		".hidden.pem":  armour("CERTIFICATE", one),
		"large.pem":    append(armour("CERTIFICATE", one), make([]byte, maxStray)...),
		"sub/deep.pem": armour("CERTIFICATE", one),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("both.pem", filepath.Join(dir, "link.pem")); err != nil {
		t.Fatal(err)
	}
	query := reconcile.PlaceQuery{At: reconcile.Location{Host: spec.LocalHost, Dir: dir}, Files: []string{"cert.pem"}, Strays: true}
	got := Local{}.Read(context.Background(), []reconcile.PlaceQuery{query}, false)[0]
	want := []reconcile.Stray{{Name: "binary.DER", Certificates: [][]byte{three}}, {Name: "both.pem", Certificates: [][]byte{one, two}}}
	if diff := cmp.Diff(want, got.Strays); diff != "" || got.Err != nil {
		t.Errorf("%v (-want +got)\n%s", got.Err, diff)
	}
	query.Strays = false
	if got := (Local{}).Read(context.Background(), []reconcile.PlaceQuery{query}, false)[0]; got.Strays != nil {
		t.Errorf("although nobody asked: %d", len(got.Strays))
	}
}

// TestStraysAreBounded reads no more of a place that is full of certificates than the first.
func TestStraysAreBounded(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for i := range maxStrays + 5 {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i%26))+string(rune('a'+i/26))+".pem"), bytes.Repeat(one, maxCertificates+5), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := Local{}.Read(context.Background(), []reconcile.PlaceQuery{{At: reconcile.Location{Host: spec.LocalHost, Dir: dir}, Strays: true}}, false)[0]
	if len(got.Strays) != maxStrays || len(got.Strays[0].Certificates) != maxCertificates {
		t.Errorf("%d files, %d certificates", len(got.Strays), len(got.Strays[0].Certificates))
	}
}

// TestStraysOfWhatLeaves removes a place while it is looked at: that its certificates cannot be listed any more is no error of it.
func TestStraysOfWhatLeaves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "web")
	u := unit(dir, "1")
	write(t, local(unsynced), u)
	l, seen := local(nil), reconcile.Evidence("")
	left := false
	l.Now = func() time.Time {
		left = true
		must(t, os.RemoveAll(dir))
		return time.Now()
	}
	got := l.Read(t.Context(), []reconcile.PlaceQuery{{At: u.At, Files: names(u), Seen: &seen, Strays: true}}, false)[0]
	if !left || got.Err != nil {
		t.Errorf("it left: %t, %v", left, got.Err)
	}
}
