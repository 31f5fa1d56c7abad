// Pebble is Let's Encrypt's ACME server for tests, in a process that ends with its standard input, and with a DNS of its own.
// It listens on loopback alone. On its output it says, as JSON, where it is and where it is told what to do:
//
//	POST /dns?name=NAME&value=VALUE     adds a TXT record; DELETE takes all of a name away
//	GET  /count?path=PATH               how many requests to a path were answered well
//	POST /fail?path=PATH&times=N&…      has the next N requests to a path answered with status, type and retryAfter
//	POST /hold?path=PATH                has requests to a path wait for ever; DELETE lets them go
//	GET  /orders                        what each order was, in turn: new, or one that replaces a certificate
//	…                                   what Pebble's own management has, as /set-renewal-info/
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

var (
	httpPort   = flag.Int("http", 0, "the port that http-01 is looked for at")
	tlsPort    = flag.Int("tls", 0, "the port that tls-alpn-01 is looked for at")
	address    = flag.String("address", "127.0.0.1", "the address of every name")
	resolver   = flag.String("dns", "", "HOST:PORT of the name server that is asked, instead of its own")
	rootsFile  = flag.String("roots", "", "the file to write the roots of its certificates and of its own to")
	external   = flag.String("eab", "", "KEYID=KEY: only accounts bound to that one")
	block      = flag.String("block", "", "a name that is rejected")
	lifetime   = flag.Uint64("lifetime", 90*24*3600, "the life of its certificates in seconds")
	alternates = flag.Int("alternates", 0, "how many other roots its certificates lead to")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pebble:", err)
		os.Exit(1)
	}
}

func run() error {
	quiet := log.New(os.Stderr, "", 0)
	dnsAddress, err := freePort()
	if err != nil {
		return err
	}
	dns, err := challtestsrv.New(challtestsrv.Config{Log: quiet, DNSAddrs: []string{dnsAddress}})
	if err != nil {
		return err
	}
	dns.SetDefaultDNSIPv4(*address)
	dns.SetDefaultDNSIPv6("")
	dns.Run()

	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", *alternates, 1, map[string]ca.Profile{"default": {ValidityPeriod: *lifetime}})
	if id, key, ok := strings.Cut(*external, "="); ok {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return err
		}
	}
	if *block != "" {
		if err := store.AddBlockedDomain(*block); err != nil {
			return err
		}
	}
	if *resolver != "" {
		dnsAddress = *resolver
	}
	validation := va.New(quiet, *httpPort, *tlsPort, true, dnsAddress, store)
	front := wfe.New(quiet, store, validation, authority, nil, true, *external != "", 1, 1)

	root, certificate, err := ownCertificate()
	if err != nil {
		return err
	}
	roots := root
	for i := range authority.GetNumberOfRootCerts() {
		roots = append(roots, authority.GetRootCert(i).PEM()...)
	}
	if err := os.WriteFile(*rootsFile, roots, 0o644); err != nil {
		return err
	}
	g := &gate{next: front.Handler(), count: map[string]int{}, fail: map[string]failure{}, hold: map[string]chan struct{}{}}
	server, err := listen()
	if err != nil {
		return err
	}
	control, err := listen()
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(tls.NewListener(server, &tls.Config{Certificates: []tls.Certificate{certificate}}), g)
	}()
	go func() { _ = http.Serve(control, controls(g, dns, front.ManagementHandler())) }()
	said := map[string]string{"directory": "https://" + server.Addr().String() + wfe.DirectoryPath, "control": "http://" + control.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func freePort() (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// failure is what the next requests to a path are answered with.
type failure struct {
	times, status  int
	kind, patience string
}

// gate stands before the server: it counts, fails and holds requests.
type gate struct {
	next  http.Handler
	mu    sync.Mutex
	count map[string]int
	fail  map[string]failure
	hold  map[string]chan struct{}

	orders []string
}

// first is the first part of a path: what follows is the id of something.
func first(path string) string { return "/" + strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2)[0] }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := first(r.URL.Path)
	g.mu.Lock()
	f, held := g.fail[path], g.hold[path]
	if f.times > 0 {
		f.times--
		g.fail[path] = f
		g.mu.Unlock()
		w.Header().Set("Content-Type", "application/problem+json")
		if f.patience != "" {
			w.Header().Set("Retry-After", f.patience)
		}
		w.WriteHeader(f.status)
		fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"said so by the test","status":%d}`, f.kind, f.status)
		return
	}
	g.mu.Unlock()
	order := ""
	if path == "/order-plz" {
		order = kindOf(r)
	}
	answer := &status{ResponseWriter: w}
	g.next.ServeHTTP(answer, r)
	if answer.code < 300 {
		g.mu.Lock()
		g.count[path]++
		if order != "" {
			g.orders = append(g.orders, order)
		}
		g.mu.Unlock()
	}
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
}

// kindOf tells of an order whether it names what it replaces, and leaves the request as it was.
func kindOf(r *http.Request) string {
	data, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(data))
	var signed struct{ Payload string }
	if err != nil || json.Unmarshal(data, &signed) != nil {
		return "new"
	}
	payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	if strings.Contains(string(payload), `"replaces"`) {
		return "replaces"
	}
	return "new"
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func controls(g *gate, dns *challtestsrv.ChallSrv, management http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dns", func(_ http.ResponseWriter, r *http.Request) {
		dns.AddDNSTXTRecord(r.FormValue("name"), r.FormValue("value"))
	})
	mux.HandleFunc("DELETE /dns", func(_ http.ResponseWriter, r *http.Request) { dns.DeleteDNSTXTRecord(r.FormValue("name")) })
	mux.HandleFunc("GET /dns", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, len(dns.GetDNSTXTRecords(r.FormValue("name"))))
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		fmt.Fprintln(w, g.count[r.FormValue("path")])
	})
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, _ *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		fmt.Fprintln(w, strings.Join(g.orders, " "))
	})
	mux.HandleFunc("POST /fail", func(_ http.ResponseWriter, r *http.Request) {
		f := failure{kind: r.FormValue("type"), patience: r.FormValue("retryAfter")}
		f.times, _ = strconv.Atoi(r.FormValue("times"))
		f.status, _ = strconv.Atoi(r.FormValue("status"))
		g.mu.Lock()
		defer g.mu.Unlock()
		g.fail[r.FormValue("path")] = f
	})
	mux.HandleFunc("POST /hold", func(_ http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.hold[r.FormValue("path")] = make(chan struct{})
	})
	mux.HandleFunc("DELETE /hold", func(_ http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if held := g.hold[r.FormValue("path")]; held != nil {
			close(held)
			delete(g.hold, r.FormValue("path"))
		}
	})
	mux.Handle("/", management)
	return mux
}

// ownCertificate is what the server itself is known by: a root, and a certificate of it for loopback.
func ownCertificate() (root []byte, own tls.Certificate, err error) {
	sign := func(t, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if by == nil {
			by = key
		}
		t.NotBefore, t.NotAfter, t.BasicConstraintsValid = time.Now().Add(-time.Hour), time.Now().AddDate(10, 0, 0), true
		der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
		return der, key, err
	}
	r := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pebble's own root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, rootKey, err := sign(r, r, nil)
	if err != nil {
		return nil, own, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, key, err := sign(leaf, r, rootKey)
	if err != nil {
		return nil, own, err
	}
	own = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), own, nil
}
