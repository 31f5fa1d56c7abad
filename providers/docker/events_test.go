package docker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// words are those an engine said.
type words struct {
	mu   sync.Mutex
	said []string
}

func (w *words) say(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, what)
}

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

// listen has an engine's events listened to until the test ends, and then they are not any more.
func listen(t *testing.T, e *Engine) *words {
	t.Helper()
	w := &words{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Events(ctx, w.say)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it still listens")
		}
	})
	return w
}

// TestEvents hears of a container, and of no courier. Other tests have containers on the same engine.
func TestEvents(t *testing.T) {
	e, direct := engine(t)
	w := listen(t, e)
	dockertest.Poll(t, 30*time.Second, "the start of a container to be heard", func() error {
		// Only what comes after it has connected is heard.
		made := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, dockertest.Curl), Name: "heard"})
		e.mute.note(made.ID, 1, errors.New("it refused before it was started"))
		dockertest.Start(t, made.ID)
		if !slices.Contains(w.all(), "container start") {
			return errorf("heard %q", w.all())
		}
		e.mute.mu.Lock()
		defer e.mute.mu.Unlock()
		if was, is := e.mute.of[inner{made.ID, 1}]; is {
			return errorf("it is still known that %w", was.err)
		}
		return nil
	})
	e.o.ForceCourier = true
	since := time.Now()
	volume := reconcile.Location{Host: "local", Volume: dockertest.Volume(t)}
	if got := (Places{Engines: Engines{"local": e}}).Read(soon(t), []reconcile.PlaceQuery{{At: volume, Files: []string{"x"}}}, true); got[0].Err != nil {
		t.Fatal(got[0].Err)
	}
	messages, _ := direct.Events(soon(t), events.ListOptions{Since: since.Format(time.RFC3339Nano), Filters: filters.NewArgs(filters.Arg("label", labelProject+"="+t.Name()))})
	for range 2 { // create and start, at least
		select {
		case m := <-messages:
			if said := e.word(m); said != "" {
				t.Errorf("%+v of a courier is heard as %q", m, said)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the engine says nothing of the courier")
		}
	}
}

// TestEventsOfConfigs hears of the configs of bindings, and not of those of the store: each commit makes one.
func TestEventsOfConfigs(t *testing.T) {
	e := New("local", Options{Project: "shop"})
	for name, want := range map[string]string{"shop-api-ca.pem-0": "config create", "certwright-state-shop-1": "", "shop_own": ""} {
		m := events.Message{Type: events.ConfigEventType, Action: events.ActionCreate, Actor: events.Actor{Attributes: map[string]string{"name": name}}}
		if got := e.word(m); got != want {
			t.Errorf("%s is heard as %q, want %q", name, got, want)
		}
	}
}

// TestEventsAgain has an engine that hangs up: it is asked for its events again, and that is said.
func TestEventsAgain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 16)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/events") {
			asked <- struct{}{}
			http.Error(w, `{"message":"not now"}`, http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	w := listen(t, New("local", Options{Endpoint: "unix://" + socket}))
	for range 2 {
		select {
		case <-asked:
		case <-time.After(30 * time.Second):
			t.Fatal("it does not ask again")
		}
	}
	if said := w.all(); !slices.Contains(said, "engine is back") {
		t.Errorf("it said %q", said)
	}
	broken := New("local", Options{Endpoint: "nonsense"})
	broken.Events(t.Context(), w.say) // returns
}
