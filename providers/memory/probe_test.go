package memory_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func TestClients(t *testing.T) {
	ca, stranger := newAuthority(t, "Root"), newAuthority(t, "Stranger")
	good, foreign := ca.issue("client"), stranger.issue("client")
	const in, out = reconcile.LetIn, reconcile.Refused
	for _, tt := range []struct {
		server, asked              spec.ClientAuth
		accepted, without, foreign reconcile.Answer
		fault                      string
	}{
		{spec.ClientAuthRequired, spec.ClientAuthRequired, in, out, out, ""},
		{spec.ClientAuthOptional, spec.ClientAuthOptional, in, in, out, ""},
		{spec.ClientAuthOptional, spec.ClientAuthRequired, in, in, out, "a client without a certificate was let in"},
		{spec.ClientAuthNone, spec.ClientAuthRequired, in, in, in, "a client without a certificate was let in; a foreign client was let in"},
		{spec.ClientAuthRequired, spec.ClientAuthNone, 0, 0, 0, ""},
	} {
		s := newScene(t)
		s.place(ca.issue("web"), spec.Atomic)
		id := s.run(memory.Reloads, func(c *memory.Container) {
			c.Server.CA, c.Server.ClientAuth = "/certs/ca.pem", tt.server
		})
		got := s.probe(id, func(r *reconcile.ProbeRequest) { r.ClientAuth, r.Good, r.Foreign = tt.asked, good, foreign })
		if got.Accepted != tt.accepted || got.Without != tt.without || got.Foreign != tt.foreign || got.ClientErr != tt.fault {
			t.Errorf("server %s, asked %s: %v, %v, %v, %q", tt.server, tt.asked, got.Accepted, got.Without, got.Foreign, got.ClientErr)
		}
		if asks := tt.server != spec.ClientAuthNone; asks != (len(got.CANames) == 1) {
			t.Errorf("server %s names %d CAs", tt.server, len(got.CANames))
		}
	}
}

func TestProbe(t *testing.T) {
	s, ca := newScene(t), newAuthority(t, "Root")
	web := ca.issue("web")
	s.place(web, spec.Atomic)
	id := s.run(memory.Reloads)
	between := newAuthority(t, "Between").under(ca)
	below := between.issue("web")
	chained := s.unit(below, spec.Atomic)
	for i, f := range chained.Files {
		if f.Name == "cert.pem" {
			chained.Files[i].Data = append(f.Data, pemOf("CERTIFICATE", between.cert.Raw)...)
		}
	}
	if errs := s.Write(t.Context(), []reconcile.Unit{chained}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	if err := s.reload(id, hup); err != nil {
		t.Fatal(err)
	}
	got := s.probe(id, func(r *reconcile.ProbeRequest) { r.Roots = [][]byte{ca.cert.Raw} })
	if diff := cmp.Diff([][]byte{below.Certificate, between.cert.Raw}, got.Chain); diff != "" || got.Untrusted != "" {
		t.Errorf("untrusted %q, chain %s", got.Untrusted, diff)
	}
	s.place(web, spec.Atomic)
	if err := s.reload(id, hup); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		root *authority
		want string
	}{
		{"web", ca, ""},
		{"db", ca, "valid for web, not db"},
		{"web", newAuthority(t, "Other"), "unknown authority"},
	} {
		got := s.probe(id, func(r *reconcile.ProbeRequest) { r.ServerName, r.Roots = tt.name, [][]byte{tt.root.cert.Raw} })
		if (got.Untrusted == "") != (tt.want == "") || !strings.Contains(got.Untrusted, tt.want) {
			t.Errorf("%s: untrusted %q, want %q", tt.name, got.Untrusted, tt.want)
		}
		if diff := cmp.Diff([][]byte{web.Certificate}, got.Chain); diff != "" {
			t.Error(diff)
		}
	}
	s.SetEngine("local", memory.Engine{Remote: true})
	if got := s.probe(id); !got.Unreachable {
		t.Errorf("without a courier: %+v", got)
	}
	s.SetEngine("local", memory.Engine{})
	if err := s.Stop(id); err != nil {
		t.Fatal(err)
	}
	if got := s.probe(id); got.Err == "" || got.Unreachable {
		t.Errorf("stopped: %+v", got)
	}
}
