package localca

import (
	"crypto/rand"
	"crypto/x509"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// BenchmarkIssue is to be held against BenchmarkBare, the least that a leaf with a key of its own can cost.
func BenchmarkIssue(b *testing.B) {
	var c CA
	root := create(b, &c, wantCA(), nil)
	sub := create(b, &c, wantCA(below("internal")), &root)
	id := wantLeaf()
	for b.Loop() {
		if _, err := c.Issue(id, sub, reconcile.PrivateKey{}, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBare(b *testing.B) {
	var c CA
	root := create(b, &c, wantCA(), nil)
	sub := create(b, &c, wantCA(below("internal")), &root)
	by, err := c.open(sub)
	if err != nil {
		b.Fatal(err)
	}
	template, err := c.leafTemplate(wantLeaf())
	if err != nil {
		b.Fatal(err)
	}
	template.NotBefore, template.NotAfter = sub.NotBefore, sub.NotAfter
	for b.Loop() {
		key := newSigner(b)
		template.SubjectKeyId = keyID(key.Public())
		if _, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.signer); err != nil {
			b.Fatal(err)
		}
	}
}
