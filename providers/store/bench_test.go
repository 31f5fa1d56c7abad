package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// large is a state with n identities of the size that P-256 has, each placed and loaded.
func large(n int) reconcile.State {
	source := rand.NewChaCha8([32]byte{})
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = source.Read(b)
		return b
	}
	word := func(n int) string { return fmt.Sprintf("%x", random(n)) }
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	root, chain := random(1300), [][]byte{random(700)}
	s := reconcile.State{Project: "shop"}.Clone()
	for i := range n {
		name := fmt.Sprintf("service-%05d", i)
		s.Identities[name] = reconcile.Issued{
			Serial: word(16), Certificate: random(700), Chain: chain, Root: root, Key: reconcile.NewPrivateKey(random(138)),
			CA: "services", IssuerKeyID: word(20), NotBefore: at, NotAfter: at, IssuedAt: at, Reason: "not issued",
			Wanted: reconcile.Profile{
				Names:  []string{"dns:" + name, "dns:" + name + ".secure-network", "dns:localhost", "ip:127.0.0.1"},
				Usages: []spec.Usage{spec.Server}, Subject: spec.Subject{CommonName: name}, Key: spec.ECDSAP256, Lifetime: 720 * time.Hour,
			},
		}
		s.Places[reconcile.Location{Host: "local", Dir: "/srv/" + name}] = reconcile.PlaceRow{
			Binding: name, Layout: spec.Atomic, Files: []string{"ca.pem", "cert.pem", "key.pem"}, Wrote: reconcile.Fingerprint(word(32)), At: at,
		}
		s.Loads["local/container/"+name] = reconcile.Load{Binding: name, Target: word(32), Unit: reconcile.Fingerprint(word(32)), Proved: true, At: at}
	}
	return s
}

// BenchmarkStore measures a load and a commit; the key is derived before.
func BenchmarkStore(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		for kind, o := range kinds {
			o.Project = "shop"
			s, err := open(b.Context(), filepath.Join(b.TempDir(), "store"), o, cheap)
			if err != nil {
				b.Fatal(err)
			}
			state := large(n)
			if err := s.Commit(b.Context(), state); err != nil {
				b.Fatal(err)
			}
			run := func(what string, do func() error) {
				b.Run(fmt.Sprintf("%s/%s/%d", what, kind, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := do(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			commit := func() error { return s.Commit(b.Context(), state) }
			run("commit", commit)
			s.o.Disk = disk.Disk{Around: quick}
			run("commit without fsync", commit)
			run("load", func() error {
				_, err := s.Load(b.Context())
				return err
			})
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPassphrase measures what a passphrase costs once per process.
func BenchmarkPassphrase(b *testing.B) {
	for b.Loop() {
		if _, err := newSealer([]byte("open sesame"), recommended(), bytes.NewReader(make([]byte, saltSize))); err != nil {
			b.Fatal(err)
		}
	}
}
