package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/servertest"
)

// issuing is another client of a CA, whose files certwright distributes while watch runs.
type issuing struct {
	*forger
	w *watched
}

// next is a certificate with its intermediate, and the key.
func (i issuing) next() (fullchain, key []byte) {
	t := i.t
	t.Helper()
	leaf := servertest.Issue(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "web"}, DNSNames: []string{"web.test", "www.web.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: time.Now().Add(month),
	}, &i.middle)
	learnKey(leaf.Key)
	return chainPEM(leaf.Certificate, i.middle.Certificate), leaf.KeyPEM(t)
}

// write writes a file as a shell does, into the one that is there.
func (i issuing) write(name string, data []byte) {
	i.t.Helper()
	path := filepath.Join(i.w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		i.t.Fatal(err)
	}
}

// link leads a name somewhere else, as certbot does.
func (i issuing) link(name, to string) {
	i.t.Helper()
	path := filepath.Join(i.w.dir, name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		i.t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(to, path)); err != nil {
		i.t.Fatal(err)
	}
}

// certbot writes a new version beside the old ones, and then leads each name to it.
func certbot(i issuing, version int) (steps []func()) {
	fullchain, key := i.next()
	steps = append(steps, func() {
		i.write(fmt.Sprintf("archive/web/privkey%d.pem", version), key)
		i.write(fmt.Sprintf("archive/web/fullchain%d.pem", version), fullchain)
		i.link("live/web/privkey.pem", fmt.Sprintf("../../archive/web/privkey%d.pem", version))
	}, func() {
		i.link("live/web/fullchain.pem", fmt.Sprintf("../../archive/web/fullchain%d.pem", version))
	})
	return steps
}

// acmeSh writes each file over the one there is, the key before the certificate.
func acmeSh(i issuing, _ int) []func() {
	fullchain, key := i.next()
	return []func(){
		func() { i.write("live/web/privkey.pem", key) },
		func() { i.write("live/web/fullchain.pem", fullchain[:100]) },
		func() { i.write("live/web/fullchain.pem", []byte(inChain(fullchain)[0])) },
		func() { i.write("live/web/fullchain.pem", fullchain) },
	}
}

// TestFromRenewed watches files that certbot and acme.sh renew: a pair of which half is new is not distributed, and the whole one
// is at once, while the interval is an hour.
func TestFromRenewed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		renew func(i issuing, version int) []func()
		half  []string // what is said of it after each step but the last
	}{
		"certbot": {certbot, []string{"is not the key of the first certificate in"}},
		"acme.sh": {acmeSh, []string{"is not the key of the first certificate in", "is truncated or damaged", "does not lead to a root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := issuing{newForger(t), newWatch(t, `version: 1
project: shop
identities:
  web: {from: {certificate: live/web/fullchain.pem, key: live/web/privkey.pem, ca: root.pem}}
bindings:
  web: {identity: web, directory: ./certs}
`, "--interval", "1h", "--verbose")}
			w, certs := i.w, filepath.Join(i.w.dir, "certs")
			w.cmd.Env = append(w.cmd.Env, "DOCKER_HOST=unix://"+filepath.Join(w.dir, "none"))
			i.write("root.pem", i.root.PEM())
			for _, step := range c.renew(i, 1) {
				step()
			}
			w.start()
			w.placed("certs/key.pem")
			w.says(0, `"state":"Unverified"`)
			for version := 2; version <= 4; version++ {
				before, old := tree(t, certs), placed(t, certs)
				steps := c.renew(i, version)
				for n, step := range steps[:len(steps)-1] {
					from := len(w.text())
					step()
					w.says(from, c.half[n])
					if diff := cmp.Diff(before, tree(t, certs)); diff != "" {
						t.Errorf("half of a pair is distributed:\n%s", diff)
					}
				}
				from := len(w.text())
				steps[len(steps)-1]()
				dockertest.Poll(t, time.Minute, "the next certificate", func() error {
					if placed(t, certs) == old {
						return errors.New("it is still the old one")
					}
					return nil
				})
				w.says(from, `"state":"Unverified"`)
				good(t, certs)
			}
			w.end()
		})
	}
}
