package localca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const day = 24 * time.Hour

// noon is the time of most tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

// wantCA is the spec of a root.
func wantCA(edits ...func(*spec.LocalCA)) spec.CA {
	local := &spec.LocalCA{
		Subject:  spec.Subject{CommonName: "Docker Internal CA", Organization: "MyOrg", Locality: "SanFrancisco", Province: "California", Country: "US"},
		Key:      spec.ECDSAP256,
		Lifetime: 3650 * day,
	}
	for _, edit := range edits {
		edit(local)
	}
	return spec.CA{Name: "internal", Local: local}
}

// below makes the spec that of an intermediate.
func below(parent string) func(*spec.LocalCA) {
	return func(l *spec.LocalCA) {
		l.Parent = &spec.Ref{Name: parent}
		l.Subject = spec.Subject{CommonName: "Services CA", Organization: "MyOrg"}
		l.Lifetime = 365 * day
	}
}

func lasting(d time.Duration) func(*spec.LocalCA) { return func(l *spec.LocalCA) { l.Lifetime = d } }

// wantLeaf is the spec of a server's identity.
func wantLeaf(edits ...func(*spec.Identity)) spec.Identity {
	id := spec.Identity{
		Name:     "web",
		CA:       spec.Ref{Name: "internal"},
		Names:    names("dns:web-service", "dns:web-service.secure-network", "dns:*.web.test", "ip:127.0.0.1", "ip:fd00::1"),
		Usages:   []spec.Usage{spec.Server},
		Subject:  spec.Subject{CommonName: "web", OrganizationalUnit: "edge"},
		Key:      spec.ECDSAP256,
		Lifetime: 30 * day,
	}
	for _, edit := range edits {
		edit(&id)
	}
	return id
}

// names takes kind:value.
func names(texts ...string) []spec.Name {
	var out []spec.Name
	for _, text := range texts {
		kind, value, _ := strings.Cut(text, ":")
		out = append(out, spec.Name{Kind: spec.NameKind(kind), Value: value})
	}
	return out
}

func create(t testing.TB, c *CA, ca spec.CA, parent *reconcile.Generation) reconcile.Generation {
	t.Helper()
	g, err := c.Create(ca, parent, 1, noon)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func issue(t testing.TB, c *CA, id spec.Identity, by reconcile.Generation) reconcile.Issued {
	t.Helper()
	issued, err := c.Issue(id, by, reconcile.PrivateKey{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// wantError fails unless err says all of the texts.
func wantError(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
}

// openssl runs the real one and gives its output.
func openssl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := opensslTry(t, args...)
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
	}
	return out
}

func opensslTry(t testing.TB, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("CERTWRIGHT_TEST_REQUIRE"), ","), "servers") {
			t.Fatal("openssl is not installed, and CERTWRIGHT_TEST_REQUIRE asks for it")
		}
		t.Skip("openssl is not installed")
	}
	cmd := exec.Command("openssl", args...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err
}

func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyOf gives one key of each kind for the whole run: RSA takes seconds to make.
func keyOf(t testing.TB, kind spec.KeyKind) reconcile.PrivateKey {
	t.Helper()
	keysMu.Lock()
	defer keysMu.Unlock()
	if key, ok := keys[kind]; ok {
		return key
	}
	signer, err := newKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	key, err := marshalKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	keys[kind] = key
	return key
}

var (
	keysMu sync.Mutex
	keys   = map[spec.KeyKind]reconcile.PrivateKey{}
)

var errSource = errors.New("the source is dry")

type dry struct{}

func (dry) Read([]byte) (int, error) { return 0, errSource }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func newSigner(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := newKey(spec.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
