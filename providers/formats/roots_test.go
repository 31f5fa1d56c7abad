package formats_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func TestRoots(t *testing.T) {
	for _, name := range []string{spec.PublicRoots, spec.SystemRoots} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/etc/ssl/certs/ca-certificates.crt"); name == spec.SystemRoots && err != nil {
				t.Skipf("this host has no Debian trust bundle: %v", err)
			}
			roots, err := formats.Roots(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(roots) < 50 {
				t.Errorf("only %d roots", len(roots))
			}
			if !slices.IsSortedFunc(roots, bytes.Compare) || len(slices.CompactFunc(slices.Clone(roots), bytes.Equal)) != len(roots) {
				t.Error("not sorted, or doubles")
			}
			// Among them one that both have: ISRG Root X1, of Let's Encrypt.
			if !slices.ContainsFunc(roots, func(der []byte) bool {
				c, err := x509.ParseCertificate(der)
				return err == nil && c.IsCA && c.Subject.CommonName == "ISRG Root X1"
			}) {
				t.Error("ISRG Root X1 is missing")
			}
		})
	}
	if _, err := formats.Roots("private"); err == nil {
		t.Error("a name that is not reserved has roots")
	}
}

func TestPublicRootsHaveNoConditions(t *testing.T) {
	roots, err := formats.Roots(spec.PublicRoots)
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for root := range bundle.Roots() {
		all++
		has := slices.ContainsFunc(roots, func(der []byte) bool { return bytes.Equal(der, root.Certificate) })
		if has != (root.Constraint == nil) {
			t.Errorf("root %d: with a condition %t, among the public roots %t", all, root.Constraint != nil, has)
		}
	}
}

// TestPublicRootsFitEveryTruststore writes the largest trust there is into every content that takes it.
func TestPublicRootsFitEveryTruststore(t *testing.T) {
	roots, err := formats.Roots(spec.PublicRoots)
	if err != nil {
		t.Fatal(err)
	}
	want := reconcile.Holding{Certificates: roots}
	for _, c := range []spec.Content{spec.ContentCA, spec.ContentTrustPKCS12, spec.ContentTrustJKS} {
		got, err := formats.Formats{}.Decode(c, encode(t, c, want), password)
		if err != nil || !same(c, want, got) {
			t.Errorf("%s: %d of %d roots, error %v", c, len(got.Certificates), len(roots), err)
		}
	}
}

// TestPublicVersion wants the version that status shows to be the one that is built in.
func TestPublicVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "golang.org/x/crypto/x509roots/fallback "+formats.PublicVersion+"\n") {
		t.Errorf("go.mod has another version than %s", formats.PublicVersion)
	}
}
