package docker

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// TestOwner asks for the users of containers that never ran.
func TestOwner(t *testing.T) {
	e, _ := engine(t)
	engines := Engines{"local": e}
	image := dockertest.Image(t, dockertest.Curl) // USER 100:101, curl_user in its /etc/passwd
	of := func(user string) string {
		return dockertest.Run(t, dockertest.Container{Image: image, Name: "owner", User: user}).ID
	}
	plain, named := of(""), of("curl_user")
	for _, c := range []struct {
		name, container, user string
		want                  reconcile.Owner
		err                   string
	}{
		{"the image's", plain, "", reconcile.Owner{UID: 100, GID: 101}, ""},
		{"the container's, by name", named, "", reconcile.Owner{UID: 100, GID: 101}, ""},
		{"a name", plain, "curl_user", reconcile.Owner{UID: 100, GID: 101}, ""},
		{"root", plain, "root", reconcile.Owner{}, ""},
		{"a number with a group in passwd", plain, "100", reconcile.Owner{UID: 100, GID: 101}, ""},
		{"a number without", plain, "4242", reconcile.Owner{UID: 4242}, ""},
		{"two numbers", plain, "7:8", reconcile.Owner{UID: 7, GID: 8}, ""},
		{"a group's name", plain, "7:curl_user", reconcile.Owner{UID: 7, GID: 101}, ""},
		{"no such user", plain, "nobody-here", reconcile.Owner{}, "no such user in its /etc/passwd"},
		{"no such group", plain, "0:nobody-here", reconcile.Owner{}, `no group "nobody-here"`},
		{"no such container", "certwright-absent", "curl_user", reconcile.Owner{}, "No such container"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := engines.Owner(soon(t), "local", c.container, c.user)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if err == nil && got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestStarted asks a container when it started until it has since a moment, and then no more.
func TestStarted(t *testing.T) {
	e, cli := engine(t)
	c := serve(t, e, ":8080")
	inspect := dockertest.Request("GET", "/containers/"+c.ID+"/json")
	asks := func(since time.Time, want int) time.Time {
		t.Helper()
		count := func() (n int) {
			for _, q := range proxy.Requests() {
				if inspect.MatchString(q) {
					n++
				}
			}
			return n
		}
		before := count()
		at, err := Engines{"local": e}.Started(soon(t), "local", c.ID, since)
		if err != nil {
			t.Fatal(err)
		}
		if n := count() - before; n != want {
			t.Errorf("since %s it asked %d times, not %d", since, n, want)
		}
		return at
	}
	first := asks(time.Time{}, 1)
	if age := time.Since(first); age < 0 || age > time.Minute {
		t.Errorf("it started at %s, %s ago", first, age)
	}
	asks(first, 0)
	since := first.Add(time.Nanosecond)
	asks(since, 1)
	asks(since, 1)
	if err := cli.ContainerRestart(t.Context(), c.ID, container.StopOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	if again := asks(since, 1); !again.After(first) {
		t.Errorf("after a restart it started at %s, first at %s", again, first)
	}
	asks(since, 0)
}

// TestOwnerBehindLinks reads accounts that lie elsewhere in the image, as some images have them, and refuses
// what is no file or has no end.
func TestOwnerBehindLinks(t *testing.T) {
	e, cli := engine(t)
	image := dockertest.Image(t, dockertest.Curl)
	for name, c := range map[string]struct {
		entries []tar.Header
		data    string
		err     string
	}{
		"linked": {[]tar.Header{
			{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "../srv/accounts"},
			{Name: "srv/accounts", Typeflag: tar.TypeReg, Mode: 0o644},
		}, "web:x:31:32::/:\n", ""},
		"loop": {[]tar.Header{{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "passwd"}}, "", "passwd"},
		"huge": {[]tar.Header{{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}}, strings.Repeat("#", maxAccounts+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			id := dockertest.Run(t, dockertest.Container{Image: image, Name: "links"}).ID
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range c.entries {
				if h.Typeflag == tar.TypeReg {
					h.Size = int64(len(c.data))
				}
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if h.Typeflag == tar.TypeReg {
					_, _ = w.Write([]byte(c.data))
				}
			}
			w.Close()
			if err := cli.CopyToContainer(t.Context(), id, "/", &b, container.CopyToContainerOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := e.Owner(soon(t), id, "web")
			if c.err == "" && (err != nil || got != reconcile.Owner{UID: 31, GID: 32}) {
				t.Errorf("got %v, %v", got, err)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}
