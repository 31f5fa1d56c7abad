package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
)

// lane is a scene in which certwright is killed again and again: a server on a directory, a volume without a
// consumer, and whoever watches both.
type lane struct {
	scene
	web    dockertest.Running
	volume string // its directory
	at     time.Time
	word   string   // the effects of interest begin so
	root   [32]byte // of the CA, once it may not change any more; zero before
	watch  []*watcher
}

// newLane makes a lane at rest.
func newLane(t *testing.T, reload, ladder, identity string) *lane {
	t.Helper()
	l := &lane{scene: newScene(t), at: time.Now()}
	l.now = func() time.Time { return l.at }
	volume := dockertest.Volume(t)
	l.volume = mountpoint(t, volume)
	l.web = l.server(dockertest.Container{Name: "lane"}, "-reload", reload)
	l.write("tls.yaml", fmt.Sprintf(`version: 1
project: %s
cas:
  internal: {local: {lifetime: 10y}}
  services: {local: {parent: internal, lifetime: 9y}}
identities:
  web: {ca: services, names: [web.test], %s}
bindings:
  web: {identity: web, container: %s, directory: ./certs, reload: %s, probe: {port: 8443}}
  vol: {identity: web, volume: %s}
`, l.web.Name, identity, l.web.Name, ladder, volume))
	l.want(exitDone, "apply")
	dockertest.Start(t, l.web.ID)
	served(t, l.web.ID)
	for range 4 { // so that there are as many generations as ever will be
		l.want(exitDone, "rotate", "identity/web")
	}
	l.root = l.stored()
	for _, dir := range []string{l.certs, l.volume} {
		l.watch = append(l.watch, watchPair(t, dir))
	}
	l.rests("at the beginning")
	return l
}

// rests checks that the lane is as it should be, and that nothing of an interrupted run is left.
func (l *lane) rests(when string) {
	l.t.Helper()
	d := l.status()
	if web, vol := d.binding(l.t, "web"), d.binding(l.t, "vol"); web.State != "Ready" || vol.State != "Unverified" || !d.Converged {
		l.t.Errorf("%s: web is %s (%s), vol is %s (%s), converged %v", when, web.State, web.Reason, vol.State, vol.Reason, d.Converged)
	}
	if r := l.run("plan", "--exit-code"); r.code != exitDone {
		l.t.Errorf("%s: the plan is not empty:\n%s%s", when, r.out, r.err)
	}
	want := placed(l.t, l.certs)
	if got := served(l.t, l.web.ID); got != want || placed(l.t, l.volume) != want {
		l.t.Errorf("%s: serves %s, the volume has %s, want %s", when, got, placed(l.t, l.volume), want)
	}
	if root := l.stored(); l.root != [32]byte{} && root != l.root {
		l.t.Errorf("%s: there is another root", when)
	}
	for _, dir := range []string{l.certs, l.volume} {
		if left := orphans(l.t, dir, "ca.pem", "cert.pem", "key.pem", "..data"); len(left) > 0 {
			l.t.Errorf("%s: left in %s: %v", when, dir, left)
		}
	}
	if left := orphans(l.t, filepath.Join(l.dir, ".certwright"), "state", "store.json", "lock", ".gitignore"); len(left) > 0 {
		l.t.Errorf("%s: left in the store: %v", when, left)
	}
	l.alone()
	for _, w := range l.watch {
		if err := w.wrong(); err != nil {
			l.t.Errorf("%s: %v", when, err)
		}
	}
}

// alone waits until the engine has removed the couriers whose certwright is gone.
func (l *lane) alone() {
	l.t.Helper()
	cli := dockertest.Engine(l.t)
	dockertest.Poll(l.t, 20*time.Second, "no courier to be left", func() error {
		left, err := cli.ContainerList(l.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(
			filters.Arg("label", "certwright.courier"), filters.Arg("label", "certwright.project="+l.web.Name),
		)})
		if err != nil || len(left) == 0 {
			return err
		}
		if left[0].State == container.StateCreated {
			l.sweep()
		}
		return fmt.Errorf("%s is %s", left[0].Names, left[0].State)
	})
}

// sweep has a certwright make a courier, which removes one that the engine made when its certwright was gone already: a request
// that was under way then may be carried out after the next certwright has looked.
func (l *lane) sweep() {
	l.t.Helper()
	next, at := l.scene, l.at
	if now := time.Now(); at.Before(now) {
		at = now
	}
	next.couriers, next.args = true, append([]string{"--courier-binary", staticBinary(l.t)}, l.args...)
	next.now = func() time.Time { return at.Add(2 * time.Minute) }
	next.run("plan")
}

// orphans lists what is in a directory beside the names: all of it, but for the generation in use and two before it.
func orphans(t testing.TB, dir string, names ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left, generations []string
	for _, e := range entries {
		switch {
		case slices.Contains(names, e.Name()):
		case slices.Contains(names, "..data") && strings.HasPrefix(e.Name(), "..certwright-") && e.IsDir():
			generations = append(generations, e.Name())
		default:
			left = append(left, e.Name())
		}
	}
	if len(generations) > 3 {
		left = append(left, generations...)
	}
	return left
}

// stored is a hash of the root in the store, zero when there is none.
func (l *lane) stored() [32]byte {
	l.t.Helper()
	s, err := store.Open(l.t.Context(), filepath.Join(l.dir, ".certwright"), store.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	st, err := s.Load(l.t.Context())
	if errors.Is(err, reconcile.ErrNoStore) {
		return [32]byte{}
	}
	if err != nil {
		l.t.Fatal(err)
	}
	g := st.CAs["internal"].Active()
	if g == nil {
		return [32]byte{}
	}
	return sha256.Sum256(g.Certificate)
}

// trusted is a hash of the root that lies in a directory, zero when there is none.
func trusted(t testing.TB, dir string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return [32]byte{}
	}
	block, _ := pem.Decode(data)
	if err != nil || block == nil {
		t.Fatalf("ca.pem: %v", err)
	}
	return sha256.Sum256(block.Bytes)
}

// watcher reads a place as a careful server does, without a pause: both files through one handle of the directory.
type watcher struct {
	stop  context.CancelFunc
	fault chan error
	reads int
}

func watchPair(t *testing.T, dir string) *watcher {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{stop: cancel, fault: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.read(ctx, dir)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		t.Logf("%d pairs were read in %s", w.reads, filepath.Base(dir))
		if w.reads == 0 {
			t.Error("no pair was ever read")
		}
	})
	return w
}

// wrong is the first wrong pair since the last call, or nil.
func (w *watcher) wrong() error {
	select {
	case err := <-w.fault:
		return err
	default:
		return nil
	}
}

func (w *watcher) read(ctx context.Context, dir string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	good := map[[32]byte]bool{}
	for ctx.Err() == nil {
		<-tick.C
		cert, key, err := readPair(filepath.Join(dir, "..data"))
		if err != nil {
			continue // there is none now, or its generation is gone
		}
		w.reads++
		sum := sha256.Sum256(append(bytes.Clone(cert), key...))
		if good[sum] {
			continue
		}
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			select {
			case w.fault <- fmt.Errorf("a reader saw a wrong pair in %s: %w", dir, err):
			default:
			}
		}
		good[sum] = true
	}
}

func readPair(dir string) (cert, key []byte, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	if cert, err = root.ReadFile("cert.pem"); err == nil {
		key, err = root.ReadFile("key.pem")
	}
	return cert, key, err
}

// watchWire makes handshakes with a server all the time; the test fails if one does not come about.
func watchWire(t *testing.T, id string) {
	address := net.JoinHostPort(dockertest.Address(t, id), "8443")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	made := 0
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var failed error
		for ctx.Err() == nil {
			<-tick.C
			start := time.Now()
			if _, err := handshake(address); err != nil {
				failed = errors.Join(failed, fmt.Errorf("at %s after %s: %w", start.Format(time.TimeOnly), time.Since(start), err))
			}
			made++
		}
		ended <- failed
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil || made == 0 {
			t.Errorf("%d handshakes, of which failed: %v", made, err)
		}
		t.Logf("%d handshakes", made)
	})
}
