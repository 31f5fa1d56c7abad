package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// TestLockedPlace has a place whose lock somebody keeps: it is left alone, and the others are written.
func TestLockedPlace(t *testing.T) {
	held, free := inMemory(t), inMemory(t)
	write(t, local(unsynced), unit(held, "1"))
	before := tree(t, held)
	dir, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	errs := local(unsynced).Write(ctx, []reconcile.Unit{unit(held, "2"), unit(free, "2")})
	if !errors.Is(errs[0], context.DeadlineExceeded) || !strings.Contains(errs[0].Error(), "another process has held the lock") || errs[1] != nil {
		t.Errorf("got %v", errs)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	removed := local(unsynced).Remove(ctx, []reconcile.Removal{{At: unit(held, "").At, Mark: unit(held, "").Mark, Files: []string{"cert.pem"}}})
	if !errors.Is(removed[0], context.DeadlineExceeded) {
		t.Errorf("got %v", removed)
	}
	if d := cmp.Diff(before, tree(t, held)); d != "" {
		t.Errorf("the place was changed (-before +after)\n%s", d)
	}
}
