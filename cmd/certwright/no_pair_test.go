package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestServersChecks has the commands with which servers check their configuration look at a certificate and the key of another.
// Of those that end or break on it none sees it: there is nothing to ask before they are made to load it. nginx's own does, which
// nginx asks itself.
func TestServersChecks(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.write("tls.yaml", `version: 1
project: scene
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web.test]}
  other: {ca: internal, names: [web.test]}
bindings:
  web: {identity: web, directory: ./certs, layout: plain}
  other: {identity: other, directory: ./others, layout: plain}
`)
	s.want(exitDone, "apply")
	if err := os.Rename(filepath.Join(s.dir, "others/key.pem"), filepath.Join(s.certs, "key.pem")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		check []string
		sees  string // "" where it does not
	}{
		"httpd":    {[]string{"httpd", "-t", "-f", "/usr/local/apache2/conf/httpd.conf"}, ""},
		"dovecot":  {[]string{"doveconf", "-n"}, ""},
		"openldap": {[]string{"sh", "-c", "slapadd -n 0 -F /etc/ldap/slapd.d -l /etc/ldap/config.ldif && exec slapd -Ttest -u -F /etc/ldap/slapd.d"}, ""},
		"nginx":    {[]string{"nginx", "-t"}, "key values mismatch"},
	} {
		server := presetServers[name]
		mounts := []mount.Mount{bindMount(s.certs, "/certs")}
		if server.at != "" {
			s.write(name, server.file)
			mounts = append(mounts, bindMount(filepath.Join(s.dir, name), server.at))
		}
		idle := dockertest.Run(t, dockertest.Container{
			Name: name, Image: dockertest.Image(t, server.kind), Entrypoint: []string{"sleep", "300"}, Mounts: mounts, Start: true,
		})
		exit, out, errs := dockertest.Exec(t, idle.ID, c.check...)
		if said := out + errs; (exit != 0) != (c.sees != "") || !strings.Contains(said, c.sees) {
			t.Errorf("%s: exit %d, want it to see %q:\n%s", name, exit, c.sees, said)
		}
	}
}
