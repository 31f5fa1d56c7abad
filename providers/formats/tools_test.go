package formats_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/spec"
)

// tool returns a function that runs a program, or skips the test when it is not there.
func tool(t *testing.T, name string) func(args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers") {
			t.Fatalf("%s is required: %v", name, err)
		}
		t.Skipf("%s is not installed: %v", name, err)
	}
	return func(args ...string) string {
		t.Helper()
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "SECRET="+password)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, args[0], err, out)
		}
		return string(out)
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// fingerprints finds the SHA-256 fingerprints in what keytool prints, in order.
func fingerprints(out string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`SHA256: ([0-9A-F:]{95})`).FindAllStringSubmatch(out, -1) {
		found = append(found, strings.ToLower(strings.ReplaceAll(m[1], ":", "")))
	}
	return found
}

// TestKeytool lists each keystore with Java's own tool: kind and name of the entries, and the certificates.
func TestKeytool(t *testing.T) {
	keytool := tool(t, "keytool")
	m := newMaterial(t, newRSA(t))
	chain := []string{fingerprint(m.leaf), fingerprint(m.intermediate)}
	trust := []string{fingerprint(m.other), fingerprint(m.root)}
	slices.Sort(trust)
	trustAliases := []string{"web-" + trust[0][:12], "web-" + trust[1][:12]}
	for _, tt := range []struct {
		c             spec.Content
		kind          string
		aliases, want []string
	}{
		{spec.ContentPKCS12, "PrivateKeyEntry", []string{"1"}, chain},
		{spec.ContentJKS, "PrivateKeyEntry", []string{alias}, chain},
		{spec.ContentTrustPKCS12, "trustedCertEntry", trustAliases, trust},
		{spec.ContentTrustJKS, "trustedCertEntry", trustAliases, trust},
	} {
		t.Run(string(tt.c), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "store")
			if err := os.WriteFile(name, encode(t, tt.c, m.holding(tt.c)), 0o600); err != nil {
				t.Fatal(err)
			}
			out := keytool("-list", "-v", "-keystore", name, "-storepass:env", "SECRET")
			found := fingerprints(out)
			if tt.kind == "trustedCertEntry" {
				slices.Sort(found)
			}
			if diff := cmp.Diff(tt.want, found); diff != "" {
				t.Error(diff)
			}
			var aliases []string
			for _, m := range regexp.MustCompile(`Alias name: (.*)`).FindAllStringSubmatch(out, -1) {
				aliases = append(aliases, strings.TrimSpace(m[1]))
			}
			slices.Sort(aliases)
			if diff := cmp.Diff(tt.aliases, aliases); diff != "" {
				t.Error(diff)
			}
			if n := strings.Count(out, "Entry type: "+tt.kind); n != len(tt.aliases) {
				t.Errorf("%d entries of kind %s, want %d", n, tt.kind, len(tt.aliases))
			}
		})
	}
}

// TestKeytoolTakesTheKey lets Java decrypt the key of each keystore and write it into a new one.
func TestKeytoolTakesTheKey(t *testing.T) {
	keytool, openssl := tool(t, "keytool"), tool(t, "openssl")
	m := newMaterial(t, newECDSA(t))
	for _, c := range []spec.Content{spec.ContentPKCS12, spec.ContentJKS} {
		t.Run(string(c), func(t *testing.T) {
			from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
			if err := os.WriteFile(from, encode(t, c, m.holding(c)), 0o600); err != nil {
				t.Fatal(err)
			}
			keytool("-importkeystore", "-noprompt", "-srckeystore", from, "-srcstorepass:env", "SECRET",
				"-destkeystore", to, "-deststoretype", "PKCS12", "-deststorepass:env", "SECRET")
			key := openssl("pkcs12", "-in", to, "-passin", "env:SECRET", "-nodes", "-nocerts")
			if want := string(encode(t, spec.ContentKey, m.holding(spec.ContentKey))); !strings.Contains(key, want) {
				t.Error("the key that Java wrote is another")
			}
		})
	}
}

func TestOpenSSL(t *testing.T) {
	openssl := tool(t, "openssl")
	m := newMaterial(t, newECDSA(t))
	name := filepath.Join(t.TempDir(), "store.p12")
	if err := os.WriteFile(name, encode(t, spec.ContentPKCS12, m.holding(spec.ContentPKCS12)), 0o600); err != nil {
		t.Fatal(err)
	}
	certificates := openssl("pkcs12", "-in", name, "-passin", "env:SECRET", "-nokeys")
	key := openssl("pkcs12", "-in", name, "-passin", "env:SECRET", "-nodes", "-nocerts")
	if want := string(encode(t, spec.ContentKey, m.holding(spec.ContentKey))); !strings.Contains(key, want) {
		t.Error("openssl finds another key")
	}
	if want := string(encode(t, spec.ContentCert, m.holding(spec.ContentCert))); !strings.Contains(certificates, want) {
		t.Error("openssl does not find the leaf")
	}
	if n := strings.Count(certificates, "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("openssl finds %d certificates, want 2", n)
	}
}
