package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/reconcile"
)

// TestOverride asks for the overrides of an estate of two stacks, of which one has a service that is not ready.
func TestOverride(t *testing.T) {
	ca := reconcile.StackSecret{Key: "shop-web-ca.pem", SecretRef: reconcile.SecretRef{Name: "shop-web-ca.pem-1", Target: "$ca.pem", UID: 7, GID: 8, Mode: 0o440}}
	web := reconcile.Stacked{Stack: "shop", Service: "web", Secrets: []reconcile.StackSecret{ca}}
	failed := reconcile.Stacked{Stack: "blog", Service: "web", Refused: &reconcile.Refusal{
		Subject: "binding/blog", Reason: "identity blog is not issued", Hint: "run `certwright apply` first", State: reconcile.Failed,
	}}
	waits := reconcile.Stacked{Service: "shop_later", Refused: &reconcile.Refusal{
		Subject: "binding/later", Reason: "there is no service shop_later", State: reconcile.Waiting,
	}}
	unknown := reconcile.Stacked{Service: "shop_web", Refused: &reconcile.Refusal{
		Subject: "binding/web", Reason: "no manager", Hint: "ask a manager of the Swarm", State: reconcile.Failed,
	}}
	mounted := []reconcile.Mounted{{Service: "db", At: reconcile.Location{Dir: "/srv/db"}, Target: "/certs"}}
	trusted := []reconcile.Mounted{
		{Service: "db", At: reconcile.Location{Dir: "/srv/db"}, Target: "/certs", Variables: map[string]string{"SSL_CERT_FILE": "/certs/$ca.pem"}},
		{Service: "db", At: reconcile.Location{Dir: "/srv/more"}, Target: "/more", Variables: map[string]string{"SSL_CERT_FILE": "/more/ca.pem"}},
	}
	const (
		variables = "services:\n    db:\n        volumes:\n            - type: bind\n              source: /srv/db\n              target: /certs\n              read_only: true\n" +
			"            - type: bind\n              source: /srv/more\n              target: /more\n              read_only: true\n" +
			"        environment:\n            SSL_CERT_FILE: /certs/$$ca.pem\n"
		none       = "services: {}\n"
		shop       = "services:\n    web:\n        secrets:\n            - source: shop-web-ca.pem\n              target: $$ca.pem\n              uid: \"7\"\n              gid: \"8\"\n              mode: 0440\nsecrets:\n    shop-web-ca.pem:\n        external: true\n        name: shop-web-ca.pem-1\n"
		containers = "services:\n    db:\n        volumes:\n            - type: bind\n              source: /srv/db\n              target: /certs\n              read_only: true\n"
		left       = "binding/later is left out: there is no service shop_later"
		elsewhere  = "this is for containers; `certwright compose shop` prints what is for stack shop"
	)
	for _, row := range []struct {
		name    string
		mounted []reconcile.Mounted
		stacked []reconcile.Stacked
		stack   string
		want    string // or the error
	}{
		{"nothing", nil, nil, "", none},
		{"containers", mounted, nil, "", containers},
		{"roots", trusted, nil, "", variables},
		{"containers and a stack", mounted, []reconcile.Stacked{web, waits}, "", elsewhere + "\n" + containers},
		{"a stack beside containers", mounted, []reconcile.Stacked{web}, "shop", shop},
		{"the only stack", nil, []reconcile.Stacked{web}, "", shop},
		{"one of two", nil, []reconcile.Stacked{failed, web}, "shop", shop},
		{"two", nil, []reconcile.Stacked{web, failed}, "", "the bindings are of services of several stacks: blog, shop"},
		{"secrets that are not there", nil, []reconcile.Stacked{failed, web}, "blog", "binding/blog: identity blog is not issued"},
		{"a service that is not there", nil, []reconcile.Stacked{web, waits}, "shop", left + "\n" + shop},
		{"no service is there", nil, []reconcile.Stacked{waits}, "shop", left + "\n" + none},
		{"no service is there and no stack named", nil, []reconcile.Stacked{waits}, "", left + "\n" + none},
		{"no Swarm", nil, []reconcile.Stacked{unknown}, "shop", "binding/web: no manager"},
		{"no Swarm and no stack named", nil, []reconcile.Stacked{unknown}, "", "binding/web: no manager"},
		{"no Swarm, for containers", mounted, []reconcile.Stacked{unknown}, "", containers},
		{"another stack's service is not there", nil, []reconcile.Stacked{web, waits}, "blog", `no binding is of a service of stack "blog"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, warnings, err := override(row.mounted, row.stacked, row.stack)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				text, err := yaml.Marshal(f)
				if err != nil {
					t.Fatal(err)
				}
				got = strings.Join(append(warnings, string(text)), "\n")
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
