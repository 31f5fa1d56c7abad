package reconcile_test

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

const stacksYAML = `
version: 1
project: shop
cas:
  internal: {local: {lifetime: 10y}}
identities:
  web: {ca: internal, names: [web]}
bindings:
  web:
    identity: web
    service: shop_web
    secret: {mode: "0400", owner: "999:998"}
    files: {server-cert.pem: fullchain, "key+.pem": {content: key, owner: "7"}}
  web-server: {identity: web, service: shop_web, secret: {}, files: {cert.pem: cert}}
  trust: {trust: [internal], service: blog_trust, secret: {}}
  by-hand: {trust: [internal], service: by-hand, secret: {}}
  renamed: {trust: [internal], service: renamed, secret: {}}
  later: {trust: [internal], service: shop_later, secret: {}}
  roots: {trust: [internal], directory: /srv/roots}
`

// newStacksEstate is an estate of services of two stacks, of none, and of one that is not there, at rest.
func newStacksEstate(t *testing.T) (*estate, *swarm) {
	t.Helper()
	e := newEstate(t)
	e.read(stacksYAML)
	s := &swarm{now: reconcile.Swarm{Services: []reconcile.Service{
		{ID: "1", Name: "blog_trust", Stack: "blog", User: "70:71"},
		{ID: "2", Name: "by-hand"},
		{ID: "3", Name: "renamed", Stack: "shop"},
		{ID: "4", Name: "shop_web", Stack: "shop"},
	}}}
	e.swarm = s
	if out := e.converge(); out.Err != nil || s.updates != 5 {
		t.Fatalf("%d updates, %v", s.updates, out.Err)
	}
	return e, s
}

func (e *estate) stacks() []reconcile.Stacked { return reconcile.Stacks(e.spec, e.observe()) }

// TestStacks wants for services of stacks what certwright itself gave them, under keys that stay.
func TestStacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newStacksEstate(t)
		gave := func(service int, target, key string) reconcile.StackSecret {
			t.Helper()
			for _, r := range s.now.Services[service].Secrets {
				if r.Target == target {
					r.ID = "" // a file of a stack names it
					return reconcile.StackSecret{Key: key, SecretRef: r}
				}
			}
			t.Fatalf("%s mounts no %s", s.now.Services[service].Name, target)
			return reconcile.StackSecret{}
		}
		want := func() []reconcile.Stacked {
			return []reconcile.Stacked{
				{Stack: "shop", Service: "web", Secrets: []reconcile.StackSecret{
					gave(3, "server-cert.pem", "shop-web-server-cert.pem"), gave(3, "key+.pem", "shop-web-key-.pem"),
				}},
				{Stack: "shop", Service: "web", Secrets: []reconcile.StackSecret{gave(3, "cert.pem", "shop-web-server-cert.pem-HASH")}},
				{Stack: "blog", Service: "trust", Secrets: []reconcile.StackSecret{gave(0, "ca.pem", "shop-trust-ca.pem")}},
				{Service: "shop_later", Refused: &reconcile.Refusal{
					Subject: "binding/later", Reason: "there is no service shop_later", State: reconcile.Waiting,
				}},
			}
		}
		hash := regexp.MustCompile("-[0-9a-f]{12}$")
		check := func(when string) []reconcile.Stacked {
			t.Helper()
			got := e.stacks()
			plain := make([]reconcile.Stacked, len(got))
			for i, x := range got {
				plain[i] = x
				plain[i].Secrets = nil
				for _, r := range x.Secrets {
					r.Key = hash.ReplaceAllString(r.Key, "-HASH")
					plain[i].Secrets = append(plain[i].Secrets, r)
				}
			}
			if diff := cmp.Diff(want(), plain); diff != "" {
				t.Errorf("%s (-want +got)\n%s", when, diff)
			}
			return got
		}
		before := check("at first")
		e.wish("identity/web")
		e.converge()
		after := check("after a rotation")
		for i, x := range before {
			for j, r := range x.Secrets {
				now := after[i].Secrets[j]
				if now.Key != r.Key || (now.Name == r.Name) != (r.Target == "ca.pem") {
					t.Errorf("%s: %s became %s", r.Target, r.Key, now.Key)
				}
			}
		}
	})
}

// TestStacksRefused has a row for each reason why a service is not in the file of its stack.
func TestStacksRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(e *estate, s *swarm)
		want reconcile.Refusal
	}{
		{
			"not issued", func(e *estate, _ *swarm) {
				e.read(strings.NewReplacer("  web: {ca: internal, names: [web]}", "  web: {ca: internal, names: [web]}\n  new: {ca: internal}", "identity: web\n", "identity: new\n").Replace(stacksYAML))
			},
			reconcile.Refusal{Reason: "identity new is not issued", Hint: "run `certwright apply` first", State: reconcile.Failed},
		},
		{
			"a file is new", func(e *estate, _ *swarm) {
				e.read(strings.Replace(stacksYAML, "files: {server-cert.pem", "files: {ca.pem: ca, server-cert.pem", 1))
			},
			reconcile.Refusal{Reason: "no secret holds what ca.pem should", Hint: "run `certwright apply` first", State: reconcile.Failed},
		},
		{
			"somebody else's", func(_ *estate, s *swarm) {
				s.now.Secrets = append(s.now.Secrets, reconcile.Secret{ID: "x", Name: "theirs"})
				s.now.Services[3].Secrets = []reconcile.SecretRef{{ID: "x", Name: "theirs", Target: "server-cert.pem"}}
			},
			reconcile.Refusal{
				Reason: "service shop_web mounts a secret theirs as server-cert.pem that was not made by certwright",
				Hint:   "give the file another name, take that secret from the service, or run `certwright adopt web`", State: reconcile.Blocked,
			},
		},
		{
			"no manager", func(_ *estate, s *swarm) { s.now = reconcile.Swarm{Err: "no manager"} },
			reconcile.Refusal{Reason: "no manager", Hint: "ask a manager of the Swarm", State: reconcile.Failed},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newStacksEstate(t)
				row.do(e, s)
				got := e.stacks()[0]
				row.want.Subject = "binding/web"
				if diff := cmp.Diff(&row.want, got.Refused); diff != "" || got.Secrets != nil {
					t.Errorf("%v (-want +got)\n%s", got.Secrets, diff)
				}
			})
		})
	}
}
