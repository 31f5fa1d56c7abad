package load_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/probe/load"
	"github.com/certwright/certwright/providers/probe/zoo"
	"github.com/google/go-cmp/cmp"
)

// run loads an address for a while.
func run(t *testing.T, address string, c load.Config, d time.Duration) load.Ledger {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	c.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }
	c.Timeout = 10 * time.Second
	l := load.Run(ctx, c)
	t.Logf("%.0f a second: %s", float64(l.Total().OK+l.Total().Failed)/l.Took.Seconds(), l)
	return l
}

// TestRun renews a server's certificate under load, with one that the clients trust and then one they do not.
func TestRun(t *testing.T) {
	root := zoo.Root(t, "Root")
	first, second, stranger := root.Leaf(t, "web"), root.Leaf(t, "web"), zoo.Root(t, "Stranger").Leaf(t, "web")
	var serves atomic.Pointer[tls.Certificate]
	swap := func(c zoo.Cert) { pair := c.TLS(); serves.Store(&pair) }
	swap(first)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.Pool(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serves.Load(), nil },
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	config := load.Config{
		Protocol: "tls", RatePerSecond: 400, Clients: 8,
		TLS: &tls.Config{ServerName: "web", RootCAs: root.Pool(), Certificates: []tls.Certificate{root.Leaf(t, "app").TLS()}},
	}

	time.AfterFunc(time.Second, func() { swap(second) })
	var told atomic.Int64
	config.Each = func(try load.Try) {
		if serial := hex.EncodeToString(try.Leaf.SerialNumber.Bytes()); try.Err == nil && try.Ended.After(try.Began) && (serial == first.Serial() || serial == second.Serial()) {
			told.Add(1)
		}
	}
	l := run(t, server.Listener.Addr().String(), config, 2*time.Second)
	config.Each = nil
	if told := int(told.Load()); told != l.Total().OK {
		t.Errorf("%d were told: %s", told, l)
	}
	if l.Total().Failed != 0 {
		t.Errorf("want none failed: %s", l)
	}
	if l.Serials[first.Serial()].OK == 0 || l.Serials[second.Serial()].OK == 0 || len(l.Serials) != 2 {
		t.Errorf("want both certificates seen: %s", l)
	}

	swap(stranger)
	l = run(t, server.Listener.Addr().String(), config, 200*time.Millisecond)
	if sum := l.Total(); sum.OK != 0 || sum.Failed == 0 {
		t.Errorf("want all failed: %s", l)
	}
	if want := "tls: failed to verify certificate: x509: certificate signed by unknown authority"; len(l.Errors) != 1 || l.Errors[want] == 0 {
		t.Errorf("want %q: %s", want, l)
	}

	swap(second)
	config.TLS.Certificates = nil
	l = run(t, server.Listener.Addr().String(), config, 200*time.Millisecond)
	failed := l.Total().Failed
	want := map[string]load.Count{second.Serial(): {Failed: failed}}
	if d := cmp.Diff(want, l.Serials); d != "" || failed == 0 {
		t.Errorf("a client without a certificate (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]int{"the server sent the alert: certificate required": failed}, l.Errors); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestRate asks for 220 full handshakes a second, each verified, client and server in one process: the rate is a
// ceiling, and how near a machine comes to it is in the log.
func TestRate(t *testing.T) {
	root := zoo.Root(t, "Root")
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{root.Leaf(t, "web").TLS()}}
	server.StartTLS()
	t.Cleanup(server.Close)
	config := load.Config{Protocol: "tls", RatePerSecond: 220, Clients: 16, TLS: &tls.Config{ServerName: "web", RootCAs: root.Pool()}}
	l := run(t, server.Listener.Addr().String(), config, time.Second)
	sum := l.Total()
	if sum.Failed > 0 {
		t.Fatalf("want none failed: %s", l)
	}
	rate := float64(sum.OK) / l.Took.Seconds()
	t.Logf("%.0f a second", rate)
	if rate > 230 || sum.OK == 0 {
		t.Errorf("%.0f a second, want as many as asked for at most, and some", rate)
	}
}

// TestDown loads a port where nothing listens.
func TestDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	ledger := run(t, l.Addr().String(), load.Config{Protocol: "tls", TLS: &tls.Config{ServerName: "web"}, RatePerSecond: 100, Clients: 2}, 100*time.Millisecond)
	failed := ledger.Total().Failed
	want := map[string]int{"connection refused: nothing listens there": failed}
	if d := cmp.Diff(want, ledger.Errors); d != "" || failed == 0 {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestPostgres loads a real PostgreSQL with clients it knows by their certificates.
func TestPostgres(t *testing.T) {
	root := zoo.Root(t, "Root")
	db := root.Leaf(t, "db")
	address := zoo.Postgres(t, db, root, "hostssl all app 127.0.0.1/32 cert")
	config := load.Config{
		Protocol: "postgres", User: "app", Database: "postgres", RatePerSecond: 50, Clients: 4,
		TLS: &tls.Config{ServerName: "db", RootCAs: root.Pool(), Certificates: []tls.Certificate{root.Leaf(t, "app").TLS()}},
	}
	l := run(t, address, config, time.Second)
	if sum := l.Total(); sum.Failed != 0 || sum.OK < 10 || l.Serials[db.Serial()].OK != sum.OK {
		t.Errorf("want none failed: %s", l)
	}
	config.TLS.Certificates = nil
	l = run(t, address, config, 200*time.Millisecond)
	failed := l.Total().Failed
	want := map[string]int{"the server answered error 28000: connection requires a valid client certificate": failed}
	if d := cmp.Diff(want, l.Errors); d != "" || failed == 0 || l.Total().OK != 0 {
		t.Errorf("-want +got:\n%s", d)
	}
}
