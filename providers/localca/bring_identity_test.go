package localca

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// brought writes the files of a certificate and its key.
func brought(t *testing.T, cert, key []byte) *spec.Brought {
	t.Helper()
	dir := t.TempDir()
	return &spec.Brought{Certificate: write(t, dir, "cert.pem", cert), Key: write(t, dir, "key.pem", key)}
}

// TestBringIdentity wants what was brought along to be as if the CA had issued it here.
func TestBringIdentity(t *testing.T) {
	c := CA{Now: func() time.Time { return noon }}
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	id := wantLeaf()
	leaf := issue(t, &c, id, sub)
	id.Brought = brought(t, pemOf(leaf.Certificate, sub.Certificate), keyPEM(leaf.Key))
	got, err := c.BringIdentity(id, sub)
	if err != nil {
		t.Fatal(err)
	}
	want := leaf
	want.IssuedAt = leaf.NotBefore
	if diff := cmp.Diff(want, got, cmp.Comparer(sameKey)); diff != "" {
		t.Error(diff)
	}

	for want, other := range map[string]spec.Brought{
		"is not the key of the first certificate in": {Certificate: id.Brought.Certificate, Key: write(t, t.TempDir(), "key.pem", keyPEM(sub.Key))},
		"holds no private key":                       {Certificate: id.Brought.Certificate, Key: id.Brought.Certificate},
		"is not a regular file":                      {Certificate: filepath.Dir(id.Brought.Key), Key: id.Brought.Key},
		"the certificate is one of a CA":             *brought(t, pemOf(sub.Certificate), keyPEM(sub.Key)),
	} {
		id, by := id, sub
		id.Brought = &other
		if want == "the certificate is one of a CA" {
			by = root
		}
		_, err := c.BringIdentity(id, by)
		wantError(t, err, want)
	}
	_, err = c.BringIdentity(id, create(t, &c, wantCA(), nil))
	wantError(t, err, "was not signed by CA")
	c.Now = func() time.Time { return leaf.NotAfter.Add(time.Second) }
	_, err = c.BringIdentity(id, sub)
	wantError(t, err, "expired on")
}

// TestBringIdentityEncrypted opens a key that openssl encrypted.
func TestBringIdentityEncrypted(t *testing.T) {
	c := broughtBy(secret)
	now := c.Now()
	root, err := c.Create(wantCA(), nil, 1, now)
	if err != nil {
		t.Fatal(err)
	}
	id := wantLeaf()
	leaf, err := c.Issue(id, root, reconcile.PrivateKey{}, now)
	if err != nil {
		t.Fatal(err)
	}
	id.Brought = brought(t, pemOf(leaf.Certificate), keyPEM(leaf.Key))
	encrypted := filepath.Join(t.TempDir(), "key.pem")
	openssl(t, "pkcs8", "-topk8", "-in", id.Brought.Key, "-out", encrypted, "-passout", "pass:"+secret)
	id.Brought.Key = encrypted
	_, err = c.BringIdentity(id, root)
	wantError(t, err, "it is encrypted: set passphrase beside its file")
	id.Brought.Passphrase = &spec.Source{File: "pass"}
	got, err := c.BringIdentity(id, root)
	if err != nil || got.Serial != leaf.Serial || !sameKey(got.Key, leaf.Key) {
		t.Errorf("%v, serial %s", err, got.Serial)
	}
}
