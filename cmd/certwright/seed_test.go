package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/probe/load"
)

// TestSeed is the container-to-container scenario kept by certwright: nginx with mutual TLS, PostgreSQL with client
// certificates and a client of both, from an empty directory.
func TestSeed(t *testing.T) {
	s := dockertest.Seed(t, t.TempDir())
	c := command{t: t, dir: s.Dir}

	// The servers are started before there is a certificate: they end, and Docker starts them again.
	for _, id := range []string{s.DB.ID, s.Web.ID, s.Client.ID} {
		dockertest.Start(t, id)
	}
	c.want(exitDone, "apply", "--wait", "2m")
	d := c.status()
	for name, want := range map[string]string{"web": "Ready", "db": "Ready", "client": "Unverified"} {
		if got := d.binding(t, name); got.State != want {
			t.Errorf("%s is %s (%s), want %s", name, got.State, got.Reason, want)
		}
	}
	if !d.Converged {
		t.Error("not converged")
	}

	if code, out, err := s.CurlWithClient(t); code != 0 || !strings.Contains(out, `"client_cn": "api-client"`) || !strings.HasSuffix(out, "\n200") {
		t.Errorf("curl with the certificate: exit %d, %q %q", code, out, err)
	}
	if _, out, _ := s.CurlWithout(t); !strings.HasSuffix(out, "\n400") {
		t.Errorf("curl without a certificate: %q, want 400", out)
	}
	if code, out, err := s.Psql(t); code != 0 || out != "api-client\n" {
		t.Errorf("psql with the certificate: exit %d, %q %q", code, out, err)
	}
	if code, _, err := s.PsqlWithout(t); code == 0 || !strings.Contains(err, "certificate") {
		t.Errorf("psql without a certificate: exit %d, %q", code, err)
	}
	for range 3 {
		c.want(exitDone, "plan", "--exit-code")
	}
	c.want(exitDone, "verify")
	c.want(exitDone, "lint", "--exit-code")

	t.Run("renewals of nginx", func(t *testing.T) { renewals(t, c, s, "web", "tls", 260, 443) })
	// PostgreSQL starts a process for every connection: two processors are busy with less than thirty a second.
	t.Run("renewals of PostgreSQL", func(t *testing.T) { renewals(t, c, s, "db", "postgres", 20, 5432) })
}

// renewals rotates an identity again and again under load; no handshake may fail.
func renewals(t *testing.T, c command, s dockertest.SeedScenario, name, protocol string, rate, port int) {
	const times = 30
	id, server := s.Web.ID, "web-service"
	if name == "db" {
		id, server = s.DB.ID, "db-service"
	}
	address := net.JoinHostPort(dockertest.Address(t, id), map[int]string{443: "443", 5432: "5432"}[port])
	client := filepath.Join(s.Dir, "certs/client")
	pair, err := tls.LoadX509KeyPair(filepath.Join(client, "cert.pem"), filepath.Join(client, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(client, "ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("the client's ca.pem: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const clients = 2
	ledgers := make(chan load.Ledger, clients)
	for range clients {
		go func() {
			ledgers <- load.Run(ctx, load.Config{
				Dial: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", address)
				},
				Protocol: protocol, TLS: &tls.Config{ServerName: server, RootCAs: roots, Certificates: []tls.Certificate{pair}},
				User: "api-client", Database: "myapp", RatePerSecond: rate / clients, Clients: 8, Timeout: 10 * time.Second,
			})
		}()
	}
	seen := map[string]bool{}
	for range times {
		c.want(exitDone, "rotate", "identity/"+name)
		b := c.status().binding(t, name)
		if b.State != "Ready" || *b.Targets[0].ServedSerial != *b.Targets[0].WantedSerial || seen[*b.Targets[0].ServedSerial] {
			t.Fatalf("after a renewal: %+v", b)
		}
		seen[*b.Targets[0].ServedSerial] = true
	}
	stop()
	for range clients {
		l := <-ledgers
		sum := l.Total()
		t.Logf("%d renewals: %d handshakes, %d failed, %.0f a second from this client", times, sum.OK, sum.Failed, float64(sum.OK)/l.Took.Seconds())
		if sum.Failed > 0 || sum.OK == 0 {
			t.Errorf("handshakes failed: %s", l)
		}
	}
}
