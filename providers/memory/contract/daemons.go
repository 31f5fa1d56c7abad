package contract

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Dockerd is an implementation of reconcile.Daemons under test, with a dockerd that runs without TLS, and what is around it.
type Dockerd struct {
	reconcile.Daemons
	Places   reconcile.Places       // of its machine
	Around   func(reconcile.Around) // has it put around all effects from here on
	Restarts func() int
	Back     func() // the time has come at which its machine goes back by itself, if it does
}

// dockerd is one with what one test needs of it.
type dockerd struct {
	*testing.T
	Dockerd
	a, b reconcile.DaemonConfig // with files that dockerd starts with
}

// DaemonsContract tests an implementation of reconcile.Daemons.
func DaemonsContract(t *testing.T, under Dockerd) {
	d := dockerd{T: t, Dockerd: under}
	d.a, d.b = d.config("a"), d.config("b")
	for _, tt := range []struct {
		name string
		test func(dockerd)
	}{
		{"files that are no pair are found out before", unusable},
		{"what is proved is kept", proved},
		{"what is not proved is taken back", refused},
		{"what was cut off and is proved is kept", settled},
		{"what was cut off is taken back by its machine", backByItself},
		{"what was cut off before the restart is taken back without one", backUnread},
		{"what was cut off is done again, and leads back to the first", onceMore},
	} {
		if !t.Run(tt.name, func(t *testing.T) { tt.test(dockerd{t, d.Dockerd, d.a, d.b}) }) {
			return // the next begins with what this one left
		}
	}
}

// config places a pair, and is what dockerd is configured as with it.
func (d dockerd) config(slot string) reconcile.DaemonConfig {
	d.Helper()
	cert, key := selfSigned(d.T)
	at := reconcile.Location{Host: spec.LocalHost, Dir: path.Join(path.Dir(d.state().File), "tls"), Sub: slot}
	u := places{d.T, d.Places, at}.unit(spec.Atomic, map[string]string{"ca.pem": cert, "cert.pem": cert, "key.pem": key})
	if err := errors.Join(d.Places.Write(d.Context(), []reconcile.Unit{u})...); err != nil {
		d.Fatal(err)
	}
	dir := path.Join(at.Dir, slot)
	return reconcile.DaemonConfig{
		Hosts: []string{"unix:///run/docker.sock", "tcp://127.0.0.1:2376"},
		TLS:   reconcile.DaemonTLS{Verify: true, CA: path.Join(dir, "ca.pem"), Cert: path.Join(dir, "cert.pem"), Key: path.Join(dir, "key.pem")},
	}
}

// selfSigned is a certificate that is its own CA, and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "engine"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	p8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	encoded := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return encoded("CERTIFICATE", der), encoded("PRIVATE KEY", p8)
}

func (d dockerd) state() reconcile.DaemonState {
	d.Helper()
	s := d.Daemon(d.Context(), spec.LocalHost)
	if s.Err+s.FileErr != "" {
		d.Fatalf("it is not known how it is configured: %s%s", s.Err, s.FileErr)
	}
	return s
}

// change reconfigures it, with a proof that says so.
func (d dockerd) change(c reconcile.DaemonConfig, says error) error {
	d.Helper()
	return d.Reconfigure(d.Context(), spec.LocalHost, c, func(context.Context) error {
		if s := d.state(); !s.Active || !s.Unfinished || s.TLS != c.TLS {
			d.Errorf("it is to be proved while it is %+v", s)
		}
		return says
	})
}

var errDead = errors.New("certwright is dead")

// cut reconfigures it in a process that ends before an effect with a word in its name, or when it is to be proved.
func (d dockerd) cut(c reconcile.DaemonConfig, word string) {
	d.Helper()
	dead := false
	d.Around(func(what string, do func() error) error {
		if dead = dead || word != "" && strings.Contains(what, word); dead {
			return errDead
		}
		return do()
	})
	defer d.Around(nil)
	err := d.Reconfigure(d.Context(), spec.LocalHost, c, func(context.Context) error { dead = true; return errDead })
	if !dead || !errors.Is(err, errDead) {
		d.Fatalf("it is not cut off: %v", err)
	}
}

// is wants it to run as configured, with nothing unfinished, after so many restarts more.
func (d dockerd) is(when string, c reconcile.DaemonConfig, restarts, more int) {
	d.Helper()
	s := d.state()
	if !s.Active || s.Unfinished || s.TLS != c.TLS || !cmp.Equal(s.Hosts.Values, c.Hosts) {
		d.Errorf("%s: it is %+v, and not configured as %+v", when, s, c)
	}
	if n := d.Restarts() - restarts; n != more {
		d.Errorf("%s: %d restarts, want %d", when, n, more)
	}
}

// unfinished wants it to say what it was cut off from.
func (d dockerd) unfinished(from, to reconcile.DaemonConfig, unread bool) {
	d.Helper()
	s := d.state()
	if !s.Unfinished || s.Unread != unread || s.TLS != to.TLS || s.Before.TLS != from.TLS || !cmp.Equal(s.Before.Hosts, from.Hosts) {
		d.Errorf("it was cut off, and says %+v", s)
	}
}

func unusable(d dockerd) {
	before, restarts := d.state(), d.Restarts()
	c := d.a
	c.TLS.Key = d.b.TLS.Key
	err := d.Reconfigure(d.Context(), spec.LocalHost, c, func(context.Context) error { d.Error("it is proved"); return nil })
	if !errors.Is(err, reconcile.ErrUntouched) {
		d.Errorf("a key of another certificate: %v", err)
	}
	c.TLS.Key = path.Join(path.Dir(c.TLS.Key), "none.pem")
	err = d.Reconfigure(d.Context(), spec.LocalHost, c, func(context.Context) error { d.Error("it is proved"); return nil })
	if !errors.Is(err, reconcile.ErrUntouched) {
		d.Errorf("a key that is not there: %v", err)
	}
	if diff := cmp.Diff(before, d.state()); diff != "" || d.Restarts() != restarts {
		d.Errorf("%d restarts, -before +after\n%s", d.Restarts()-restarts, diff)
	}
}

func proved(d dockerd) {
	restarts := d.Restarts()
	if err := d.change(d.a, nil); err != nil {
		d.Fatal(err)
	}
	d.is("proved", d.a, restarts, 1)
	d.Back()
	d.is("later", d.a, restarts, 1)
	if err := d.Settle(d.Context(), spec.LocalHost); err != nil {
		d.Errorf("settle what is: %v", err)
	}
	d.is("settled", d.a, restarts, 1)
}

func refused(d dockerd) {
	restarts, no := d.Restarts(), errors.New("it shows another one")
	if err := d.change(d.b, no); !errors.Is(err, no) || errors.Is(err, reconcile.ErrUntouched) {
		d.Errorf("not proved: %v", err)
	}
	d.is("taken back", d.a, restarts, 2)
	d.Back()
	d.is("later", d.a, restarts, 2)
}

func settled(d dockerd) {
	restarts := d.Restarts()
	d.cut(d.b, "")
	d.unfinished(d.a, d.b, false)
	for range 2 {
		if err := d.Settle(d.Context(), spec.LocalHost); err != nil {
			d.Error(err)
		}
		d.is("settled", d.b, restarts, 1)
	}
	d.Back()
	d.is("later", d.b, restarts, 1)
}

func backByItself(d dockerd) {
	restarts := d.Restarts()
	d.cut(d.a, "")
	d.unfinished(d.b, d.a, false)
	d.Back()
	d.is("by itself", d.b, restarts, 2)
}

func backUnread(d dockerd) {
	restarts := d.Restarts()
	d.cut(d.a, "restart")
	d.unfinished(d.b, d.a, true)
	d.Back()
	d.is("by itself", d.b, restarts, 0)
}

func onceMore(d dockerd) {
	restarts := d.Restarts()
	d.cut(d.a, "")
	d.cut(d.a, "")
	d.unfinished(d.b, d.a, false)
	no := errors.New("it shows another one")
	if err := d.change(d.a, no); !errors.Is(err, no) {
		d.Errorf("not proved: %v", err)
	}
	d.is("taken back", d.b, restarts, 4)
}
