package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

const followYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  api: {ca: internal, names: [api]}
bindings:
  api: {identity: api, secret: {}, config: {}}
  other: {identity: api, secret: {}, files: {key.pem: key}}
`

// TestFollow has secrets of no service: those that mount a version of one get the next, where and how they mount it, and
// nothing else of them changes.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.read(followYAML)
		s := &swarm{}
		e.swarm = s
		if out := e.converge(); out.Err != nil || s.updates != 0 || len(s.made) != 4 {
			t.Fatalf("%d secrets made, %d updates, %v", len(s.made), s.updates, out.Err)
		}
		want := "Waiting binding/api: waits for a service that mounts its secrets\nWaiting binding/other: waits for a service that mounts its secrets\n"
		if d := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); d != "" {
			t.Errorf("nobody mounts them: -want +got:\n%s", d)
		}

		ref := func(prefix, target string) reconcile.SecretRef {
			t.Helper()
			for _, x := range s.now.Secrets {
				if strings.HasPrefix(x.Name, prefix) {
					return reconcile.SecretRef{SecretKind: x.SecretKind, ID: x.ID, Name: x.Name, Target: target, Mode: 0o440, UID: 7, GID: 8}
				}
			}
			t.Fatalf("no secret %s", prefix)
			return reconcile.SecretRef{}
		}
		theirs := reconcile.SecretRef{ID: "theirs", Name: "theirs", Target: "password"}
		key := ref("shop-api-key.pem-", "/etc/tls/server.key")
		s.now.Services = []reconcile.Service{
			{ID: "1", Name: "front", Secrets: []reconcile.SecretRef{theirs, key, ref("shop-api-cert.pem-", "cert.pem")}},
			{ID: "2", Name: "back", Secrets: []reconcile.SecretRef{ref("shop-other-key.pem-", "key")}},
			{ID: "3", Name: "stranger", Secrets: []reconcile.SecretRef{theirs}},
		}
		if got := text(e.plan(reconcile.Scope{})); got != "" {
			t.Errorf("they mount what they should:\n%s", got)
		}
		if got := e.converge(); got.Err != nil || s.updates != 0 {
			t.Errorf("%d updates, %v", s.updates, got.Err)
		}

		time.Sleep(21 * 24 * time.Hour)
		if out := e.converge(); out.Err != nil || s.updates != 2 {
			t.Fatalf("%d updates, %v", s.updates, out.Err)
		}
		front := s.now.Services[0].Secrets
		if len(front) != 3 || front[0] != theirs {
			t.Fatalf("front mounts %+v", front)
		}
		for _, r := range front[1:] {
			if r.Target == key.Target && (r.Name == key.Name || r.Mode != key.Mode || r.UID != 7 || r.GID != 8 || r.Config) {
				t.Errorf("front mounts its key as %+v", r)
			}
			if r.Target == "cert.pem" && !r.Config {
				t.Errorf("front mounts its certificate as %+v", r)
			}
		}
		if d := cmp.Diff([]reconcile.SecretRef{theirs}, s.now.Services[2].Secrets); d != "" {
			t.Errorf("a stranger was changed: %s", d)
		}

		// A file that leaves the spec stays where it is mounted.
		e.read(strings.Replace(followYAML, "config: {}}", "config: {}, files: {cert.pem: fullchain}}", 1))
		if out := e.converge(); out.Err != nil || s.updates != 2 {
			t.Errorf("%d updates, %v", s.updates, out.Err)
		}
		if !strings.HasPrefix(s.named("/etc/tls/server.key"), "shop-api-key.pem-") {
			t.Errorf("front mounts %+v", s.service().Secrets)
		}

		// The binding leaves the spec, and its secrets when nobody mounts them.
		e.read(followYAML[:strings.Index(followYAML, "  other:")])
		e.converge()
		s.now.Services[1].Secrets, s.now.Services[1].Previous = nil, nil
		e.converge()
		if _, left := e.load().Places[reconcile.Location{Host: "local", Sub: "*other"}]; left {
			t.Error("it is still recorded")
		}
		for _, x := range s.now.Secrets {
			if strings.HasPrefix(x.Name, "shop-other-") {
				t.Errorf("%s is left", x.Name)
			}
		}
	})
}
