package memory_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, next: 2}
	a.cert, a.key = sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
	}, nil, nil)
	return a
}

// under makes a an intermediate of another.
func (a *authority) under(root *authority) *authority {
	root.next++
	a.cert, a.key = sign(a.t, &x509.Certificate{
		SerialNumber: big.NewInt(root.next), Subject: a.cert.Subject, IsCA: true, BasicConstraintsValid: true,
	}, root.cert, root.key)
	return a
}

func (a *authority) issue(name string) *reconcile.Issued {
	a.next++
	c, key := sign(a.t, &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &reconcile.Issued{
		Serial: hex.EncodeToString(c.SerialNumber.Bytes()), Certificate: c.Raw, Root: a.cert.Raw, Key: reconcile.NewPrivateKey(der),
	}
}

func sign(t *testing.T, c, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	if by == nil {
		by, byKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

func pemOf(label string, ders ...[]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
	}
	return b.Bytes()
}

// scene is a world with one place, /srv/web, in the inventory of a committed state.
type scene struct {
	*memory.World
	t  *testing.T
	at reconcile.Location
}

var mark = reconcile.Mark{Installation: "1f0c9a3e", Project: "shop", Binding: "web"}

func newScene(t *testing.T) scene {
	s := scene{newWorld(), t, reconcile.Location{Host: "local", Dir: "/srv/web"}}
	s.commit(reconcile.State{
		Installation: mark.Installation, Project: mark.Project,
		Places: map[reconcile.Location]reconcile.PlaceRow{s.at: {Binding: "web"}},
	})
	return s
}

func (s scene) commit(st reconcile.State) {
	s.t.Helper()
	if err := s.Commit(s.t.Context(), st); err != nil {
		s.t.Fatal(err)
	}
}

func (s scene) unit(id *reconcile.Issued, layout spec.Layout) reconcile.Unit {
	u := reconcile.Unit{At: s.at, Mark: mark, Layout: layout, Now: now}
	for name, data := range map[string][]byte{
		"cert.pem": pemOf("CERTIFICATE", id.Certificate),
		"key.pem":  pemOf("PRIVATE KEY", id.Key.PKCS8()),
		"ca.pem":   pemOf("CERTIFICATE", id.Root),
	} {
		u.Files = append(u.Files, reconcile.UnitFile{Name: name, Data: data, Mode: 0o600})
	}
	return u
}

func (s scene) place(id *reconcile.Issued, layout spec.Layout) {
	s.t.Helper()
	if errs := s.Write(s.t.Context(), []reconcile.Unit{s.unit(id, layout)}); errs[0] != nil {
		s.t.Fatal(errs[0])
	}
}

// run starts a container that serves what is in /srv/web.
func (s scene) run(b memory.Behaviour, change ...func(*memory.Container)) string {
	c := memory.Container{
		Container: reconcile.Container{
			Name:   "web",
			Mounts: []reconcile.Mount{{Type: "bind", Source: "/srv/web", Destination: "/certs"}},
		},
		Server: &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: b},
		Bound:  true,
	}
	for _, f := range change {
		f(&c)
	}
	return s.Run(c)
}

func (s scene) reload(id string, how spec.Reload) error {
	return s.Reload(s.t.Context(), reconcile.Target{Host: "local", Kind: "container", Name: "web", ID: id}, how, reconcile.ReloadEnv{})
}

func (s scene) probe(id string, change ...func(*reconcile.ProbeRequest)) reconcile.Served {
	r := reconcile.ProbeRequest{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return s.Dial(ctx, reconcile.Container{Host: "local", ID: id}, 443, false)
		},
		Now: now,
	}
	for _, f := range change {
		f(&r)
	}
	return s.Probe(s.t.Context(), r)
}

func (s scene) serves(id string, want *reconcile.Issued) {
	s.t.Helper()
	got := s.probe(id)
	if want == nil && got.Err == "" {
		s.t.Errorf("it serves %s, and should not answer", got.Serial)
	}
	if want != nil && got.Serial != want.Serial {
		s.t.Errorf("it serves %q (error %q), want %q", got.Serial, got.Err, want.Serial)
	}
}

func (s scene) intact() {
	s.t.Helper()
	if err := s.Check(); err != nil {
		s.t.Error(err)
	}
}
