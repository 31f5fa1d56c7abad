package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
)

// withStores adds a binding of the trust stores of two running containers.
func (e *estate) withStores() {
	e.t.Helper()
	for _, name := range []string{"batch-0", "batch-1"} {
		id := e.Run(memory.Container{Bound: true, Container: reconcile.Container{Name: name, Labels: map[string]string{"tier": "batch"}}})
		e.ids["batch"] = append(e.ids["batch"], id)
	}
	e.edit("bindings:\n", "bindings:\n"+batch)
}

const batch = "  batch: {trust: [internal], container: {label: tier=batch}, trustStore: system}\n"

func inStore(id string) reconcile.Location {
	return reconcile.Location{Host: "local", Container: id, Sub: "system"}
}

// steps are what a plan of now does to trust stores, with reasons, and what it says of the binding batch.
func (e *estate) storeSteps() string {
	e.t.Helper()
	w := e.observe()
	plan := reconcile.Diff(e.spec, w, reconcile.Scope{})
	var all []string
	for _, s := range plan.Steps {
		all = append(all, s.Action.String()+": "+s.Reason)
	}
	for _, r := range append(plan.Blocked, plan.Waiting...) {
		if r.Subject == "binding/batch" {
			all = append(all, string(r.State)+": "+r.Reason)
		}
	}
	slices.Sort(all) // containers have no names that were chosen
	return strings.Join(all, "\n")
}

// TestTrustStores follows the trust stores of containers that drift, stop, are made anew, and are no more wanted.
func TestTrustStores(t *testing.T) {
	const add, take = "add the roots of batch to the trust store system of ", "take the roots of batch out of the trust store system of "
	for _, row := range []struct {
		name string
		do   func(e *estate)
		want string // the plan that follows
		rest string // and what is said when it was carried out
	}{
		{"new", func(*estate) {}, "", ""},
		{"drift", func(e *estate) { e.Edit(inStore(e.ids["batch"][0]), "ca.pem", []byte("another")) }, add + "batch-0: the roots of internal are not in the system store of batch-0 as they were placed", ""},
		{"emptied", func(e *estate) { e.DeletePlace(inStore(e.ids["batch"][0])) }, add + "batch-0: not placed", ""},
		{"one stopped", func(e *estate) { _ = e.Stop(e.ids["batch"][1]) }, "Waiting: batch-1 is not running (exited)", "Waiting: batch-1 is not running (exited)"},
		{"one made anew", func(e *estate) {
			id, err := e.Recreate(e.ids["batch"][1])
			if err == nil {
				err = e.Start(id)
			}
			if err != nil {
				e.t.Fatal(err)
			}
		}, add + "batch-1: not placed", ""},
		{"one gone", func(e *estate) { _ = e.Destroy(e.ids["batch"][1]) }, "", ""},
		{
			"another root", func(e *estate) {
				e.edit("cas:", "cas:\n  other: {local: {}}", "bindings:\n", "bindings:\n"+strings.Replace(batch, "[internal]", "[internal, other]", 1))
			},
			add + "batch-0: follows its certificate\n" + add + "batch-1: follows its certificate\ncreate CA other: not there", "",
		},
		{
			"another root that is there already", func(e *estate) {
				e.edit("cas:", "cas:\n  other: {local: {}}", "bindings:\n", "bindings:\n"+batch)
				e.converge()
				e.edit("cas:", "cas:\n  other: {local: {}}", "bindings:\n", "bindings:\n"+strings.Replace(batch, "[internal]", "[internal, other]", 1))
			},
			add + "batch-0: the roots of internal, other are wanted in the system store of batch-0, and it has others of certwright\n" +
				add + "batch-1: the roots of internal, other are wanted in the system store of batch-1, and it has others of certwright", "",
		},
		{"left the spec", func(e *estate) {
			e.read(estateYAML)
		}, take + "batch-0: left the spec\n" + take + "batch-1: left the spec", ""},
		{
			"left the spec while one is stopped", func(e *estate) {
				_ = e.Stop(e.ids["batch"][1])
				e.read(estateYAML)
			}, "Waiting: left the spec, but batch-1 is not running (exited), and it has to be taken out of its trust store from inside\n" + take + "batch-0: left the spec",
			"Waiting: left the spec, but batch-1 is not running (exited), and it has to be taken out of its trust store from inside",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.withStores()
				if got := e.storeSteps(); !strings.Contains(got, add+"batch-0: not placed\n"+add+"batch-1: not placed") {
					t.Fatalf("the first plan is\n%s", got)
				}
				e.converge()
				time.Sleep(time.Minute)
				row.do(e)
				if got := e.storeSteps(); got != row.want {
					t.Errorf("the plan is\n%s\nwant\n%s", got, row.want)
				}
				e.converge()
				if got := e.storeSteps(); got != row.rest {
					t.Errorf("then it is\n%s\nwant\n%s", got, row.rest)
				}
			})
		})
	}
}

// TestTrustStoreRestart restarts what reads a trust store, where the spec says so, once after each change of its roots.
func TestTrustStoreRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withStores()
		e.edit("bindings:\n", "bindings:\n"+strings.Replace(batch, "}\n", ", reload: restart}\n", 1))
		if got, want := e.storeSteps(), "restart batch-0: follows its files\nrestart batch-1: follows its files"; !strings.HasSuffix(got, want) {
			t.Errorf("the plan is\n%s\nwant at its end\n%s", got, want)
		}
		e.converge()
		if got := e.storeSteps(); got != "" {
			t.Errorf("then it is\n%s", got)
		}
		e.Edit(inStore(e.ids["batch"][0]), "ca.pem", []byte("another"))
		time.Sleep(time.Minute)
		e.converge()
		e.audit()
	})
}
