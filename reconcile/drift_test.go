package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// As many sequences are tried, each from a seed of its own; a failure names it.
const driftSeeds = 500

var (
	estatePlaces = []reconcile.Location{
		{Host: "local", Dir: "/srv/web"},
		{Host: "local", Volume: "db-certs"},
		{Host: "local", Volume: "many-certs"},
		{Host: "local", Dir: "/srv/client"},
		{Host: "local", Dir: "/srv/roots"},
	}
	estateFiles = []string{"ca.pem", "cert.pem", "key.pem"}
)

// drifts are what people, other programs and time do to an estate.
var drifts = []struct {
	name string
	do   func(e *estate, r *rand.Rand)
}{
	{"edit", func(e *estate, r *rand.Rand) {
		e.Edit(pick(r, estatePlaces), pick(r, estateFiles), []byte("nonsense\n"))
	}},
	{"empty", func(e *estate, r *rand.Rand) { e.Edit(pick(r, estatePlaces), pick(r, estateFiles), nil) }},
	{"swap", func(e *estate, r *rand.Rand) {
		e.swap(pick(r, estatePlaces), pick(r, estatePlaces), pick(r, estateFiles))
	}},
	{"chmod", func(e *estate, r *rand.Rand) { e.Chmod(pick(r, estatePlaces), pick(r, estateFiles), 0o640) }},
	{"shut", func(e *estate, r *rand.Rand) { e.Chmod(pick(r, estatePlaces), pick(r, []string{".", "..data"}), 0o700) }},
	{"chown", func(e *estate, r *rand.Rand) { e.Chown(pick(r, estatePlaces), pick(r, estateFiles), 77, 77) }},
	{"delete", func(e *estate, r *rand.Rand) { e.Delete(pick(r, estatePlaces), pick(r, estateFiles)) }},
	{"delete place", func(e *estate, r *rand.Rand) { e.DeletePlace(pick(r, estatePlaces)) }},
	{"stop", func(e *estate, r *rand.Rand) { e.anyContainer(r, e.Stop) }},
	{"restart", func(e *estate, r *rand.Rand) { e.anyContainer(r, e.Start) }},
	{"recreate", func(e *estate, r *rand.Rand) { e.recreate(r) }},
	{"days pass", func(_ *estate, r *rand.Rand) { time.Sleep(time.Duration(1+r.IntN(9)) * 24 * time.Hour) }},
	{"rotate", func(e *estate, r *rand.Rand) { e.wish("identity/" + pick(r, []string{"web", "db", "many", "client"})) }},
	{"names", func(e *estate, r *rand.Rand) { e.edit("names: [web]", fmt.Sprintf("names: [web, www%d]", r.IntN(3))) }},
	{"layout", func(e *estate, _ *rand.Rand) { e.edit("layout: plain", "layout: atomic") }},
	{"as before", func(e *estate, _ *rand.Rand) { e.read(estateYAML) }},
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func (e *estate) anyContainer(r *rand.Rand, do func(string) error) {
	ids := e.ids[pick(r, []string{"web", "db", "many", "client"})]
	if err := do(pick(r, ids)); err != nil {
		e.t.Log(err) // it may have exited for want of a certificate
	}
}

func (e *estate) recreate(r *rand.Rand) {
	ids := e.ids[pick(r, []string{"web", "db", "many", "client"})]
	i := r.IntN(len(ids))
	id, err := e.Recreate(ids[i])
	if err != nil {
		e.t.Fatal(err)
	}
	ids[i] = id
}

// swap puts another place's file where one of the same name was.
func (e *estate) swap(from, to reconcile.Location, name string) {
	c := e.Read(e.t.Context(), []reconcile.PlaceQuery{{At: from, Files: []string{name}}}, true)[0]
	if f := c.Files[name]; f.Data != nil {
		e.Edit(to, name, f.Data)
	}
}

// TestDrift lets an estate drift at random, and mostly converges in between. Once the drift ends, rest is reached in
// three passes and stays.
func TestDrift(t *testing.T) {
	seeds := uint64(driftSeeds)
	if testing.Short() { // under the race detector
		seeds /= 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.steady()
			r := rand.New(rand.NewPCG(seed, 0))
			var told []string
			for range 1 + r.IntN(8) {
				d := pick(r, drifts)
				told = append(told, d.name)
				d.do(e, r)
				time.Sleep(5 * time.Minute)
				if r.IntN(4) > 0 {
					e.converge()
				}
			}
			e.rest()
			if t.Failed() {
				t.Fatalf("seed %d: %s", seed, strings.Join(told, ", "))
			}
		})
	}
}

// rest converges for the last time: at most three passes, and then none.
func (e *estate) rest() {
	e.t.Helper()
	if out := e.converge(); out.Passes > 3 {
		e.t.Errorf("%d passes to come to rest", out.Passes)
	}
	e.start() // what had no certificate to start with
	for binding, ids := range e.ids {
		if strings.Contains(e.state(binding, time.Now()).Reason, "made anew since the container started") {
			_ = e.Start(ids[0]) // as its hint says
		}
	}
	e.converge()
	if out := e.converge(); out.Passes > 0 {
		e.t.Errorf("%d passes at rest", out.Passes)
	}
	e.audit()
}

// TestShuffled has the same plan for the same world, again and again: no map's order shows.
func TestShuffled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		want := text(e.plan(reconcile.Scope{}))
		for range 100 {
			if got := text(e.plan(reconcile.Scope{})); got != want {
				t.Fatalf("two plans of one world:\n%s\n%s", want, got)
			}
		}
	})
}
