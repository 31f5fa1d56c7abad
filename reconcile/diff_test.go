package reconcile_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

var (
	webPlace   = reconcile.Location{Host: "local", Dir: "/srv/web"}
	dbPlace    = reconcile.Location{Host: "local", Volume: "db-certs"}
	rootsPlace = reconcile.Location{Host: "local", Dir: "/srv/roots"}
)

// TestDiff has a row for each reason a plan can give. Every row begins with an estate at rest.
func TestDiff(t *testing.T) {
	for _, row := range []struct {
		name  string
		do    func(e *estate)
		scope reconcile.Scope
		want  string
	}{
		{name: "rest", do: func(*estate) {}, want: ""},
		{
			name: "expires soon", do: func(*estate) { time.Sleep(10 * 24 * time.Hour) },
			want: `1 issue web: expires soon
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "expired", do: func(*estate) { time.Sleep(15 * 24 * time.Hour) },
			want: `1 issue web: expired
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "rotation asked for", do: func(e *estate) { e.wish("identity/many") },
			want: `1 issue many with its present key: rotation asked for
2 place many in volume many-certs: follows its certificate [1]
3 restart many-0: follows its files [2]
4 restart many-1: follows its files [2 3]
5 restart many-2: follows its files [2 4]
`,
		},
		{
			name: "issuer changed", do: func(e *estate) { e.edit("web: {ca: services", "web: {ca: internal") },
			want: `1 issue web: issuer changed
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "names changed", do: func(e *estate) { e.edit("names: [web]", "names: [web, www]") },
			want: `1 issue web: names changed
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "names and usages changed: the first reason wins", do: func(e *estate) { e.edit("usages: [client]", "usages: [client, server], names: [client]") },
			want: `1 issue client: names changed
2 place client in /srv/client: follows its certificate [1]
3 send USR1 to client: follows its files [2]
`,
		},
		{
			name: "usages changed", do: func(e *estate) { e.edit("names: [web]", "names: [web], usages: [server, client]") },
			want: `1 issue web: usages changed
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "subject changed", do: func(e *estate) { e.edit("names: [web]", "names: [web], subject: {organization: Shop}") },
			want: `1 issue web: subject changed
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "key kind changed", do: func(e *estate) { e.edit("reuseKey: true", "reuseKey: true, key: ed25519") },
			want: `1 issue many: key kind changed
2 place many in volume many-certs: follows its certificate [1]
3 restart many-0: follows its files [2]
4 restart many-1: follows its files [2 3]
5 restart many-2: follows its files [2 4]
`,
		},
		{
			name: "lifetime changed", do: func(e *estate) { e.edit("lifetime: 14d", "lifetime: 15d") },
			want: `1 issue web: lifetime changed
2 place web in /srv/web: follows its certificate [1]
3 send HUP to web: follows its files [2]
`,
		},
		{
			name: "a file is missing", do: func(e *estate) { e.Delete(webPlace, "key.pem") },
			want: `1 place web in /srv/web: key.pem is missing
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "placed file differs", do: func(e *estate) { e.Edit(webPlace, "cert.pem", []byte("x")) },
			want: `1 place web in /srv/web: placed file differs: cert.pem
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "several files differ", do: func(e *estate) {
				for _, name := range []string{"ca.pem", "cert.pem"} {
					e.Edit(webPlace, name, []byte("x"))
				}
				e.Chmod(webPlace, "key.pem", 0o644)
			},
			want: `1 place web in /srv/web: placed files differ: ca.pem, cert.pem
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "several files are missing", do: func(e *estate) { e.Delete(webPlace, "key.pem"); e.Delete(webPlace, "cert.pem") },
			want: `1 place web in /srv/web: cert.pem, key.pem are missing
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "several modes differ", do: func(e *estate) { e.Chmod(webPlace, "key.pem", 0o644); e.Chmod(webPlace, "cert.pem", 0o600) },
			want: `1 place web in /srv/web: modes differ: cert.pem, key.pem
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "several files left the spec", do: func(e *estate) {
				e.edit("  web:\n    identity: web\n    container: web\n    directory: /srv/web\n", "  web:\n    identity: web\n    container: web\n    directory: /srv/web\n    files: {cert.pem: fullchain}\n")
			},
			want: `1 place web in /srv/web: ca.pem, key.pem left the spec
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "a generation is shut", do: func(e *estate) { e.Chmod(webPlace, "..data", 0o700) },
			want: `1 place web in /srv/web: mode differs: ..data
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "a directory is shut to the owner of its files", do: func(e *estate) { e.Chmod(dbPlace, ".", 0o700) },
			want: `1 place db in volume db-certs: mode differs: . (0700 shuts out 999:999)
2 send HUP to db: follows its files [1]
`,
		},
		{name: "a directory is shut to others", do: func(e *estate) { e.Chmod(webPlace, ".", 0o700) }, want: ""},
		{name: "a directory is narrow", do: func(e *estate) { e.Chmod(dbPlace, ".", 0o711) }, want: ""},
		{
			name: "mode differs", do: func(e *estate) { e.Chmod(dbPlace, "key.pem", 0o640) },
			want: `1 place db in volume db-certs: mode differs: key.pem
2 send HUP to db: follows its files [1]
`,
		},
		{
			name: "owner differs", do: func(e *estate) { e.Chown(dbPlace, "key.pem", 1, 1) },
			want: `1 place db in volume db-certs: owner differs: key.pem
2 send HUP to db: follows its files [1]
`,
		},
		{
			name: "the place is gone", do: func(e *estate) { e.DeletePlace(rootsPlace) },
			want: "1 place roots in /srv/roots: not placed\n",
		},
		{
			name: "layout changed", do: func(e *estate) { e.edit("layout: plain", "layout: atomic") },
			want: `1 place db in volume db-certs: layout changed
2 send HUP to db: follows its files [1]
`,
		},
		{
			name: "a file left the spec",
			do: func(e *estate) {
				e.edit("directory: /srv/web", "directory: /srv/web\n    files: {cert.pem: fullchain, key.pem: key}")
			},
			want: `1 place web in /srv/web: ca.pem left the spec
2 send HUP to web: follows its files [1]
`,
		},
		{
			name: "a binding left the spec",
			do:   func(e *estate) { e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n", "") },
			want: "1 remove the files of roots from /srv/roots: left the spec\n",
		},
		{
			name: "a binding and its identity left the spec",
			do: func(e *estate) {
				_ = e.Destroy(e.ids["client"][0])
				e.edit("  client:\n    identity: client\n    container: client\n    path: /certs\n    reload: {signal: USR1}\n", "",
					"  client: {ca: services, usages: [client]}\n", "")
			},
			want: "1 remove the files of client from /srv/client: left the spec\n2 forget identity client: left the spec [1]\n",
		},
		{
			name:  "but not under --only",
			do:    func(e *estate) { e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n", "") },
			scope: reconcile.Scope{Only: []string{"web"}},
			want:  "",
		},
		{
			name:  "nor with --prune=false",
			do:    func(e *estate) { e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n", "") },
			scope: reconcile.Scope{Prune: reconcile.PruneNone},
			want:  "",
		},
		{
			name: "a binding whose container still mounts it left the spec",
			do: func(e *estate) {
				e.edit("  client:\n    identity: client\n    container: client\n    path: /certs\n    reload: {signal: USR1}\n", "")
			},
			want: "Waiting binding/client: left the spec, but client still mounts it\n",
		},
		{
			name: "more than half left the spec",
			do:   func(e *estate) { e.read("version: 1\nproject: shop\n") },
			want: "Blocked prune: 5 of 5 bindings left the spec; clearing more than half wants to be said\n",
		},
		{
			name: "two bindings on one place, seen only now",
			do: func(e *estate) {
				e.edit("  roots:\n    trust: [internal]\n    directory: /srv/roots\n", "  roots:\n    trust: [internal]\n    directory: /srv/client\n    files: {roots.pem: ca}\n")
			},
			want: "Blocked binding/roots: /srv/client is also the place of binding client\n",
		},
		{
			name: "a foreign file", do: func(e *estate) { e.ForeignFile(rootsPlace, "ca.pem", []byte("theirs")) },
			want: "Blocked binding/roots: ca.pem (file) was not made by certwright\n",
		},
		{
			name: "a foreign directory", do: func(e *estate) { e.ReplaceByDirectory(rootsPlace, "ca.pem") },
			want: "Blocked binding/roots: ca.pem (directory) was not made by certwright\n",
		},
		{
			name: "adopt", do: func(e *estate) { e.ForeignFile(rootsPlace, "ca.pem", []byte("theirs")); e.adopt("roots") },
			want: "1 place roots in /srv/roots, keeping what is there as a backup: placed file differs: ca.pem\n",
		},
		{
			name: "adopt what is the same", do: func(e *estate) {
				same := []reconcile.PlaceQuery{{At: rootsPlace, Files: []string{"ca.pem"}}}
				e.ForeignFile(rootsPlace, "ca.pem", e.Read(e.t.Context(), same, true)[0].Files["ca.pem"].Data)
				e.adopt("roots")
			},
			want: "1 place roots in /srv/roots, keeping what is there as a backup: ca.pem holds what is wanted, and was not made by certwright\n",
		},
		{
			name: "an older certificate is served",
			do:   func(e *estate) { e.olderServed("web") },
			want: "1 send HUP to web: not reloaded\n",
		},
		{
			name: "no restart is allowed",
			do: func(e *estate) {
				e.edit("    reload: restart\n", "    reload: restart\n    limits: {restartsPerHour: 0}\n")
				e.wish("identity/many")
			},
			want: `1 issue many with its present key: rotation asked for
2 place many in volume many-certs: follows its certificate [1]
Stale binding/many: it has to be restarted, and restartsPerHour is 0
`,
		},
		{
			name: "a consumer that is told nothing",
			do: func(e *estate) {
				e.edit("reload: {signal: USR1}", "reload: none")
				e.wish("identity/client")
			},
			want: "1 issue client: rotation asked for\n2 place client in /srv/client: follows its certificate [1]\n",
		},
		{
			name: "a consumer that was made anew has its files since",
			do: func(e *estate) {
				time.Sleep(time.Second)
				_, _ = e.Recreate(e.ids["client"][0])
			},
			want: "",
		},
		{
			name: "trust changed",
			do: func(e *estate) {
				e.edit("cas:", "cas:\n  other: {local: {}}", "trust: [internal]\n    container: db", "trust: [internal, other]\n    container: db")
			},
			want: `1 create CA other: not there
2 place db in volume db-certs: follows its certificate [1]
3 send HUP to db: follows its files [2]
`,
		},
		{
			name: "the engine is away",
			do:   func(e *estate) { e.SetEngine("local", memory.Engine{Down: "it is away"}) },
			want: `Waiting binding/web: waits for the engine: it is away
Waiting binding/db: waits for the engine: it is away
Waiting binding/many: waits for the engine: it is away
Waiting binding/client: waits for the engine: it is away
`,
		},
		{
			name: "a container is stopped", do: func(e *estate) { _ = e.Stop(e.ids["db"][0]) },
			want: "Waiting binding/db: db is not running (exited)\n",
		},
		{
			name: "a container is gone", do: func(e *estate) { _ = e.Destroy(e.ids["db"][0]) },
			want: "Waiting binding/db: waits for db\n",
		},
		{
			name: "a path whose container is gone", do: func(e *estate) { _ = e.Destroy(e.ids["client"][0]) },
			want: "Waiting binding/client: waits for client\n",
		},
		{
			name: "a CA is edited", do: func(e *estate) { e.edit("internal: {local: {lifetime: 10y}}", "internal: {local: {lifetime: 9y}}") },
			want: "Blocked ca/internal: the spec asks for another lifetime than it was made with\n",
		},
		{
			name: "a CA has expired", do: func(*estate) { time.Sleep(2 * 365 * 24 * time.Hour) },
			want: `1 issue many with its present key: expired
2 place many in volume many-certs: follows its certificate [1]
3 restart many-0: follows its files [2]
4 restart many-1: follows its files [2 3]
5 restart many-2: follows its files [2 4]
Blocked ca/services: expired 2001-12-31T00:00:00Z
Blocked identity/web: CA services: expired 2001-12-31T00:00:00Z
Blocked identity/db: CA services: expired 2001-12-31T00:00:00Z
Blocked identity/client: CA services: expired 2001-12-31T00:00:00Z
Failed binding/web: web serves the wanted certificate, but a client would refuse it: x509: certificate has expired or is not yet valid: current time 2001-12-31T00:00:00Z is after 2000-01-15T00:00:00Z
Failed binding/db: db serves the wanted certificate, but a client would refuse it: x509: certificate has expired or is not yet valid: current time 2001-12-31T00:00:00Z is after 2000-01-31T00:00:00Z
`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				row.do(e)
				if d := cmp.Diff(row.want, text(e.plan(row.scope))); d != "" {
					t.Errorf("-want +got:\n%s", d)
				}
			})
		})
	}
}

// olderServed places a new certificate behind the back of the binding's server.
func (e *estate) olderServed(binding string) {
	e.t.Helper()
	e.wish("identity/" + binding)
	e.Around = func(what string, do func() error) error {
		if what == "POST /containers/{id}/kill" {
			return nil // lost on the way
		}
		return do()
	}
	e.converge()
	e.Around = nil
}
