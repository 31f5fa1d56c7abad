package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// cheap costs keep tests with passphrases fast; TestGolden has the real ones.
var cheap = costs{Time: 1, Memory: 64, Threads: 1}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err has all the words and none of what must never be told.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "open sesame") {
		t.Errorf("error %q has the passphrase", err)
	}
}

func opened(t *testing.T, path string, o Options) *Store {
	t.Helper()
	if o.Project == "" {
		o.Project = "shop"
	}
	s, err := open(t.Context(), path, o, cheap)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func loaded(t *testing.T, s *Store) reconcile.State {
	t.Helper()
	state, err := s.Load(t.Context())
	must(t, err)
	return state
}

func same(t *testing.T, want, got reconcile.State) {
	t.Helper()
	if d := diff(want, got); d != "" {
		t.Errorf("another state (-want +got):\n%s", d)
	}
}

func diff(want, got reconcile.State) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b reconcile.PrivateKey) bool {
		return bytes.Equal(a.PKCS8(), b.PKCS8())
	}))
}

// with is a state with some of everything, different for each n. Its keys are no keys.
func with(n int) reconcile.State {
	at := time.Date(2026, 11, 22, 10, 0, n, 123456789, time.UTC)
	root, chain := []byte("the root"), [][]byte{[]byte("an intermediate"), []byte("the root")}
	return reconcile.State{
		Installation: "0123456789abcdef0123456789abcdef",
		Project:      "shop",
		CAs: map[string]reconcile.CA{"internal": {Generations: []reconcile.Generation{{
			ID: 1, State: reconcile.GenerationActive, Certificate: root, Key: secret("ca", n), KeyID: "c0ffee",
			NotBefore: at, NotAfter: at.AddDate(10, 0, 0), Created: at,
		}}, Kept: secret("kept", n)}},
		Identities: map[string]reconcile.Issued{"web": {
			Serial: fmt.Sprintf("%032x", n), Certificate: []byte("a leaf"), Chain: chain[:1], Root: root,
			Key: secret("leaf", n), CA: "internal", NotAfter: at.AddDate(0, 1, 0), Reason: "not issued",
			Wanted:   reconcile.Profile{Names: []string{"dns:web"}, Key: "ecdsa-p256", Lifetime: 720 * time.Hour},
			Unbidden: []time.Time{at},
		}},
		Places: map[reconcile.Location]reconcile.PlaceRow{
			{Host: "local", Dir: "/srv/web"}:              {Binding: "web", Files: []string{"ca.pem"}, First: at.Add(-time.Hour), At: at},
			{Host: "core-02", Volume: "db", Sub: "certs"}: {Binding: "db", Wrote: "f", Version: 4, Reverts: []time.Time{at, at}},
			inContainer: {Binding: "trust", Files: []string{"ca.pem"}, At: at},
		},
		Loads:  map[string]reconcile.Load{"local/container/web": {Target: "cafe", Proved: true, Rung: 1, Served: "02", At: at}},
		Owners: map[string]reconcile.Owner{"cafe/nginx": {UID: 101, GID: 101}},
		Wishes: map[string]reconcile.Wish{"identity/web": {At: at, Serial: "01", NewKey: true}},
		Failures: map[string]reconcile.Failure{"identity/web issue": {
			Count: 3, At: at, Next: at.Add(time.Hour), Refused: true, About: "f", Error: "refused",
		}},
		Revocations: map[string]reconcile.Revocation{"0a": {Identity: "web", Issued: reconcile.Issued{Serial: "0a", CA: "internal", Key: secret("old", n)}, At: at}},
	}
}

// secret is recognisable in every encoding, and as long as a P-256 key is.
func secret(what string, n int) reconcile.PrivateKey {
	return reconcile.NewPrivateKey([]byte(strings.Repeat(fmt.Sprintf("no key, but secret: %s %d. ", what, n), 6)[:138]))
}

func TestFirstCommitMakesTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", ".certwright")
	s := opened(t, path, Options{Writer: true})
	if _, err := s.Load(t.Context()); !errors.Is(err, reconcile.ErrNoStore) {
		t.Fatalf("got %v, want ErrNoStore", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("reading made the directory")
	}
	must(t, s.Commit(t.Context(), reconcile.State{}))
	got := loaded(t, s)
	if len(got.Installation) != 32 || got.Project != "shop" || got.CAs == nil || got.Wishes == nil {
		t.Errorf("got %+v", got)
	}
	must(t, s.Commit(t.Context(), reconcile.State{}))
	same(t, got, loaded(t, opened(t, path, Options{})))

	for name, want := range map[string]fs.FileMode{".": 0o700, ".gitignore": 0o600, "lock": 0o600, "state": 0o600, "store.json": 0o600} {
		info, err := os.Stat(filepath.Join(path, name))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	ignore, err := os.ReadFile(filepath.Join(path, ".gitignore"))
	must(t, err)
	if string(ignore) != "*\n" {
		t.Errorf(".gitignore holds %q", ignore)
	}
}

// TestRoundTrip has rapid fill every field there is, so that one the document does not know shows.
func TestRoundTrip(t *testing.T) {
	asAny := rapid.MakeConfig{Types: map[reflect.Type]*rapid.Generator[any]{
		reflect.TypeFor[time.Time](): rapid.Custom(func(t *rapid.T) time.Time {
			return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
		}).AsAny(),
		reflect.TypeFor[reconcile.PrivateKey](): rapid.Custom(func(t *rapid.T) reconcile.PrivateKey {
			return reconcile.NewPrivateKey(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "key"))
		}).AsAny(),
		reflect.TypeFor[string](): rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "text"))
		}).AsAny(),
		reflect.TypeFor[[]byte]():   rapid.SliceOfN(rapid.Byte(), 0, 3).AsAny(),
		reflect.TypeFor[[][]byte](): rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 2), 0, 3).AsAny(),
		reflect.TypeFor[[]string](): rapid.SliceOfN(rapid.StringN(0, 3, -1), 0, 3).AsAny(),
	}}
	states := rapid.MakeCustom[reconcile.State](asAny)
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{Writer: true, Disk: disk.Disk{Around: quick}})
	rapid.Check(t, func(rt *rapid.T) {
		want := states.Draw(rt, "state")
		want.Installation, want.Project = "0a", "shop"
		if err := s.Commit(context.Background(), want); err != nil {
			rt.Fatal(err)
		}
		got, err := s.Load(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		if d := diff(want, got); d != "" {
			rt.Fatal(d)
		}
	})
}

// quick leaves out what costs time and is not seen without a power failure.
func quick(what string, do func() error) error {
	if strings.HasPrefix(what, "sync") {
		return nil
	}
	return do()
}

func TestZeroAndLocalTimes(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "store"), Options{Writer: true})
	want := with(1)
	zone := time.FixedZone("", 3600)
	want.Wishes = map[string]reconcile.Wish{"zero": {}, "local": {At: time.Date(2026, 1, 2, 3, 4, 5, 6, zone)}}
	must(t, s.Commit(t.Context(), want))
	if at := want.Wishes["local"].At; at.Location() != zone {
		t.Error("Commit changed the state it was given")
	}
	got := loaded(t, s)
	same(t, want, got)
	if !got.Wishes["zero"].At.IsZero() || got.Wishes["local"].At.Location() != time.UTC {
		t.Errorf("got %+v", got.Wishes)
	}
}

func TestEqualStatesAreEqualDocuments(t *testing.T) {
	want := encode(with(1))
	for range 20 {
		if !bytes.Equal(want, encode(with(1))) {
			t.Fatal("the document depends on the order of a map")
		}
	}
}

func TestReaderWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := opened(t, path, Options{})
	refused(t, s.Commit(t.Context(), with(1)), "reading")
	refused(t, s.Reseal(t.Context(), nil), "no store")
	if _, err := os.Stat(path); err == nil {
		t.Error("the directory was made")
	}
	w := opened(t, path, Options{Writer: true})
	must(t, w.Commit(t.Context(), with(1)))
	refused(t, s.Reseal(t.Context(), nil), "reading")
	same(t, with(1), loaded(t, s))
}

func TestCommitReplacesOnlyWhatWasSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	a := opened(t, path, Options{Writer: true})
	b := opened(t, path, Options{Writer: true})
	must(t, a.Commit(t.Context(), with(1)))
	must(t, a.Close())
	refused(t, b.Commit(t.Context(), with(2)), "changed since it was read")
	same(t, with(1), loaded(t, b))
	must(t, b.Commit(t.Context(), with(2)))

	other := with(3)
	other.Installation = "another"
	refused(t, b.Commit(t.Context(), other), "another installation")
	other = with(3)
	other.Project = "other"
	refused(t, b.Commit(t.Context(), other), "project")
	same(t, with(2), loaded(t, b))

	// Someone else, who does not care for locks.
	must(t, os.Remove(filepath.Join(path, "state")))
	refused(t, b.Commit(t.Context(), with(3)), "missing", "restore")
	must(t, os.RemoveAll(path))
	refused(t, b.Commit(t.Context(), with(3)), path)
	if _, err := os.Stat(path); err == nil {
		t.Error("a store that vanished was made anew")
	}
}
