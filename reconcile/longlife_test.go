package reconcile_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// The long life has as many identities as this variable says, 10000 for the figures of RELIABILITY.md I25.
const identitiesEnv = "CERTWRIGHT_TEST_IDENTITIES"

const (
	longLife     = 2 * 365 * day
	leafLife     = 30 * day
	longInterval = 6 * time.Hour
	served       = 2  // of the identities have a server
	buckets      = 10 // of the twentieth of a life in which certificates of one age renew
)

// outage is a time in which something does not work.
type outage struct {
	what       string // engine, store, CA down, CA refuses
	start, end time.Time
}

// outages are times without engine, store or CA, each shorter than a quarter of a life.
func outages(r *rand.Rand) (out []outage) {
	at := time.Now()
	for i := 0; ; i++ {
		at = at.Add(time.Duration(40*day) + rand64(r, 60*day))
		length := time.Hour + rand64(r, leafLife/4-2*time.Hour)
		if at.Add(length).After(time.Now().Add(longLife)) {
			return out
		}
		what := []string{"engine", "store", "CA down", "CA refuses"}[i%4]
		out = append(out, outage{what, at, at.Add(length)})
		at = at.Add(length)
	}
}

func rand64(r *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(below)))
}

// longLived is the world of the long life, with what happened in it. Its store copies no more than it must: the one of
// package memory would take most of the time.
type longLived struct {
	reconcile.Authority
	reconcile.Prober
	outages []outage
	state   *reconcile.State

	mu      sync.Mutex
	ends    map[string]time.Time // of the newest certificate of each identity
	first   []time.Time          // when those that were issued first are due
	issues  int
	tries   int // that failed
	expired []string
}

// now is what does not work.
func (l *longLived) now() string {
	for _, o := range l.outages {
		if now := time.Now(); !now.Before(o.start) && now.Before(o.end) {
			return o.what
		}
	}
	return ""
}

func (l *longLived) Issue(id spec.Identity, by reconcile.Generation, reuse reconcile.PrivateKey, now time.Time) (reconcile.Issued, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.now() {
	case "CA down":
		l.tries++
		return reconcile.Issued{}, errDown
	case "CA refuses":
		l.tries++
		return reconcile.Issued{}, fmt.Errorf("%w: too many of them", reconcile.ErrRefused)
	}
	i, err := l.Authority.Issue(id, by, reuse, now)
	if err != nil {
		return i, err
	}
	if end, had := l.ends[id.Name]; !had {
		l.first = append(l.first, reconcile.RenewAt(&id, &i))
	} else if !now.Before(end) {
		l.expired = append(l.expired, id.Name)
	}
	l.issues++
	l.ends[id.Name] = i.NotAfter
	return i, nil
}

func (l *longLived) Load(_ context.Context) (reconcile.State, error) {
	if l.now() == "store" {
		return reconcile.State{}, errDown
	}
	if l.state == nil {
		return reconcile.State{}, reconcile.ErrNoStore
	}
	return l.state.Clone(), nil
}

func (l *longLived) ReadBack(ctx context.Context) (reconcile.State, error) { return l.Load(ctx) }

func (l *longLived) Commit(_ context.Context, s reconcile.State) error {
	if l.now() == "store" {
		return errDown
	}
	s = s.Clone()
	s.Installation = "0a"
	l.state = &s
	return nil
}

func (l *longLived) Probe(ctx context.Context, r reconcile.ProbeRequest) reconcile.Served {
	s := l.Prober.Probe(ctx, r)
	if s.Serial != "" && !r.Now.Before(s.NotAfter) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expired = append(l.expired, "on the wire: "+r.Address)
	}
	return s
}

// TestLongLife has identities for two years, with outages of everything, each shorter than a quarter of a life. No
// certificate ever ends, in the store or on the wire; those that were issued together renew apart; and there is a pass for
// each thing to be done, and no more.
//
// The spread is that of a bucket: a tenth of the time in which certificates of one age renew, which is a twentieth of their
// life. A second is no measure: ten thousand identities renew in a day and a half, one in every thirteen seconds.
func TestLongLife(t *testing.T) {
	n := 100
	if s := os.Getenv(identitiesEnv); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() { // under the race detector
		t.Skip("it is long")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(25, uint64(n)))
		e := newLongLived(t, n)
		a := e.applier()
		l := &longLived{Authority: a.Authority, Prober: a.Prober, outages: outages(r), ends: map[string]time.Time{}}
		a.Authority, a.Store, a.Prober = l, l, l
		if out, err := a.Converge(t.Context(), reconcile.Scope{}); err != nil || out.Err != nil {
			t.Fatal(err, out.Err)
		}
		e.start()
		passes, broken := 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), longLife)
		defer cancel()
		w := reconcile.Watcher{Clock: time.Now, Interval: longInterval, Idle: func() {}}
		w.Pass = func(ctx context.Context, _ string) (time.Time, bool) {
			passes++
			down := ""
			if l.now() == "engine" {
				down = "it is down"
			}
			e.SetEngine("local", memory.Engine{Down: down})
			out, err := a.Converge(ctx, reconcile.Scope{Patient: true})
			if err != nil {
				broken++
			}
			next := out.Plan.Next
			if n > 1000 && !next.IsZero() { // in a fraction of the passes, which makes it only harder
				next = next.Truncate(longInterval).Add(longInterval)
			}
			return next, err == nil && out.Err == nil
		}
		w.Watch(ctx)
		for name, end := range l.ends {
			if !time.Now().Before(end) {
				l.expired = append(l.expired, name)
			}
		}
		if len(l.expired) > 0 || len(l.ends) != n {
			t.Errorf("%d expired, of %d: %.300v", len(l.expired), len(l.ends), l.expired)
		}
		if most := int(longLife/longInterval) + l.issues + l.tries + broken + 100; passes > most {
			t.Errorf("%d passes for %d issues and %d tries that failed, want up to %d", passes, l.issues, l.tries, most)
		}
		peak := spread(t, l.first)
		if mean := n / buckets; peak > 3*mean {
			t.Errorf("%d renew in a bucket, where the mean is %d", peak, mean)
		}
		t.Logf("%d identities, %d outages, %d issues, %d tries failed, %d passes, %d of them without a store, peak %.2f of the mean",
			n, len(l.outages), l.issues, l.tries, passes, broken, float64(peak)*buckets/float64(n))
	})
}

// spread is the most in a bucket of those that are due.
func spread(t *testing.T, due []time.Time) (peak int) {
	t.Helper()
	in := make([]int, buckets)
	window := leafLife / 20
	last := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(leafLife / 3 * 2) // every bubble begins then
	for _, at := range due {
		i := int(last.Sub(at) * buckets / (window + time.Second))
		if i < 0 || i >= buckets {
			t.Fatalf("due at %s, %s before the last", at, last.Sub(at))
		}
		in[i]++
		peak = max(peak, in[i])
	}
	return peak
}

// newLongLived is an estate of n identities, some of which have a server.
func newLongLived(t *testing.T, n int) *estate {
	t.Helper()
	e := newEstate(t)
	var ids, bindings strings.Builder
	for i := range n {
		fmt.Fprintf(&ids, "  i%d: {ca: internal, names: [i%d], lifetime: 30d}\n", i, i)
	}
	for i := range served {
		fmt.Fprintf(&bindings, "  b%d: {identity: i%d, container: c%d, volume: v%d, reload: {signal: HUP}, probe: {port: 443}}\n", i, i, i, i)
	}
	e.read("version: 1\nproject: shop\ncas: {internal: {local: {lifetime: 10y}}}\nidentities:\n" + ids.String() + "bindings:\n" + bindings.String())
	for i := range served {
		e.create(fmt.Sprintf("b%d", i), memory.Container{
			Container: reconcile.Container{Name: fmt.Sprintf("c%d", i), Mounts: []reconcile.Mount{{Type: "volume", Name: fmt.Sprintf("v%d", i), Destination: "/certs"}}},
			Server:    &memory.Server{Port: 443, Cert: "/certs/cert.pem", Key: "/certs/key.pem", Behaviour: memory.Reloads},
		})
	}
	return e
}
