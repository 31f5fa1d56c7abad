package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// As many times a place is changed under certwright while it writes there.
const swaps = 10_000

// TestSwappedLinks has the owner of a volume swap whatever stands in it for links to things outside, as fast as it
// can without stopping it, while certwright writes there, adopts and clears. Nothing outside changes, and when it ends all heals.
func TestSwappedLinks(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"atomic":   {"volume: VOLUME"},
		"plain":    {"volume: VOLUME", "layout: plain"},
		"a folder": {"container: NAME", "path: /certs/tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			volume := dockertest.Volume(t)
			c := s.server(dockertest.Container{Name: "owner", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/certs"}}})
			s.spec(strings.NewReplacer("VOLUME", volume, "NAME", c.Name).Replace(strings.Join(lines, "\n    ")))
			s.want(exitDone, "apply")

			// The canary is on the same file system, so that hard links reach it, too.
			canary := mountpoint(t, dockertest.Volume(t))
			for _, f := range []string{"cert.pem", "key.pem", "ca.pem", ".certwright.json", "dir/cert.pem"} {
				path := filepath.Join(canary, f)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("canary of "+f+"\n"), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			before := tree(t, canary)
			a := attacker{dir: mountpoint(t, volume), canary: canary, rand: rand.New(rand.NewPCG(1, 2))}
			ctx, stop := context.WithCancel(t.Context())
			attack := make(chan error)
			go func() { attack <- a.run(ctx) }()
			applies, codes, start := 0, map[int]int{}, time.Now()
			for a.swapped.Load() < swaps || codes[exitDone] < 5 {
				if t.Context().Err() != nil || time.Since(start) > 2*time.Minute {
					break
				}
				for _, args := range [][]string{{"rotate", "identity/web"}, {"adopt", "web"}, {"apply"}} {
					codes[s.run(args...).code]++
					applies++
				}
			}
			stop()
			if err := <-attack; err != nil {
				t.Fatal(err)
			}
			t.Logf("%d swaps during %d calls, which exited with %v", a.swapped.Load(), applies, codes)
			if a.swapped.Load() < swaps || codes[exitDone] < 5 {
				t.Error("too little was swapped, or written while it was: nothing is shown")
			}
			if diff := cmp.Diff(before, tree(t, canary)); diff != "" {
				t.Errorf("something outside was changed (-before +after):\n%s", diff)
			}
			a.clear(t)
			s.want(exitDone, "apply")
			s.want(exitDone, "plan", "--exit-code")
		})
	}
}

// attacker owns a place, as a container does: it can reach nothing else.
type attacker struct {
	dir, canary string
	rand        *rand.Rand
	swapped     atomic.Int64
}

// run swaps until ctx ends.
func (a *attacker) run(ctx context.Context) error {
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// Without a breath in between certwright would never find the place well, and so never write.
	breath := time.NewTicker(time.Millisecond)
	defer breath.Stop()
	for ctx.Err() == nil {
		<-breath.C
		names := []string{"cert.pem", "key.pem", "ca.pem", "..data", ".certwright.json", "tls", "tls/..data", "tls/cert.pem"}
		for _, dir := range []string{".", "tls"} {
			if entries, err := fs.ReadDir(root.FS(), dir); err == nil {
				for _, e := range entries { // generations, backups, links that are about to be renamed
					name := filepath.Join(dir, e.Name())
					names = append(names, name, name, name+"/cert.pem", name+"/key.pem")
				}
			}
		}
		for range 3 {
			a.swap(root, names[a.rand.IntN(len(names))])
		}
	}
	return nil
}

// swap puts something that leads outside in the place of what is at name, and mostly takes it back at once: then
// certwright finds all well when it looks, and something else when it writes.
func (a *attacker) swap(root *os.Root, name string) {
	_ = root.RemoveAll("aside")
	_ = root.Rename(name, "aside")
	var err error
	switch base := filepath.Base(name); a.rand.IntN(5) {
	case 0:
		err = root.Symlink(a.canary, name)
	case 1:
		err = root.Symlink(filepath.Join(a.canary, "dir"), name)
	case 2:
		err = root.Symlink(filepath.Join(a.canary, base), name)
	case 3: // more than a container can do
		if name == base {
			err = os.Link(filepath.Join(a.canary, base), filepath.Join(a.dir, base))
		}
	case 4:
		err = root.Symlink(strings.Repeat("../", 12)+strings.TrimPrefix(a.canary, "/"), name)
	}
	if err == nil {
		a.swapped.Add(1)
	}
	if a.rand.IntN(200) > 0 {
		_ = root.Remove(name)
		_ = root.Rename("aside", name)
	}
}

// clear empties the place.
func (a *attacker) clear(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(a.dir, e.Name())); err != nil {
			t.Fatal(fmt.Errorf("clear the place: %w", err))
		}
	}
}
