package docker

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// serve runs testdata/server in a container.
func serve(t *testing.T, e *Engine, listen string) reconcile.Container {
	t.Helper()
	return serveIn(t, e, "", listen)
}

// serveIn is serve in a network.
func serveIn(t *testing.T, e *Engine, network, listen string) reconcile.Container {
	t.Helper()
	var ports []int
	if network == "" {
		ports = []int{8080}
	}
	made := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.Curl), Name: "server", Start: true, Ports: ports, Network: network,
		Entrypoint: []string{"/server"}, Cmd: []string{listen},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: built(t, buildServer), Target: "/server", ReadOnly: true}},
	})
	return find(t, e, made.ID)
}

// said makes a request on a connection and returns the answer's body.
func said(t *testing.T, conn net.Conn, path string, body []byte) string {
	t.Helper()
	r, err := http.NewRequest("POST", "http://server"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	go r.Write(conn)
	answer, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDial(t *testing.T) {
	e, cli := engine(t)
	engines := Engines{"local": e}
	open, loopback := serve(t, e, ":8080"), serve(t, e, "127.0.0.1:8080")
	published, inside := open, loopback
	published.Addresses = nil
	inside.Addresses, inside.Published = nil, nil
	alone := serveIn(t, e, "none", ":8080")
	shared := serveIn(t, e, "host", "127.0.0.1:8080")
	shared.Addresses = []string{"127.0.0.2"} // as in a container of its own, where the loopback of the machine is out of reach
	for _, c := range []struct {
		name string
		to   reconcile.Container
		via  string
		// within is whether it is known that nobody else can reach it.
		within bool
	}{
		{"direct", open, open.Addresses[0] + ":8080", false},
		{"published", published, published.Published[8080], false},
		{"loopback only, reachable", loopback, "courier", true},
		{"loopback only, unreachable", inside, "courier", false},
		{"in no network", alone, "courier", true},
		{"in the network of the machine", shared, "courier", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			up(t, open)
			conn, err := engines.Dial(soon(t), c.to, 8080, true)
			if err != nil {
				t.Fatal(err)
			}
			if via := conn.RemoteAddr(); via.String() != c.via && via.Network() != c.via {
				t.Errorf("dialled %s, want %s", via, c.via)
			}
			if _, within := conn.(reconcile.Within); within != c.within {
				t.Errorf("known to be reached from within alone: %t", within)
			}
			if got := said(t, conn, "/x", nil); got != "POST server/x" {
				t.Errorf("answer %q", got)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if left := couriers(t, cli); len(left) > 0 {
				t.Errorf("%d couriers are left", len(left))
			}
		})
	}
	t.Run("from inside, where its addresses are out of reach", func(t *testing.T) {
		far, _ := engine(t)
		far.apart.Store(true)
		for c, want := range map[*reconcile.Container]bool{&open: false, &loopback: true} {
			c := *c
			c.Published = nil
			conn, err := far.Dial(soon(t), c, 8080, true)
			if err != nil {
				t.Fatal(err)
			}
			if _, within := conn.(reconcile.Within); within != want {
				t.Errorf("known to be reached from within alone: %t, want %t", within, want)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("without couriers", func(t *testing.T) {
		if _, err := e.Dial(soon(t), loopback, 8080, false); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("reachable: %v", err)
		}
		if _, err := e.Dial(soon(t), inside, 8080, false); !errors.Is(err, reconcile.ErrNotHere) {
			t.Errorf("unreachable: %v", err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		if _, err := e.Dial(soon(t), open, 9, true); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("reachable: %v", err)
		}
		_, err := e.Dial(soon(t), inside, 9, true)
		expect(t, err, "connection refused")
	})
	t.Run("not running", func(t *testing.T) {
		stopped := inside
		stopped.State = "exited"
		_, err := e.Dial(soon(t), stopped, 8080, true)
		expect(t, err, "is exited")
	})
	if left := couriers(t, cli); len(left) > 0 {
		t.Errorf("%d couriers are left", len(left))
	}
}

// TestDialMute asks a server that does not listen yet as often as one that starts is asked. Somebody is sent into its container once,
// and again some seconds later.
func TestDialMute(t *testing.T) {
	sent := 0
	e, _ := engine(t, func(o *Options) {
		o.Around = func(what string, do func() error) error {
			if what == "POST /containers/create" {
				sent++
			}
			return do()
		}
	})
	server := serve(t, e, "127.0.0.1:8080")
	dial := func(port int, want string) {
		t.Helper()
		conn, err := e.Dial(soon(t), server, port, true)
		expect(t, err, want)
		if err == nil {
			conn.Close()
		}
	}
	// It answers at its loopback, and each connection there is another courier's.
	dockertest.Poll(t, time.Minute, "the server", func() error {
		e.mute = mutes{}
		conn, err := e.Dial(soon(t), server, 8080, true)
		if err == nil {
			conn.Close()
		}
		return err
	})
	sent = 0
	dial(8080, "")
	dial(8080, "")
	if sent != 2 {
		t.Errorf("%d couriers made two connections", sent)
	}
	sent = 0
	const no = "(and from inside: dial tcp "
	for range 5 {
		dial(9, no)
	}
	if sent != 1 {
		t.Errorf("%d couriers were sent to a port that refuses, want 1", sent)
	}
	dial(8080, "")
	if sent != 2 {
		t.Error("another port is not asked")
	}
	port := inner{server.ID, 9}
	was := e.mute.of[port]
	was.at = was.at.Add(-muteFor)
	e.mute.of[port] = was
	dial(9, no)
	if sent != 3 {
		t.Errorf("%d couriers, and the port was not asked again", sent)
	}
	gone := inner{"a container that is gone", 9}
	e.mute.of[gone] = was
	e.mute.note(server.ID, 8, nil)
	if _, is := e.mute.of[gone]; is {
		t.Error("what is over is kept")
	}
	if err := e.restart(soon(t), server.ID); err != nil {
		t.Fatal(err)
	}
	sent = 0
	dial(9, no)
	if sent != 1 {
		t.Errorf("%d couriers were sent into a container that was started anew, want 1", sent)
	}
}

// up waits until a server takes connections.
func up(t *testing.T, c reconcile.Container) {
	t.Helper()
	dockertest.Poll(t, 10*time.Second, c.Name, func() error {
		conn, err := net.Dial("tcp", c.Addresses[0]+":8080")
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// TestCourierConnection proves that a connection through a courier is one: deadlines, and bytes in both
// directions at once.
func TestCourierConnection(t *testing.T) {
	e, _ := engine(t)
	server := serve(t, e, "127.0.0.1:8080")
	conn, err := e.Dial(soon(t), server, 8080, true)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read of a silent server: %v", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	body := make([]byte, 1<<20)
	_, _ = rand.Read(body)
	if got := said(t, conn, "/echo", body); got != string(body) {
		t.Errorf("%d of %d bytes came back, or others", len(got), len(body))
	}
}

// TestHTTPReload makes requests to a server that only its own network reaches.
func TestHTTPReload(t *testing.T) {
	e, _ := engine(t)
	server := serve(t, e, ":8080")
	up(t, server)
	env := reconcile.ReloadEnv{Container: server}
	target := reconcile.Target{Host: "local", Name: server.Name, ID: server.ID}
	for url, says := range map[string]string{
		"http://admin.example:8080/reload": "",
		"http://admin.example:8080/fail":   "500 Internal Server Error: cannot load key",
		"http://admin.example:9/reload":    "connection refused",
		"ftp://admin.example/reload":       "not http or https",
		"https://admin.example:8080/":      "HTTP response to HTTPS client",
	} {
		expect(t, e.Reload(soon(t), target, spec.Reload{HTTP: &spec.HTTPReload{URL: url}}, env), says)
	}
}

// TestServeDial looks at the courier's side alone: what it says when nobody answers, and that it ends when its
// input does although the server keeps the connection open.
func TestServeDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out bytes.Buffer
	if err := ServeDial(t.Context(), "127.0.0.1:1,"+l.Addr().String(), strings.NewReader("x"), &out); err != nil {
		t.Error(err)
	}
	var answer outcome
	if err := readFrame(&out, &answer); err != nil || answer.Error != "" {
		t.Errorf("answer %v, %v", answer, err)
	}
	out.Reset()
	if err := ServeDial(t.Context(), "127.0.0.1:1", strings.NewReader(""), &out); err != nil {
		t.Error(err)
	}
	if err := readFrame(&out, &answer); err != nil || !strings.Contains(answer.Error, "connection refused") {
		t.Errorf("answer %v, %v", answer, err)
	}
}
