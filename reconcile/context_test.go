package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// withContext gives the client a docker context as well.
func (e *estate) withContext() {
	e.t.Helper()
	e.edit("bindings:", "bindings:\n  ops: {identity: client, context: {name: core-02, endpoint: \"tcp://core-02:2376\"}}")
}

// contexts are the places of the estate's context, of which the steps are told by short names.
func (e *estate) contexts() (tls, meta reconcile.Location, short *strings.Replacer) {
	c := e.spec.BindingByName("ops").Place.Context
	return reconcile.Location{Host: "local", Dir: c.TLS()}, reconcile.Location{Host: "local", Dir: c.MetaDir()},
		strings.NewReplacer(c.TLS(), "TLS", c.MetaDir(), "META")
}

// TestContexts has a context come, be changed by others, follow its certificate, change, and go.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withContext()
		tls, meta, short := e.contexts()
		is := func(when, want string) {
			t.Helper()
			if d := cmp.Diff(want, short.Replace(text(e.plan(reconcile.Scope{})))); d != "" {
				t.Errorf("%s: -want +got\n%s", when, d)
			}
		}
		is("it is new", "1 place ops in TLS: not placed\n2 place ops in META: not placed [1]\n")
		e.converge()
		e.audit()

		// What others do.
		describe := func(text string) { e.Edit(meta, "meta.json", []byte(text)) }
		describe(`{"Name":"core-02","Metadata":{"Description":"ours"},"Endpoints":{"docker":{"Host":"tcp://core-02:2376","SkipTLSVerify":false},"other":{}}}`)
		is("somebody described it", "")
		describe(`{"Name":"core-02","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://core-02:2376","SkipTLSVerify":true}}}`)
		is("the engine is not verified", "1 place ops in META: placed file differs: meta.json\n")
		describe(`{"Name":"core-02","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://core-03:2376"}}}`)
		is("it leads elsewhere", "1 place ops in META: placed file differs: meta.json\n")
		e.Delete(tls, "docker/ca.pem")
		is("docker context update", "1 place ops in TLS: docker/ca.pem is missing\n2 place ops in META: placed file differs: meta.json [1]\n")
		e.converge()
		e.audit()

		// Its certificate is renewed: what describes it stays as it is.
		time.Sleep(21 * 24 * time.Hour)
		if got := short.Replace(text(e.plan(reconcile.Scope{Only: []string{"ops"}}))); got != "1 issue client: expires soon\n2 place ops in TLS: follows its certificate [1]\n" {
			t.Errorf("a renewal:\n%s", got)
		}
		e.converge()

		// It leads to another engine.
		e.edit("bindings:", "bindings:\n  ops: {identity: client, context: {name: core-02, endpoint: \"tcp://10.0.0.2:2376\"}}")
		is("another endpoint", "1 place ops in META: placed file differs: meta.json\n")
		e.converge()
		e.audit()

		e.read(estateYAML)
		is("it left the spec", "1 remove the files of ops from META: left the spec\n2 remove the files of ops from TLS: left the spec\n")
		e.converge()
		e.audit()
	})
}

// TestContextWithoutMaterial is not described to docker, which would then do without TLS.
func TestContextWithoutMaterial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withContext()
		tls, meta, short := e.contexts()
		e.ForeignFile(tls, "docker/key.pem", []byte("somebody's"))
		want := "Blocked binding/ops: docker/key.pem (file) was not made by certwright\n"
		if d := cmp.Diff(want, short.Replace(text(e.plan(reconcile.Scope{})))); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		e.Delete(tls, "docker/key.pem")
		e.ForeignFile(meta, "meta.json", []byte(`{"Name":"core-02"}`))
		want = "Blocked binding/ops: meta.json (file) was not made by certwright\n"
		if d := cmp.Diff(want, short.Replace(text(e.plan(reconcile.Scope{})))); d != "" {
			t.Errorf("described by somebody: -want +got\n%s", d)
		}
		e.Delete(meta, "meta.json")
		e.Around = func(what string, do func() error) error {
			if strings.Contains(what, tls.Dir) {
				return errFault
			}
			return do()
		}
		if out := e.converge(); out.Err == nil {
			t.Error("nothing went wrong")
		}
		e.Around = nil
		if got := e.Read(t.Context(), []reconcile.PlaceQuery{{At: meta, Files: []string{"meta.json"}}}, false); got[0].Files["meta.json"].Kind != reconcile.KindAbsent {
			t.Error("it is described without its material")
		}
		e.converge()
		e.audit()
	})
}
