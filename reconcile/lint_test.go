package reconcile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// lintYAML has nothing to be found in.
const lintYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web, web.front]}
  db: {ca: internal, names: [db, db.back]}
  joe: {ca: internal, usages: [client]}
bindings:
  web:
    identity: web
    container: {compose: shop/web}
    directory: /srv/web
    reload: [nginx, restart]
    probe: {port: 443, clientAuth: required}
  db:
    identity: db
    container: db
    volume: db-certs
    reload: postgres
    probe: {port: 5432, protocol: postgres, clientAuth: required}
  joe:
    identity: joe
    container: joe
    path: /certs
    reload: none
`

// set is a set-up to be looked over.
type set struct {
	t    *testing.T
	yaml string
	w    reconcile.World
}

// cleanSet is what lintYAML is about, as it runs.
func cleanSet(t *testing.T) *set {
	compose := func(service string) map[string]string {
		return map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": service, "com.docker.compose.container-number": "1"}
	}
	mount := func(kind, name, source, at string) []reconcile.Mount {
		return []reconcile.Mount{{Type: kind, Name: name, Source: source, Destination: at}}
	}
	return &set{t: t, yaml: lintYAML, w: reconcile.World{
		Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Engines: map[string]reconcile.EngineState{"local": {Containers: []reconcile.Container{
			{
				ID: "1", Name: "shop-web-1", Image: "nginx:1.27", Command: "nginx -g 'daemon off;'", State: "running", Labels: compose("web"),
				Addresses: []string{"172.18.0.2"}, Published: map[int]string{443: "127.0.0.1:443"}, Mounts: mount("bind", "", "/srv/web", "/etc/nginx/certs"),
			},
			{
				ID: "2", Name: "db", Image: "docker.io/library/postgres:16", Command: "docker-entrypoint.sh postgres -c ssl=on", State: "running",
				Addresses: []string{"172.19.0.2"}, Mounts: mount("volume", "db-certs", "", "/certs"),
			},
			{ID: "3", Name: "joe", Image: "curl", State: "running", Addresses: []string{"172.19.0.3"}, Mounts: mount("bind", "", "/srv/joe", "/certs")},
		}, Volumes: []reconcile.Volume{{Name: "db-certs"}}}},
		Networks: map[string][]reconcile.Network{
			"1": {{Name: "front", Aliases: []string{"shop-web-1", "web"}}}, "2": {{Name: "back", Aliases: []string{"db"}}}, "3": {{Name: "back"}},
		},
		Owners:   map[string]reconcile.Owner{"1/": {}, "2/postgres": {UID: 999, GID: 999}, "3/": {UID: 1000, GID: 1000}},
		KeyFiles: []reconcile.KeyFile{{Path: "/srv/.certwright", What: "the store", Mode: 0o700}}, Here: map[string]bool{"local": true},
		Places: map[reconcile.Location]reconcile.PlaceState{}, Served: map[string]reconcile.Served{},
		From: map[string]reconcile.FromState{}, Swarms: map[string]reconcile.Swarm{},
	}}
}

// edit replaces pieces of the spec: old, new, old, new, …
func (s *set) edit(pieces ...string) {
	s.t.Helper()
	for i := 0; i < len(pieces); i += 2 {
		if !strings.Contains(s.yaml, pieces[i]) {
			s.t.Fatalf("the spec has no %q", pieces[i])
		}
		s.yaml = strings.Replace(s.yaml, pieces[i], pieces[i+1], 1)
	}
}

// container is one of the world, by its number.
func (s *set) container(n int) *reconcile.Container { return &s.w.Engines["local"].Containers[n-1] }

// web has the binding of web come last, so that more can be said of it.
func (s *set) service(name, stack string, secrets ...reconcile.SecretRef) {
	s.w.Swarms["local"] = reconcile.Swarm{
		Services: []reconcile.Service{{ID: "s", Name: name, Stack: stack, Secrets: secrets}},
		Tasks:    []reconcile.Task{{ID: "t", Service: "s", Running: true, Secrets: secrets}},
	}
	c := s.container(1)
	c.Name = name + ".1.t"
	c.Labels = map[string]string{"com.docker.swarm.task.id": "t", "com.docker.swarm.service.name": name}
	s.w.Networks["1"] = []reconcile.Network{{Name: "front"}}
	s.edit("container: {compose: shop/web}\n    directory: /srv/web\n    reload: [nginx, restart]", "service: "+name+"\n    secret: {mode: \"0400\"}")
}

// from has web come from something else.
func (s *set) from(edit func(*x509.Certificate), key any, parent *x509.Certificate) {
	s.t.Helper()
	s.edit("web: {ca: internal, names: [web, web.front]}", "web: {from: {certificate: c.pem, key: k.pem, ca: ca.pem}}")
	s.w.From["web"] = reconcile.FromState{Issued: reconcile.Issued{Certificate: selfMade(s.t, edit, key, parent)}}
}

// selfMade is a certificate of any kind.
func selfMade(t *testing.T, edit func(*x509.Certificate), key any, parent *x509.Certificate) []byte {
	t.Helper()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "web"}, DNSNames: []string{"web", "web.front"},
		NotBefore: now, NotAfter: now.Add(60 * 24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(c)
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}}
	}
	if key == nil {
		key = signer.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func smallRSA(t *testing.T) any {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

func p224(t *testing.T) any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

// found is all that is found.
func (s *set) found() string {
	s.t.Helper()
	parsed, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(s.yaml)}}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	for _, w := range parsed.Warnings {
		fmt.Fprintf(&b, "%s: %s\n", w.Path, w.Msg)
	}
	for _, f := range reconcile.Lint(parsed, s.w) {
		fmt.Fprintf(&b, "%s: %s\n", f.Subject, f.Reason)
		if f.Hint == "" {
			s.t.Errorf("%s: nothing is said to do", f.Reason)
		}
	}
	return b.String()
}

// TestLintClean has set-ups with nothing to be found in.
func TestLintClean(t *testing.T) {
	for name, do := range map[string]func(s *set){
		"all of it":     func(*set) {},
		"no engine":     func(s *set) { s.w.Engines, s.w.Networks = nil, nil },
		"a wildcard":    func(s *set) { s.edit("[web, web.front]", "[web, \"*.front\"]") },
		"more networks": func(s *set) { s.w.Networks["2"] = append(s.w.Networks["2"], reconcile.Network{Name: "shop_default"}) },
		"the machine's names": func(s *set) {
			s.edit("[web, web.front]", "[web, web.front, host-7, www.example.com, localhost, 127.0.0.1]")
		},
		"clients of an intermediate": func(s *set) {
			s.edit("cas:", "cas:\n  below: {local: {parent: internal}}", "joe: {ca: internal,", "joe: {ca: below,")
		},
		"from something else": func(s *set) {
			s.from(nil, nil, nil)
			s.w.Now = s.w.Now.AddDate(0, 0, 20) // two thirds of its life are over
		},
		"a service of a Swarm": func(s *set) {
			s.service("api", "")
			s.edit("[web, web.front]", "[api, api.front, tasks.api]")
		},
		"a service of a stack": func(s *set) {
			s.service("shop_api", "shop")
			s.w.Networks["1"] = []reconcile.Network{{Name: "shop_default", Aliases: []string{"api"}}}
			s.edit("[web, web.front]", "[api]")
		},
		"replicas": func(s *set) {
			c := *s.container(1)
			c.ID, c.Name = "4", "shop-web-2"
			c.Labels = map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.container-number": "2"}
			e := s.w.Engines["local"]
			e.Containers = append(e.Containers, c)
			s.w.Engines["local"] = e
			s.w.Networks["4"] = []reconcile.Network{{Name: "front", Aliases: []string{"shop-web-2", "web"}}}
		},
		"a key its group may read": func(s *set) {
			s.edit("    volume: db-certs", "    volume: db-certs\n    files: {cert.pem: fullchain, key.pem: {content: key, mode: \"0640\", owner: \"0:999\"}}")
			s.w.KeyFiles = append(s.w.KeyFiles, reconcile.KeyFile{Path: "/srv/pki/ca.key", What: "the key of CA x", Mode: 0o640})
		},
		"certwright in a container": func(s *set) {
			c := s.container(3)
			c.Image, c.Command = "registry.test/shop/tools:1", "/usr/bin/certwright watch"
			c.Mounts = append(c.Mounts, reconcile.Mount{Type: "bind", Source: "/srv", Destination: "/srv"})
		},
		"trust alone": func(s *set) {
			s.edit("    identity: joe\n    container: joe", "    trust: [internal]\n    container: joe")
			s.edit("bindings:", "bindings:\n  other: {identity: joe, directory: /srv/other}")
		},
		"a service without a task": func(s *set) {
			s.service("api", "")
			s.edit("[web, web.front]", "[api]")
			swarm := s.w.Swarms["local"]
			swarm.Tasks = nil
			s.w.Swarms["local"] = swarm
		},
		"on the machine's own network": func(s *set) {
			s.w.Networks["1"], s.container(1).Addresses, s.container(1).Published = nil, []string{"127.0.0.1"}, nil
		},
		"what is blocked anyway": func(s *set) {
			s.from(nil, nil, nil)
			s.w.From["web"] = reconcile.FromState{Err: "no such file"}
			s.w.Networks = nil
		},
		"published on the default bridge": func(s *set) { s.w.Networks["1"] = nil },
		"a root who reads everything": func(s *set) {
			s.edit("    volume: db-certs", "    volume: db-certs\n    owner: \"70:70\"")
			s.w.Owners["2/postgres"] = reconcile.Owner{}
		},
		"PostgreSQL with settings elsewhere": func(s *set) {
			s.container(2).Command = "docker-entrypoint.sh postgres"
			s.w.Served["db/2"] = reconcile.Served{Serial: "07"}
		},
		"a container that does not exist yet": func(s *set) { s.edit("container: joe", "container: jane") },
	} {
		t.Run(name, func(t *testing.T) {
			s := cleanSet(t)
			do(s)
			if got := s.found(); got != "" {
				t.Errorf("found:\n%s", got)
			}
		})
	}
}

// TestLint has mistaken set-ups, each of which has one cause.
func TestLint(t *testing.T) {
	const dashed = "172.18.0.2"
	rows := map[string]struct {
		do   func(s *set)
		want string
	}{
		"a certificate without a key": {
			func(s *set) {
				s.edit("directory: /srv/web", "directory: /srv/web\n    files: {cert.pem: fullchain, key.pem: ca}")
			},
			"binding/web: shop-web-1 is given a certificate and no key, and its nginx wants both\n",
		},
		"name of the service": {func(s *set) { s.edit("[web, web.front]", "[web.front]") }, "binding/web: it answers to web, which its certificate does not have\n"},
		"no name at all":      {func(s *set) { s.edit("[web, web.front]", "[localhost]") }, "binding/web: it answers to web, web.front, which its certificate does not have\n"},
		"an alias": {func(s *set) {
			s.w.Networks["1"] = []reconcile.Network{{Name: "front", Aliases: []string{"web", "API"}}}
		}, "binding/web: it answers to api, which its certificate does not have\n"},
		"name.network": {func(s *set) { s.edit("[web, web.front]", "[web]") }, "binding/web: it answers to web.front, which its certificate does not have\n"},
		"a second network": {func(s *set) {
			s.w.Networks["1"] = append(s.w.Networks["1"], reconcile.Network{Name: "inside"})
		}, "binding/web: it answers to web.inside, which its certificate does not have\n"},
		"container_name": {func(s *set) {
			s.container(1).Name, s.w.Networks["1"][0].Aliases = "frontend", []string{"frontend", "web"}
		}, "binding/web: it answers to frontend, which its certificate does not have\n"},
		"tasks.NAME": {func(s *set) {
			s.service("api", "")
			s.edit("[web, web.front]", "[api, api.front]")
		}, "binding/web: it answers to tasks.api, which its certificate does not have\n"},
		"a service's name": {func(s *set) {
			s.service("api", "")
			s.edit("[web, web.front]", "[tasks.api, api.front]")
		}, "binding/web: it answers to api, which its certificate does not have\n"},
		"the certificate of another server": {func(s *set) {
			s.edit("    identity: db", "    identity: web")
		}, "binding/db: it answers to db, db.back, which its certificate does not have\n"},
		"of something else, without the name": {func(s *set) {
			s.from(func(c *x509.Certificate) { c.DNSNames = []string{"web.front"} }, nil, nil)
		}, "binding/web: it answers to web, which its certificate does not have\n"},
		"a wildcard of two labels": {func(s *set) { s.edit("[web, web.front]", "[web, \"*.web.front\"]") }, "binding/web: it answers to web.front, which its certificate does not have\n"},
		"a name that nobody has":   {func(s *set) { s.edit("[db, db.back]", "[db, db.back, bd]") }, "binding/db: its certificate has the name bd, to which it does not answer\n"},
		"a name on another network": {
			func(s *set) { s.edit("[db, db.back]", "[db, db.back, db.front]") },
			"binding/db: its certificate has the name db.front, and it is not on the network front, or called otherwise there\n",
		},
		"the name of another on its network": {
			func(s *set) { s.edit("[web, web.front]", "[web, web.front, wbe.front]") },
			"binding/web: its certificate has the name wbe.front, and it is not on the network front, or called otherwise there\n",
		},
		"an address that passes": {
			func(s *set) { s.edit("[web, web.front]", "[web, web.front, "+dashed+"]") },
			"identity/web: its name 172.18.0.2 is the address that shop-web-1 has at the moment: another container has it after the next start\n",
		},
		"of something else, an address that passes": {func(s *set) {
			s.from(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(dashed)} }, nil, nil)
		}, "identity/web: its name 172.18.0.2 is the address that shop-web-1 has at the moment: another container has it after the next start\n"},
		"an underscore": {func(s *set) {
			s.edit("[web, web.front]", "[web, web.front, web_server]")
		}, "identities.web.names[2]: \"web_server\" has an underscore, which some clients refuse: give the server an alias without one, and name that\n"},
		"an underscore in a network": {func(s *set) {
			s.edit("[web, web.front]", "[web, web.front, web.shop_default]")
		}, "identities.web.names[2]: \"web.shop_default\" has an underscore, which some clients refuse: give the server an alias without one, and name that\n"},
		"an underscore and no other name": {func(s *set) {
			s.service("shop_api", "shop")
			s.w.Networks["1"] = []reconcile.Network{{Name: "shop_default"}}
			s.edit("[web, web.front]", "[localhost]")
		}, "binding/web: clients reach it as shop_api, and many refuse a host name with an underscore (RFC 1123 section 2.1)\n"},
		"the default bridge": {func(s *set) { s.w.Networks["2"] = nil }, "binding/db: db is on the default bridge alone, where no container finds another by name\n"},

		"a common name alone": {func(s *set) {
			s.edit("web: {ca: internal, names: [web, web.front]}", "web: {ca: internal}", "port: 443,", "port: 443, serverName: web,")
			s.w.Networks = nil
		}, "identities.web.names: a server without a DNS name or address is refused by its clients: add those by which they call it\n"},
		"an e-mail address as a server": {func(s *set) {
			s.edit("[web, web.front]", "[web@example.com]", "port: 443,", "port: 443, serverName: web,")
			s.w.Networks = nil
		}, "identities.web.names: a server without a DNS name or address is refused by its clients: add those by which they call it\n"},
		"of something else, a common name alone": {func(s *set) {
			s.from(func(c *x509.Certificate) { c.DNSNames = nil }, nil, nil)
			s.w.Networks = nil
		}, "identity/web: it has a common name alone, at which clients no longer look (RFC 9525 section 2)\n"},
		"of something else, a short key": {
			func(s *set) { s.from(nil, smallRSA(s.t), nil) },
			"identity/web: the key of \"web\" has 1024 bits; RSA wants 2048 or more\n",
		},
		"of something else, a small curve": {
			func(s *set) { s.from(nil, p224(s.t), nil) },
			"identity/web: the key of \"web\" is on the curve P-224; TLS wants P-256 or more\n",
		},
		"of something else, SHA-1": {func(s *set) {
			s.from(nil, nil, nil)
			s.w.From["web"] = reconcile.FromState{Issued: reconcile.Issued{Certificate: sha1Of(s.t)}}
			s.w.Networks = nil
		}, "identity/web: the certificate of \"web\" is signed with ECDSA-SHA1, which can be forged and is refused\n"},
		"of something else, soon over": {func(s *set) {
			s.from(nil, nil, nil)
			s.w.Now = s.w.Now.AddDate(0, 1, 0)
		}, "identity/web: it ends on 2026-12-31T00:00:00Z, and nothing has renewed it yet\n"},
		"a long life": {
			func(s *set) {
				s.edit("[web, web.front]}", "[web, web.front], lifetime: 3y}", "lifetime: 10y", "lifetime: 30y")
			},
			"identity/web: its certificate lives 3y: some clients refuse more than 825d, and who gets its key has it as long\n",
		},
		"a short key on the wire": {func(s *set) {
			s.w.Served["web/1"] = reconcile.Served{Serial: "07", Chain: [][]byte{selfMade(s.t, nil, smallRSA(s.t), nil)}}
		}, "binding/web: what shop-web-1 serves: the key of \"web\" has 1024 bits; RSA wants 2048 or more\n"},
		"SHA-1 on the wire": {func(s *set) {
			s.w.Served["web/1"] = reconcile.Served{Serial: "07", Chain: [][]byte{sha1Of(s.t)}}
		}, "binding/web: what shop-web-1 serves: the certificate of \"web\" is signed with ECDSA-SHA1, which can be forged and is refused\n"},
		"a common name alone on the wire": {func(s *set) {
			s.w.Served["web/1"] = reconcile.Served{Serial: "07", Chain: [][]byte{selfMade(s.t, func(c *x509.Certificate) { c.DNSNames = nil }, nil, nil)}}
		}, "binding/web: what shop-web-1 serves: it has a common name alone, at which clients no longer look (RFC 9525 section 2)\n"},

		"a CA's key for others": {
			func(s *set) {
				s.w.KeyFiles[0] = reconcile.KeyFile{Path: "/srv/ca.key", What: "the key of CA x", Mode: 0o644}
			},
			"file /srv/ca.key: the key of CA x can be read or changed by other users (mode 0644)\n",
		},
		"a passphrase its group may change": {
			func(s *set) {
				s.w.KeyFiles[0] = reconcile.KeyFile{Path: "/srv/pass", What: "a passphrase", Mode: 0o660}
			},
			"file /srv/pass: a passphrase can be read or changed by other users (mode 0660)\n",
		},
		"a CA's key beside the server's": {func(s *set) {
			s.w.KeyFiles[0] = reconcile.KeyFile{Path: "/srv/web/ca-key.pem", What: "the key of CA x", Mode: 0o600}
			s.container(1).Mounts = nil
			s.edit("container: {compose: shop/web}\n    ", "", "    reload: [nginx, restart]\n    probe: {port: 443, clientAuth: required}\n", "")
		}, "file /srv/web/ca-key.pem: the key of CA x lies where binding web gives its consumer files\n"},
		"the store in a container": {func(s *set) {
			s.container(3).Mounts = append(s.container(3).Mounts, reconcile.Mount{Type: "bind", Source: "/srv/.certwright/", Destination: "/x"})
		}, "file /srv/.certwright: the store is in what joe mounts at /x: who breaks into that has it\n"},
		"a directory of another machine that is called as the store's here": {func(s *set) {
			s.w.Here = nil
			s.container(3).Mounts = append(s.container(3).Mounts, reconcile.Mount{Type: "bind", Source: "/srv/.certwright/", Destination: "/x"})
		}, ""},
		"the store in a container of a second engine": {func(s *set) {
			s.w.Here["beside"] = true
			s.w.Engines["beside"] = reconcile.EngineState{Containers: []reconcile.Container{{
				Name: "dev", Mounts: []reconcile.Mount{{Type: "bind", Source: "/srv", Destination: "/x"}},
			}}}
		}, "file /srv/.certwright: the store is in what dev mounts at /x: who breaks into that has it\n"},
		"a server on its loopback": {func(s *set) {
			s.w.Served["web/1"] = reconcile.Served{Serial: "1", Within: true}
		}, "binding/web: shop-web-1 listens on its loopback alone: nobody but itself reaches it\n"},
		"somebody's key for everybody": {func(s *set) {
			s.w.Places[webPlace] = reconcile.PlaceState{Exists: true, Files: map[string]reconcile.FileState{"key.pem": {Kind: reconcile.KindFile, Mode: 0o644}}}
		}, "binding/web: key.pem in /srv/web holds a key and can be read by everybody (mode 0644)\n"},
		"a secret for everybody": {func(s *set) {
			s.service("api", "", reconcile.SecretRef{Name: "mine", Target: "server-key.pem", Mode: 0o444}, reconcile.SecretRef{Name: "keyboard", Target: "keyboard.txt", Mode: 0o444})
			s.edit("[web, web.front]", "[api, api.front, tasks.api]")
		}, "binding/web: service api mounts the secret server-key.pem, a key by its name, for everybody in the task to read (mode 0444)\n"},
		"an owner that does not read": {
			func(s *set) { s.edit("    volume: db-certs", "    volume: db-certs\n    owner: \"70:70\"") },
			"binding/db: db runs as 999:999, and key.pem is given to 70:70 with mode 0600\n",
		},
		"a mount that can be written": {
			func(s *set) { s.container(1).Mounts[0].ReadWrite = true },
			"binding/web: shop-web-1 can write what it mounts at /etc/nginx/certs: who breaks into it can put other files there\n",
		},
		"a volume that can be written": {
			func(s *set) { s.container(2).Mounts[0].ReadWrite = true },
			"binding/db: db can write what it mounts at /certs: who breaks into it can put other files there\n",
		},
		"no mount": {func(s *set) { s.container(1).Mounts = nil }, "binding/web: shop-web-1 does not mount /srv/web, and never sees what is placed there\n"},
		"a mount of something else": {
			func(s *set) { s.container(1).Mounts[0].Source = "/srv/wbe" },
			"binding/web: shop-web-1 does not mount /srv/web, and never sees what is placed there\n",
		},
		"single files": {func(s *set) {
			s.container(1).Mounts = []reconcile.Mount{{Type: "bind", Source: "/srv/web/key.pem", Destination: "/etc/nginx/key.pem"}}
			s.edit("    directory: /srv/web", "    directory: /srv/web\n    layout: plain")
		}, "binding/web: shop-web-1 mounts single files, which stay the old ones when they are replaced\n"},

		"a service of Compose as a container": {
			func(s *set) { s.edit("{compose: shop/web}", "web") },
			"binding/web: no container is called web: Compose calls those of that service otherwise, as shop-web-1\n",
		},
		"a service of a Swarm as a container": {func(s *set) {
			s.service("api", "")
			s.yaml = strings.Replace(lintYAML, "{compose: shop/web}", "api", 1)
		}, "binding/web: no container is called api, but a Swarm service is\n"},
		"a service without its stack": {func(s *set) {
			s.service("shop_api", "shop")
			s.edit("service: shop_api", "service: api")
		}, "binding/web: there is no service api: its stack calls it shop_api\n"},

		"no probe": {
			func(s *set) { s.edit("\n    probe: {port: 443, clientAuth: required}", "") },
			"binding/web: nothing looks whether its consumer has loaded what is placed: it has no probe\n",
		},
		"reload: none": {
			func(s *set) { s.edit("[nginx, restart]", "none") },
			"binding/web: shop-web-1 does not notice new files by itself, and `reload` is none\n",
		},
		"a restart without need": {
			func(s *set) { s.edit("[nginx, restart]", "restart") },
			"binding/web: shop-web-1 is restarted for each certificate, and could take it up without\n",
		},
		"HUP to OpenLDAP": {func(s *set) {
			s.edit("[nginx, restart]", "{signal: HUP}")
			s.container(1).Image, s.container(1).Command = "osixia/openldap:1.5", ""
		}, "binding/web: shop-web-1 ends at a HUP\n"},
		"HUP to Redis": {func(s *set) {
			s.edit("[nginx, restart]", "{signal: HUP}")
			s.container(1).Image, s.container(1).Command = "redis@sha256:00", ""
		}, "binding/web: shop-web-1 takes no certificate at a HUP\n"},
		"HUP to Apache": {func(s *set) {
			s.edit("[nginx, restart]", "{signal: HUP}")
			s.container(1).Image, s.container(1).Command = "httpd:2.4", ""
		}, "binding/web: shop-web-1 cuts its connections at a HUP\n"},
		"PostgreSQL without TLS": {
			func(s *set) { s.container(2).Command = "docker-entrypoint.sh postgres" },
			"binding/db: db was started without ssl=on, and serves no TLS\n",
		},
		"rules where PostgreSQL does not look": {func(s *set) {
			s.container(2).Mounts = append(s.container(2).Mounts, reconcile.Mount{Type: "bind", Source: "/srv/pg_hba.conf", Destination: "/etc/postgresql/pg_hba.conf"})
		}, "binding/db: db mounts /etc/postgresql/pg_hba.conf, where PostgreSQL does not look: clients are let in by the rules it made itself\n"},

		"optional clients": {
			func(s *set) { s.edit("clientAuth: required", "clientAuth: optional") },
			"binding/web: clients without a certificate are let in: what its server then refuses by path, no handshake shows\n",
		},
		"clients of the whole world": {
			func(s *set) { s.edit("    identity: web", "    identity: web\n    trust: [internal, public]") },
			"binding/web: it lets in whoever has a client certificate of any CA of `public`\n",
		},
		"nobody to let in": {func(s *set) {
			s.edit("cas:", "cas:\n  other: {local: {}}", "joe: {ca: internal,", "joe: {ca: other,", "    volume: db-certs", "    volume: db-certs\n    trust: [internal, other]")
		}, "binding/web: it lets in nobody without a client certificate, and the spec has none that it trusts\n"},
	}
	if len(rows) < 50 {
		t.Errorf("%d mistaken set-ups", len(rows))
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := cleanSet(t)
			row.do(s)
			if diff := cmp.Diff(row.want, s.found()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// sha1Of is a certificate as crypto/x509 signs none any more: the algorithm is written over, since nobody verifies it here.
func sha1Of(t *testing.T) []byte {
	t.Helper()
	der := selfMade(t, nil, nil, nil)
	// ecdsa-with-SHA256 is 1.2.840.10045.4.3.2, ecdsa-with-SHA1 1.2.840.10045.4.1 (RFC 5758, RFC 3279), and is a byte shorter.
	type certificate struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	var c certificate
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	var tbs []asn1.RawValue
	if _, err := asn1.Unmarshal(c.TBS.FullBytes, &tbs); err != nil {
		t.Fatal(err)
	}
	c.Algorithm = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}}
	algorithm, err := asn1.Marshal(c.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	tbs[2] = asn1.RawValue{FullBytes: algorithm}
	if c.TBS.FullBytes, err = asn1.Marshal(tbs); err != nil {
		t.Fatal(err)
	}
	if der, err = asn1.Marshal(c); err != nil {
		t.Fatal(err)
	}
	return der
}

// TestLintUnseen has set-ups of which something could not be looked at. What is not there is nothing to look at.
func TestLintUnseen(t *testing.T) {
	for name, row := range map[string]struct {
		do   func(s *set)
		want string
	}{
		"all was seen":                        {func(*set) {}, ""},
		"a container that does not exist yet": {func(s *set) { s.edit("container: joe", "container: jane") }, ""},
		"an engine": {
			func(s *set) { s.w.Engines["local"] = reconcile.EngineState{Err: "nobody answers"} },
			"host/local: its containers could not be looked at: nobody answers; mend that, and run lint again\n",
		},
		"a Swarm": {
			func(s *set) { s.w.Swarms["local"] = reconcile.Swarm{Err: "this node is no manager"} },
			"host/local: its Swarm could not be looked at: this node is no manager; mend that, and run lint again\n",
		},
		"a dockerd": {
			func(s *set) {
				s.w.Daemons = map[string]reconcile.DaemonState{"local": {Err: "there is no systemd", Hint: "run it there"}}
			},
			"host/local: its dockerd could not be looked at: there is no systemd; run it there\n",
		},
		"a certificate": {
			func(s *set) {
				s.from(nil, nil, nil)
				s.w.From["web"] = reconcile.FromState{Err: "no such file"}
			},
			"identity/web: its certificate could not be looked at: no such file; mend that, and run lint again\n",
		},
		"a place": {
			func(s *set) {
				s.w.Places[reconcile.Location{Host: "local", Dir: "/srv/web"}] = reconcile.PlaceState{Err: "permission denied"}
			},
			"binding/web: what is in /srv/web could not be looked at: permission denied; mend that, and run lint again\n",
		},
		"a place out of reach": {
			func(s *set) {
				s.w.Places[reconcile.Location{Host: "local", Volume: "db-certs"}] = reconcile.PlaceState{Err: "it wants a courier", Beyond: true}
			},
			"binding/db: what is in volume db-certs could not be looked at: it wants a courier; run lint without --no-couriers\n",
		},
		"a place that is not known": {
			func(s *set) { s.container(3).Mounts = nil },
			"binding/joe: what is placed could not be looked at: /certs in joe is not on a mount and would be lost with the container; mount a directory or a volume at /certs\n",
		},
		"what is served": {
			func(s *set) { s.w.Served["web/1"] = reconcile.Served{Err: "connection refused"} },
			"binding/web: what shop-web-1 serves could not be looked at: connection refused; `certwright why web` says what keeps it from being served\n",
		},
		"what nobody reaches, which is found": {
			func(s *set) { s.w.Served["web/1"] = reconcile.Served{Err: "connection refused", Within: true} }, "",
		},
		"the mode of a file": {
			func(s *set) {
				s.w.KeyFiles = []reconcile.KeyFile{{Path: "/srv/pass", What: "a password", Err: "permission denied"}}
			},
			"file /srv/pass: who can read a password could not be looked at: permission denied; mend that, and run lint again\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := cleanSet(t)
			row.do(s)
			parsed, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(s.yaml)}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, f := range reconcile.Unseen(parsed, s.w) {
				fmt.Fprintf(&got, "%s: %s; %s\n", f.Subject, f.Reason, f.Hint)
			}
			if d := cmp.Diff(row.want, got.String()); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}
