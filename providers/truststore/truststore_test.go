package truststore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// memory is a container as a map of files, whose effects can fail.
type memory struct {
	files    map[string][]byte
	links    map[string]string
	readOnly bool
	env      []string
	mounts   []string

	effects, at int  // the effect that fails, from one; 0 for none
	after       bool // it is done, and only its answer lost
}

var errStruck = errors.New("struck")

func (m *memory) real(name string) string {
	for m.links[name] != "" {
		name = m.links[name]
	}
	return name
}

func (m *memory) effect(do func()) error {
	m.effects++
	if m.at > 0 && m.effects >= m.at { // nothing more is done by who is dead
		if m.after && m.effects == m.at {
			do()
		}
		return errStruck
	}
	do()
	return nil
}

func (m *memory) Has(_ context.Context, name string) (bool, error) {
	for f := range m.files {
		if f == m.real(name) || strings.HasPrefix(f, name+"/") {
			return true, nil
		}
	}
	return false, nil
}

func (m *memory) Get(_ context.Context, name string) (File, error) {
	data, there := m.files[m.real(name)]
	if !there {
		return File{}, nil
	}
	return File{Path: m.real(name), Data: slices.Clone(data), Mode: 0o644}, nil
}

func (m *memory) Put(_ context.Context, files ...File) error {
	for _, f := range files {
		if err := m.effect(func() { m.files[f.Path] = f.Data }); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Replace(ctx context.Context, f File) error { return m.Put(ctx, f) }

func (m *memory) Describe(context.Context) (Description, error) {
	return Description{ReadOnly: m.readOnly, Env: m.env, Mounts: m.mounts}, nil
}

// Run knows rm, and any tool of a system, which makes its bundle of the anchors.
func (m *memory) Run(_ context.Context, argv ...string) (string, error) {
	if argv[0] == "rm" {
		if m.files["/bin/rm"] == nil {
			return "", errors.New("no rm")
		}
		return "", m.effect(func() {
			for _, name := range argv[2:] {
				delete(m.files, name)
			}
		})
	}
	for _, s := range systems {
		if m.files[s.bundle] != nil {
			return "", m.effect(func() {
				all := slices.Clone(m.files["/usr/share/roots"])
				for _, name := range slices.Sorted(maps.Keys(m.files)) {
					if path.Dir(name) == s.anchors {
						all = append(all, m.files[name]...)
					}
				}
				m.files[s.bundle] = all
			})
		}
	}
	return "", fmt.Errorf("no %s", argv[0])
}

// certificate is a CA certificate of that name.
func certificate(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(3e9, 0), IsCA: true, BasicConstraintsValid: true}
	c.Subject.CommonName = name
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

var stores = Stores{Keystores: formats.Cacerts{}}

func mark(version int) reconcile.Mark {
	return reconcile.Mark{Installation: "i", Project: "shop", Binding: "batch", Version: version}
}

func unit(version int, ders ...[]byte) reconcile.Unit {
	var roots []root
	for _, der := range ders {
		roots = append(roots, root{der: der})
	}
	return reconcile.Unit{Mark: mark(version), Files: []reconcile.UnitFile{{Name: "ca.pem", Data: encode(roots)}}}
}

// images are containers of each kind of trust store, with a root of somebody else.
func images(t *testing.T) map[string]struct {
	of   spec.TrustStore
	make func() *memory
} {
	t.Helper()
	other := encode([]root{{der: certificate(t, "other")}})
	jks, err := formats.Formats{}.Encode(spec.ContentTrustJKS, reconcile.Holding{Certificates: decode(other)}, "other", "changeit")
	if err != nil {
		t.Fatal(err)
	}
	system, java := spec.TrustStore{Kind: spec.SystemStore}, spec.TrustStore{Kind: spec.JavaStore}
	return map[string]struct {
		of   spec.TrustStore
		make func() *memory
	}{
		"a tool": {system, func() *memory {
			return &memory{files: map[string][]byte{
				"/etc/os-release": []byte("ID_LIKE=debian\n"), "/usr/sbin/update-ca-certificates": {}, "/bin/rm": {},
				"/usr/share/roots": other, "/etc/ssl/certs/ca-certificates.crt": other,
			}}
		}},
		"a bundle": {system, func() *memory {
			return &memory{
				files: map[string][]byte{"/etc/ssl/certs/ca-certificates.crt": []byte(strings.TrimSuffix(string(other), "\n"))},
				links: map[string]string{"/etc/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt"},
			}
		}},
		"two bundles": {system, func() *memory {
			return &memory{files: map[string][]byte{"/etc/ssl/certs/ca-certificates.crt": other, "/etc/pki/tls/certs/ca-bundle.crt": other, "/bin/rm": {}}}
		}},
		"a keystore": {java, func() *memory {
			return &memory{env: []string{"JAVA_HOME=/opt/jdk"}, files: map[string][]byte{"/opt/jdk/lib/security/cacerts": jks, "/bin/rm": {}}}
		}},
	}
}

// held are the roots of ours that a store has.
func held(t *testing.T, c *memory, of spec.TrustStore) [][]byte {
	t.Helper()
	content := stores.Read(t.Context(), c, of, []string{"ca.pem"})
	if content.Err != nil {
		t.Fatal(content.Err)
	}
	return decode(content.Files["ca.pem"].Data)
}

// without are the files of a container but for the manifest, which an image without rm keeps.
func (m *memory) without(of spec.TrustStore) map[string][]byte {
	files := maps.Clone(m.files)
	delete(files, manifestOf(of))
	return files
}

// TestStores puts roots into each kind of store, exchanges one, and takes all out again, struck at every effect in between: the
// next try always ends where it should, and nothing else in the container is another.
func TestStores(t *testing.T) {
	one, two, three := certificate(t, "one"), certificate(t, "two"), certificate(t, "three")
	for name, image := range images(t) {
		t.Run(name, func(t *testing.T) {
			effects := 0
			for _, after := range []bool{false, true} {
				for at := 1; ; at++ {
					c := image.make()
					before := c.without(image.of)
					c.at, c.after = at, after
					struck := false
					tried := func(do func() error) {
						t.Helper()
						err := do()
						if errors.Is(err, errStruck) {
							struck, c.at = true, 0
							err = do()
						}
						if err != nil {
							t.Fatalf("effect %d: %v", at, err)
						}
					}
					tried(func() error { return stores.Write(t.Context(), c, image.of, unit(1, one, two)) })
					if diff := cmp.Diff([][]byte{one, two}, held(t, c, image.of)); diff != "" {
						t.Fatalf("effect %d: first (-want +got):\n%s", at, diff)
					}
					tried(func() error { return stores.Write(t.Context(), c, image.of, unit(2, one, three)) })
					if diff := cmp.Diff([][]byte{one, three}, held(t, c, image.of)); diff != "" {
						t.Fatalf("effect %d: then (-want +got):\n%s", at, diff)
					}
					tried(func() error { return stores.Remove(t.Context(), c, image.of, mark(3)) })
					if got := held(t, c, image.of); len(got) > 0 {
						t.Fatalf("effect %d: %d roots are left", at, len(got))
					}
					if diff := cmp.Diff(before, c.without(image.of)); diff != "" {
						t.Fatalf("effect %d: the container is not as it was (-want +got):\n%s", at, diff)
					}
					if !struck {
						effects = at - 1
						break
					}
				}
			}
			if effects < 5 {
				t.Errorf("only %d effects were struck", effects)
			}
		})
	}
}

// TestDrift changes each kind of store from inside, and wants that seen and mended.
func TestDrift(t *testing.T) {
	one := certificate(t, "one")
	for name, image := range images(t) {
		t.Run(name, func(t *testing.T) {
			fresh := image.make()
			for changed := range fresh.files {
				if strings.Contains(changed, "bin/") || strings.Contains(changed, "os-release") || changed == "/usr/share/roots" {
					continue
				}
				c := image.make()
				if err := stores.Write(t.Context(), c, image.of, unit(1, one)); err != nil {
					t.Fatal(err)
				}
				c.files[changed] = fresh.files[changed] // as its package has it
				if got := held(t, c, image.of); len(got) != 0 {
					t.Errorf("%s is as it came, and holds %d roots", changed, len(got))
				}
				if err := stores.Write(t.Context(), c, image.of, unit(1, one)); err != nil {
					t.Fatal(err)
				}
				if got := held(t, c, image.of); len(got) != 1 {
					t.Errorf("%s was not mended", changed)
				}
			}
		})
	}
}

// TestRefused wants a container that cannot be given roots to say why, and what to do, and to be left alone.
func TestRefused(t *testing.T) {
	one := certificate(t, "one")
	system, java, database := spec.TrustStore{Kind: spec.SystemStore}, spec.TrustStore{Kind: spec.JavaStore}, spec.TrustStore{Kind: spec.NSSStore, Database: "/db"}
	mine := named(mark(1), one)
	for name, row := range map[string]struct {
		of   spec.TrustStore
		c    *memory
		want string
	}{
		"read-only":     {system, &memory{readOnly: true}, "its root file system is read-only, and so is its trust store: give it a bundle"},
		"a mount":       {system, &memory{files: map[string][]byte{"/etc/ssl/certs/ca-certificates.crt": []byte("x")}, mounts: []string{"/etc/ssl/certs"}}, "its /etc/ssl/certs/ca-certificates.crt is on a mount, and not its own"},
		"nothing":       {system, &memory{}, "it has no trust store: neither the tool of a distribution nor a bundle file"},
		"no JVM":        {java, &memory{}, "it has no cacerts"},
		"no keystore":   {java, &memory{files: map[string][]byte{"/etc/ssl/certs/java/cacerts": []byte("x")}}, "/etc/ssl/certs/java/cacerts: it is neither a JKS nor a PKCS#12 file"},
		"no database":   {database, &memory{}, "there is no NSS database in /db"},
		"no certutil":   {database, &memory{files: map[string][]byte{"/db/cert9.db": {}}}, "it has no certutil"},
		"a file in its": {system, &memory{files: map[string][]byte{"/usr/local/share/ca-certificates/" + mine.Name + ".crt": []byte("x"), "/usr/sbin/update-ca-certificates": {}}}, "holds something else: move it away"},
		"a deaf tool":   {system, &memory{files: map[string][]byte{"/etc/os-release": []byte("ID=debian"), "/usr/sbin/update-ca-certificates": {}, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": []byte("\n")}}, "took no notice of the roots"},
	} {
		t.Run(name, func(t *testing.T) {
			before := maps.Clone(row.c.files)
			if row.c.files == nil {
				row.c.files = map[string][]byte{}
			}
			err := stores.Write(t.Context(), row.c, row.of, unit(1, one))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want %q", err, row.want)
			}
			for f, data := range before {
				if name != "a deaf tool" && string(row.c.files[f]) != string(data) {
					t.Errorf("%s was changed", f)
				}
			}
		})
	}
}

// TestNotOurs wants the manifest of another certwright to stop a write, and a later one of our own as well.
func TestNotOurs(t *testing.T) {
	one, of := certificate(t, "one"), spec.TrustStore{Kind: spec.SystemStore}
	c := images(t)["a tool"].make()
	theirs := unit(1, certificate(t, "theirs"))
	theirs.Mark.Project = "other"
	if err := stores.Write(t.Context(), c, of, theirs); err != nil {
		t.Fatal(err)
	}
	if err := stores.Write(t.Context(), c, of, unit(1, one)); !errors.Is(err, reconcile.ErrForeign) {
		t.Errorf("the error is %v, want ErrForeign", err)
	}
	if err := stores.Remove(t.Context(), c, of, mark(1)); err != nil || len(held(t, c, of)) != 1 {
		t.Errorf("what others put there is removed: %v", err)
	}
	u := unit(5, one)
	u.Adopt = true
	if err := stores.Write(t.Context(), c, of, u); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{one}, held(t, c, of)); diff != "" {
		t.Errorf("adopted (-want +got):\n%s", diff)
	}
	if err := stores.Write(t.Context(), c, of, unit(4, one)); !errors.Is(err, reconcile.ErrChanged) {
		t.Errorf("the error is %v, want ErrChanged", err)
	}
}

// TestForgedManifest wants a manifest that names what certwright never put anywhere to be none: nothing of that is touched.
func TestForgedManifest(t *testing.T) {
	of := spec.TrustStore{Kind: spec.SystemStore}
	for _, name := range []string{"../../etc/empty", "-rf", "certwright-../../../../etc/empty", "certwright-a\nb"} {
		c := images(t)["a tool"].make()
		c.files["/etc/empty.crt"] = []byte{}
		if err := stores.Write(t.Context(), c, of, unit(1, certificate(t, "one"))); err != nil {
			t.Fatal(err)
		}
		m := manifest{Mark: mark(1), Layout: "debian", Roots: []root{{Name: name, SHA256: fingerprint(nil)}}}
		if err := stores.note(t.Context(), c, of, m); err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(c.files)
		if err := stores.Remove(t.Context(), c, of, mark(1)); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, c.files); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
		if got := held(t, c, of); len(got) != 0 {
			t.Errorf("%q: it holds %d roots", name, len(got))
		}
	}
}
