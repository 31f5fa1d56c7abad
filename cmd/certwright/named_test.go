package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// namedServer is a BIND that runs, with the zone dns.test, in which somebody else has a challenge already.
type namedServer struct {
	Address string
	Key     string // the secret of the key acme, which may change TXT records, and of the key nobody, which may not
	end     func()
}

// newNamed starts one that has its files in a directory.
func newNamed(dir string) (namedServer, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	n := namedServer{Key: base64.StdEncoding.EncodeToString(raw)}
	port, err := freePort()
	if err != nil {
		return n, err
	}
	n.Address = "127.0.0.1:" + port
	for name, text := range map[string]string{
		"named.conf": fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; dnssec-validation no; recursion no;
	listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
};
controls { };
key acme { algorithm hmac-sha256; secret %q; };
key nobody { algorithm hmac-sha256; secret %[3]q; };
zone dns.test { type primary; file "dns.test.zone"; update-policy { grant acme subdomain dns.test. TXT; }; };
`, dir, port, n.Key),
		"dns.test.zone": `$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
  NS ns
ns A 127.0.0.1
_acme-challenge TXT "of somebody else"
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return n, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "named.log"))
	if err != nil {
		return n, err
	}
	cmd := exec.Command("named", "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return n, err
	}
	n.end = func() { _, _, _ = cmd.Process.Kill(), cmd.Wait(), log.Close() }
	for deadline := time.Now().Add(20 * time.Second); ; {
		found, err := n.texts("_acme-challenge.dns.test.")
		if err == nil && len(found) == 1 {
			return n, nil
		}
		if time.Now().After(deadline) {
			n.end()
			said, _ := os.ReadFile(log.Name())
			return n, fmt.Errorf("named does not answer: %v %q\n%s", err, found, said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// startNamed starts a server that ends with the script: named. NAME_SERVER says where it is, and KEY has the secret.
func startNamed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: named")
	}
	n, err := newNamed(ts.MkAbs("."))
	ts.Check(err)
	ts.Defer(n.end)
	ts.Setenv("NAME_SERVER", n.Address)
	ts.Setenv("KEY", n.Key)
}

// records wants a name to have exactly these TXT records: records NAME TEXT...
func records(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: records NAME TEXT...")
	}
	found, err := namedServer{Address: ts.Getenv("NAME_SERVER")}.texts(args[0])
	ts.Check(err)
	if !slices.Equal(found, args[1:]) {
		ts.Fatalf("%s has %q, want %q", args[0], found, args[1:])
	}
}

// texts asks for TXT records.
func (n namedServer) texts(name string) (found []string, err error) {
	client := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	r, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeTXT), n.Address)
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[r.Rcode])
	}
	for _, rr := range r.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			found = append(found, strings.Join(txt.Txt, ""))
		}
	}
	slices.Sort(found)
	return found, nil
}

// TestACMEUpdateKilled ends certwright after each update of the zone. Whatever that left there is gone after the next run.
func TestACMEUpdateKilled(t *testing.T) {
	dir := t.TempDir()
	name, err := newNamed(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer name.end()
	server, err := newPebble(pebble(t), dir, "-dns", name.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer server.end()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(name.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		t.Helper()
		found, err := name.texts("_acme-challenge.dns.test.")
		if err != nil {
			t.Fatal(err)
		}
		return len(found) - 1
	}
	for i, row := range []struct {
		word string
		n    int
		left int
	}{
		{"set a DNS record", 1, 1},
		{"set a DNS record", 2, 2},
		{"unset a DNS record", 1, 1},
		{"unset a DNS record", 2, 0},
	} {
		k := killed{t: t, dir: filepath.Join(dir, fmt.Sprint(i))}
		if err := os.Mkdir(k.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		k.write(fmt.Sprintf(`version: 1
project: shop
cas:
  dns:
    acme: {directory: "%s", roots: ../roots.pem, dns01: {rfc2136: {server: "%s", zone: dns.test, key: acme, secret: {file: ../key}}}}
identities:
  web: {ca: dns, names: [dns.test, "*.dns.test"]}
bindings:
  web: {identity: web, trust: [dns], directory: certs}
`, server.Directory, name.Address))
		if what := k.at(row.n, row.word); !strings.HasPrefix(what, row.word) {
			t.Fatalf("it ends at %q", what)
		}
		if n := left(); n != row.left {
			t.Errorf("%d values are left after the %d. %q, want %d", n, row.n, row.word, row.left)
		}
		k.run("apply")
		k.run("plan", "--exit-code")
		if n := left(); n != 0 {
			t.Errorf("%d values are left in the end, after the %d. %q", n, row.n, row.word)
		}
	}
	if orders := server.count(t, "/order-plz"); orders != 4 {
		t.Errorf("%d orders for 4 certificates", orders)
	}
}
