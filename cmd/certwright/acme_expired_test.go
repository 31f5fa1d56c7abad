package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestACMEExpired has a certificate end while nobody watches: status says so, and the next watch enrols anew, with an order that
// says of nothing that it replaces it.
func TestACMEExpired(t *testing.T) {
	t.Parallel()
	s := offline(t)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := newPebble(pebble(t), s.dir, "-http", port, "-lifetime", "15")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.end)
	s.write("tls.yaml", fmt.Sprintf(`version: 1
project: short
cas:
  company: {acme: {directory: "%s", roots: roots.pem, http01: {listen: "127.0.0.1:%s"}}}
identities:
  web: {ca: company, names: [web.test, www.web.test]}
bindings:
  web: {identity: web, trust: [company], directory: ./certs}
`, server.Directory, port))
	s.want(exitDone, "apply")
	good(t, s.certs)
	first, before := placed(t, s.certs), tree(t, s.certs)
	dockertest.Poll(t, time.Minute, "the certificate to expire", func() error {
		if s.status().binding(t, "web").State != "Expired" {
			return errors.New("it has not")
		}
		return nil
	})
	s.says(s.want(exitDone, "status"), "Expired")
	s.says(s.want(exitPending, "plan", "--exit-code"), "issue web", " expired\n")
	if now := tree(t, s.certs); len(now) != len(before) {
		t.Error("what is placed has changed before anybody applied")
	}
	s.watch(func(string) error {
		if placed(t, s.certs) == first {
			return errors.New("it is still the old one")
		}
		return nil
	})
	good(t, s.certs)
	// Where the machine is slow, what it got is due as well before watch has ended.
	orders := server.orders(t)
	if len(orders) < 2 || orders[0] != "new" || orders[1] != "new" || slices.Contains(orders[2:], "new") {
		t.Errorf("the orders are %q, want a new one, a new one after it expired, and then none but renewals", orders)
	}
}
