package reconcile_test

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// TestDeep compares what secrets hold with what they should, and leaves them as they are.
func TestDeep(t *testing.T) {
	const key = "a-very-long-name-of-a-file-that-nobody-would-ever-want+.pem"
	for _, row := range []struct {
		name  string
		do    func(e *estate, s *swarm)
		names []string
		want  string // file and verdict
	}{
		{"at rest", func(*estate, *swarm) {}, nil, "ca.pem as wanted\nchain.pem as wanted\nKEY as wanted\n"},
		{"of one binding", func(*estate, *swarm) {}, []string{"api"}, "ca.pem as wanted\nchain.pem as wanted\nKEY as wanted\n"},
		{"of another binding", func(*estate, *swarm) {}, []string{"other"}, ""},
		{"other data", func(_ *estate, s *swarm) {
			s.holds["secret-"+s.named("a-very")] = []byte("forged")
		}, nil, "ca.pem as wanted\nchain.pem as wanted\nKEY other\n"},
		{"gone", func(_ *estate, s *swarm) { s.drop(s.named("chain.pem")) }, nil, "ca.pem as wanted\nchain.pem there is no such secret\nKEY as wanted\n"},
		{"not issued", func(e *estate, _ *swarm) {
			st := e.load()
			delete(st.Identities, "api")
			e.commit(st)
		}, nil, ""},
		{"no manager", func(_ *estate, s *swarm) { s.now = reconcile.Swarm{Err: "no manager"} }, nil, "ca.pem no manager\nchain.pem no manager\nKEY no manager\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, s := newServiceEstate(t)
				e.read(strings.Replace(serviceYAML, "ca.pem: ca,", "ca.pem: ca, chain.pem: chain,", 1))
				e.converge()
				row.do(e, s)
				labels := map[string]map[string]string{}
				for _, x := range s.now.Secrets {
					labels[x.Name] = maps.Clone(x.Labels)
				}
				if got := deep(e, e.observe(), row.names); got != strings.ReplaceAll(row.want, "KEY", key) {
					t.Errorf("got\n%s", got)
				}
				for _, x := range s.now.Secrets {
					if diff := cmp.Diff(labels[x.Name], x.Labels); diff != "" {
						t.Errorf("the labels of %s (-before +after)\n%s", x.Name, diff)
					}
				}
			})
		})
	}
}

// TestDeepRace has somebody who changes a secret between the look and the comparison: that is no verdict.
func TestDeepRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, s := newServiceEstate(t)
		w := e.observe()
		s.now.Secrets[0].Version++
		if got := deep(e, w, nil); !strings.HasPrefix(got, "ca.pem somebody was faster\n") || strings.Count(got, "as wanted") != 1 {
			t.Errorf("got\n%s", got)
		}
	})
}

// deep is what Deep says, a line for each file. It says nothing of what is in them.
func deep(e *estate, w reconcile.World, names []string) string {
	var out strings.Builder
	for _, c := range reconcile.Deep(e.t.Context(), e.applier().Providers, e.spec, w, names) {
		if !strings.HasPrefix(c.Secret, "shop-api-") || c.Binding != "api" {
			e.t.Errorf("compared is %+v", c)
		}
		verdict := c.Problem
		switch {
		case c.Other:
			verdict += "other"
		case c.Problem == "":
			verdict = "as wanted"
		}
		out.WriteString(c.File + " " + verdict + "\n")
	}
	return out.String()
}
