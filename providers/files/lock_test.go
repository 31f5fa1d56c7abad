package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// TestWriters lets several write the same two places at once, as two applies with a store in the Swarm may.
func TestWriters(t *testing.T) {
	for how, change := range map[string]edit{"atomic": func(*reconcile.Unit) {}, "plain": plain, "in place": inPlace} {
		t.Run(how, func(t *testing.T) {
			a, b := inMemory(t), inMemory(t)
			var writers sync.WaitGroup
			for w := range 4 {
				writers.Go(func() {
					for n := range 100 {
						units := []reconcile.Unit{unit(a, fmt.Sprint(w, n), change), unit(b, fmt.Sprint(w, n), change)}
						if w%2 == 1 {
							units[0], units[1] = units[1], units[0]
						}
						for _, err := range local(unsynced).Write(t.Context(), units) {
							if err != nil {
								t.Error(err)
								return
							}
						}
					}
				})
			}
			writers.Wait()
			for _, dir := range []string{a, b} {
				cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
				key, err2 := os.ReadFile(filepath.Join(dir, "key.pem"))
				if err := errors.Join(err, err2); err != nil || string(cert[len("cert.pem "):]) != string(key[len("key.pem "):]) {
					t.Errorf("left is %q and %q, %v", cert, key, err)
				}
				left, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
				if most := 1 + oldGenerations; err != nil || len(left) > most {
					t.Errorf("%d generations, at most %d stay", len(left), most)
				}
			}
		})
	}
}

// TestLockedPlace has a place whose lock somebody keeps, as any container can that mounts it: it is waited for, and then
// written and removed all the same.
func TestLockedPlace(t *testing.T) {
	held := inMemory(t)
	write(t, local(unsynced), unit(held, "1"))
	dir, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l := local(unsynced)
	l.patience = 50 * time.Millisecond
	start := time.Now()
	write(t, l, unit(held, "2"))
	placed(t, unit(held, "2"))
	must(t, remove(l, unit(held, "2")))
	if took := time.Since(start); took < 2*l.patience {
		t.Errorf("nobody waited: it took %s", took)
	}
	if names := leftovers(t, held); len(names) > 0 {
		t.Errorf("left are %q", names)
	}
}

// TestLateInTheMiddle has somebody else write a place after a writer looked at it, as when that one made it, or could not
// have its lock.
func TestLateInTheMiddle(t *testing.T) {
	of := func(version int) func(*reconcile.Unit) {
		return func(u *reconcile.Unit) { u.Mark.Version = version }
	}
	for how, change := range map[string]edit{"atomic": func(*reconcile.Unit) {}, "plain": plain} {
		for name, before := range map[string]int{"a new place": 0, "a place that is there": 1} {
			t.Run(how+", "+name, func(t *testing.T) {
				dir := filepath.Join(inMemory(t), "web")
				if before > 0 {
					write(t, local(unsynced), unit(dir, "before", change, of(before)))
				}
				impatient := local(unsynced)
				impatient.patience = time.Millisecond
				met := false
				late := local(func(what string, do func() error) error {
					if strings.HasPrefix(what, "mkdir") && strings.Contains(what, prefix) && !met {
						met = true
						write(t, impatient, unit(dir, "newer", change, of(3)))
					}
					return unsynced(what, do)
				})
				errs := late.Write(t.Context(), []reconcile.Unit{unit(dir, "older", change, of(2))})
				if !met || !errors.Is(errs[0], reconcile.ErrChanged) {
					t.Errorf("met: %v, error: %v", met, errs[0])
				}
				placed(t, unit(dir, "newer", change, of(3)))
			})
		}
	}
}
