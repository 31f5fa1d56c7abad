package reconcile_test

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestEndedProbeClient has the client that the probe knocks as end: that is not the server's fault.
func TestEndedProbeClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.edit("probe: {port: 443, clientAuth: required}", "probe: {port: 443, clientAuth: required, identity: client}",
			"usages: [client]}", "usages: [client], lifetime: 1d}")
		e.steady()
		time.Sleep(25 * time.Hour)
		s := e.state("web", time.Now())
		if s.State != reconcile.Failed || s.Reason != "the probe's client certificate (identity client) has ended" || s.Hint != "run `certwright apply`" {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
		e.converge()
		e.audit()
	})
}

// TestHintsOfABroughtCA has the files of a CA that was brought along end and go.
func TestHintsOfABroughtCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, g, _ := bring(t)
		hint := func() string {
			t.Helper()
			for _, r := range e.plan(reconcile.Scope{}).Blocked {
				if r.Subject == "ca/company" {
					return r.Hint
				}
			}
			t.Error("CA company is not blocked")
			return ""
		}
		for _, c := range e.spec.CAs {
			if c.Name == "company" {
				if err := os.Rename(c.Local.Certificate, c.Local.Certificate+".away"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := hint(); !strings.Contains(got, "bring its files back") {
			t.Errorf("gone: hint %q", got)
		}
		for _, c := range e.spec.CAs {
			if c.Name == "company" {
				if err := os.Rename(c.Local.Certificate+".away", c.Local.Certificate); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Until(g.NotAfter) + time.Hour)
		if got := hint(); !strings.Contains(got, "put a renewed certificate of the same key into ") || !strings.Contains(got, "docs/tls-yaml.md") {
			t.Errorf("ended: hint %q", got)
		}
	})
}

// TestHintOfContest says what ends a contest at once.
func TestHintOfContest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		for range 6 {
			time.Sleep(10 * time.Second)
			e.Edit(rootsPlace, "ca.pem", []byte("mine\n"))
			e.converge()
		}
		if s := e.state("roots", time.Now()); s.State != reconcile.Contested || !strings.Contains(s.Hint, "`certwright adopt roots` does at once") {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestLostStoreNamesAll names every place that holds files of a store that is gone.
func TestLostStoreNamesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.LoseStore()
		_, err := e.applier().Converge(t.Context(), reconcile.Scope{})
		want := "/srv/web, volume db-certs, volume many-certs, /srv/client, /srv/roots hold files of project shop"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// TestHintOfRestarting has a container that the engine starts again and again: it is not to be started.
func TestHintOfRestarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		w := e.observe()
		for i, c := range w.Engines["local"].Containers {
			if c.Name == "web" {
				w.Engines["local"].Containers[i].State = "restarting"
			}
		}
		for _, r := range reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()}).Waiting {
			if r.Subject == "binding/web" && r.Hint != "look at its logs" {
				t.Errorf("%s, hint %q", r.Reason, r.Hint)
			}
		}
	})
}

// TestHintOfSilence has a server that takes connections and does not answer, as one that was stopped does.
func TestHintOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		w := e.observe()
		w.Served["web/"+e.ids["web"][0]] = reconcile.Served{Err: "no answer to the TLS handshake within 5s"}
		plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: time.Now()})
		if s := reconcile.Assess(e.spec, w, plan).Bindings[0]; !strings.HasSuffix(s.Hint, "; or restart it") {
			t.Errorf("%s (%s), hint %q", s.State, s.Reason, s.Hint)
		}
	})
}

// TestMatrixOfAWorseServer has a server let a client in and show a certificate that the client would refuse.
func TestMatrixOfAWorseServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		c, err := e.Container(e.ids["web"][0])
		if err != nil || c.Server.Behaviour != memory.Reloads || c.Server.ClientAuth != spec.ClientAuthRequired {
			t.Fatalf("%+v, %v", c.Server, err)
		}
		s, w := e.spec, e.observe()
		for i := range s.Bindings {
			if s.Bindings[i].Name == "web" {
				s.Bindings[i].Probe.ServerName = "another"
			}
		}
		edges := reconcile.Matrix(t.Context(), e.applier().Providers, s, w, []string{"web"}, true)
		if len(edges) == 0 {
			t.Fatal("no edges")
		}
		for _, edge := range edges {
			if words := edge.Words(); !strings.HasPrefix(words, "let in, but the client would refuse the server: x509") || edge.Answer != reconcile.LetIn {
				t.Errorf("%s → %s: %s", edge.Client, edge.Server, words)
			}
		}
	})
}

// TestNothingTellsIt has a server that is told of nothing: the hint names what its image takes, and a restart where nobody knows it.
func TestNothingTellsIt(t *testing.T) {
	for image, want := range map[string]string{"nginx:1.27": "`reload: nginx`", "somebody/server": "`reload: restart`"} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.edit("directory: /srv/web\n    reload: {signal: HUP}", "directory: /srv/web\n    reload: none")
			e.steady()
			begin := time.Now()
			e.wish("identity/web")
			e.converge()
			w := e.observe()
			all := w.Engines["local"].Containers
			for i := range all {
				all[i].Image, all[i].Command = image, ""
			}
			plan := reconcile.Diff(e.spec, w, reconcile.Scope{Since: begin})
			if len(plan.Blocked) != 1 || plan.Blocked[0].State != reconcile.Stale || !strings.Contains(plan.Blocked[0].Hint, want) {
				t.Errorf("%s: %s\n%+v", image, text(plan), plan.Blocked)
			}
		})
	}
}
