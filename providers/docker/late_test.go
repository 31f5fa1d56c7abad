package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// stalled is an engine that begins an answer, or none, and then hangs.
type stalled struct{ begins bool }

func (s stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.begins {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(never{r.Context()}), Request: r}, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

type never struct{ context.Context }

func (n never) Read([]byte) (int, error) {
	<-n.Done()
	return 0, n.Err()
}

// TestLate tells the engine that does not answer in time from everything else that ends a call.
func TestLate(t *testing.T) {
	list := func(ctx context.Context, e *Engine) error {
		_, err := e.volumes(ctx)
		return err
	}
	restart := func(ctx context.Context, e *Engine) error {
		return e.cli.ContainerRestart(ctx, "c", container.StopOptions{})
	}
	create := func(ctx context.Context, e *Engine) error { return e.CreateVolume(ctx, "certs", nil) }
	hire := func(ctx context.Context, e *Engine) error {
		_, err := e.start(ctx, "certwright-courier-1", "sha256:1", job{})
		return err
	}
	long := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Minute)
	}
	for name, row := range map[string]struct {
		stalled
		until func(context.Context) (context.Context, context.CancelFunc)
		ask   func(context.Context, *Engine) error
		away  string // the call; "" for what is no fault of the engine
		took  time.Duration
	}{
		"a question":      {stalled{}, long, list, "GET /volumes", answerTimeout},
		"half an answer":  {stalled{true}, long, list, "GET /volumes", answerTimeout},
		"something made":  {stalled{}, long, create, "POST /volumes/create", answerTimeout},
		"what takes long": {stalled{}, long, restart, "", time.Minute},
		"the user has enough": {stalled{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(3*time.Second, cancel)
			return ctx, cancel
		}, list, "", 3 * time.Second},
		"it is given up": {stalled{}, givenUpAfter(3 * time.Second), list, "GET /volumes", 3 * time.Second},
		"others had the time": {stalled{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, leastWait/2)
		}, list, "", leastWait / 2},
		"a handshake has no more time": {stalled{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second)
		}, list, "", 5 * time.Second},
		"a courier is asked for": {stalled{}, long, hire, "POST /containers/create", createTimeout},
		"a handshake has no more time for a courier": {stalled{}, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second)
		}, hire, "", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := &http.Client{Transport: &http.Transport{}}
				cli, err := client.NewClientWithOpts(client.WithHTTPClient(requests), client.WithHost("tcp://engine.test:2376"), client.WithVersion("1.41"))
				if err != nil {
					t.Fatal(err)
				}
				requests.Transport = timely{row.stalled, "core-02 at tcp://engine.test:2376"} // only now: the client looks into its transport when it is made
				ctx, cancel := row.until(t.Context())
				defer cancel()
				began := time.Now()
				err = row.ask(ctx, &Engine{host: "core-02", cli: cli})
				if err == nil || isAway(err) != (row.away != "") {
					t.Errorf("%v, want %q", err, row.away)
				}
				if took := time.Since(began); took != row.took {
					t.Errorf("it took %s, want %s", took, row.took)
				}
				away := reconcile.Away{}
				want := fmt.Sprintf("engine core-02 at tcp://engine.test:2376 does not answer: no answer in time to %s; look whether it hangs, or is overloaded", row.away)
				if row.away != "" && (!errors.As(err, &away) || away.Error() != want) {
					t.Errorf("%v, want %q", err, want)
				}
			})
		})
	}
}

// TestHangingPlaces has an engine that hangs asked once for all places that are reached through it.
func TestHangingPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := &http.Client{Transport: &http.Transport{}}
		cli, err := client.NewClientWithOpts(client.WithHTTPClient(requests), client.WithHost("tcp://engine.test:2376"), client.WithVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		requests.Transport = timely{counted{stalled{}, &asked}, "core-02"}
		e := &Engine{host: "core-02", cli: cli, o: Options{Now: time.Now}}
		var queries []reconcile.PlaceQuery
		for i := range 8 {
			queries = append(queries, reconcile.PlaceQuery{At: reconcile.Location{Host: "core-02", Dir: fmt.Sprint("/srv/", i), Machine: true}})
		}
		began := time.Now()
		for _, c := range (Places{Engines: Engines{"core-02": e, spec.LocalHost: e}}).Read(t.Context(), queries, true) {
			if !isAway(c.Err) || !strings.Contains(c.Err.Error(), "no answer in time to GET /info") {
				t.Errorf("%v", c.Err)
			}
		}
		if took := time.Since(began); took != answerTimeout || asked != 1 {
			t.Errorf("%d questions took %s", asked, took)
		}
	})
}

type counted struct {
	http.RoundTripper
	n *int
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	*c.n++
	return c.RoundTripper.RoundTrip(r)
}

// TestLateAttach has an engine attach nothing: it is to blame where it is waited for no longer, and not where who asked has no
// more time.
func TestLateAttach(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/attach") {
			<-stop
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id": "cafe"}`)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { close(stop); _ = server.Close() })
	cli, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		until func(context.Context) (context.Context, context.CancelFunc)
		away  bool
	}{
		"a handshake has no more time": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, leastWait+leastWait/5)
		}, false},
		"it is given up":      {givenUpAfter(leastWait + leastWait/5), true},
		"others had the time": {givenUpAfter(leastWait / 5), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := row.until(t.Context())
			defer cancel()
			_, err := (&Engine{host: "core-02", cli: cli}).start(ctx, "certwright-courier-1", "sha256:1", job{})
			if err == nil || ctx.Err() == nil || isAway(err) != row.away {
				t.Errorf("%v, want Away: %t", err, row.away)
			}
		})
	}
}

// givenUpAfter is a context of which nobody waits for the end.
func givenUpAfter(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, giveUp := context.WithCancelCause(ctx)
		time.AfterFunc(d, func() { giveUp(context.DeadlineExceeded) })
		return ctx, func() { giveUp(nil) }
	}
}

// TestFarewell is short only with an engine that let the time run out.
func TestFarewell(t *testing.T) {
	for name, row := range map[string]struct {
		ended func(context.Context) (context.Context, context.CancelFunc)
		why   error
		want  time.Duration
	}{
		"nothing has ended": {func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }, nil, answerTimeout},
		"a handshake has no more time": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, nil, answerTimeout},
		"it is given up":                     {givenUpAfter(time.Second), nil, leastWait},
		"it took all the time that there is": {func(ctx context.Context) (context.Context, context.CancelFunc) { return limited(ctx, time.Second) }, nil, leastWait},
		"it did not answer":                  {func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }, away("core-02", "GET /info"), leastWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := row.ended(t.Context())
				defer cancel()
				time.Sleep(2 * time.Second)
				ctx, cancel = farewell(ctx, row.why)
				defer cancel()
				if end, _ := ctx.Deadline(); time.Until(end) != row.want || ctx.Err() != nil {
					t.Errorf("%s, %v, want %s", time.Until(end), ctx.Err(), row.want)
				}
			})
		})
	}
}
