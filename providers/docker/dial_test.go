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
	made := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.Curl), Name: "server", Start: true, Ports: []int{8080},
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
	for _, c := range []struct {
		name string
		to   reconcile.Container
		via  string
	}{
		{"direct", open, open.Addresses[0] + ":8080"},
		{"published", published, published.Published[8080]},
		{"loopback only, reachable", loopback, "courier"},
		{"loopback only, unreachable", inside, "courier"},
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
