package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"

	"github.com/google/go-cmp/cmp"
)

// TestUnfitBinaries refuses binaries that cannot run in a courier, with what to do about it.
func TestUnfitBinaries(t *testing.T) {
	binary, err := os.ReadFile(courierBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(binary)
	foreign[18] = 0xb7 // e_machine: AArch64
	dir := t.TempDir()
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"script":  {[]byte("#!/bin/sh\n"), "it is no linux binary"},
		"foreign": {foreign, "it is for AARCH64, and the engine runs on X86_64"},
		"absent":  {nil, "no such file"},
	} {
		path := filepath.Join(dir, name)
		if c.data != nil {
			write(t, path, string(c.data))
		}
		e, _ := engine(t, force, func(o *Options) { o.CourierBinary = path })
		got := Places{Engines: Engines{"local": e}}.Read(soon(t), []reconcile.PlaceQuery{
			{At: reconcile.Location{Host: "local", Dir: "/srv", Machine: true}},
			{At: reconcile.Location{Host: "local", Dir: "/etc", Machine: true}},
		}, true)
		for _, a := range got {
			if !errors.Is(a.Err, reconcile.ErrNotHere) || !strings.Contains(a.Err.Error(), c.says) || !strings.Contains(a.Err.Error(), "--courier-binary") {
				t.Errorf("%s: %v", name, a.Err)
			}
		}
	}
}

// TestDynamicBinary lets a dynamically linked courier bring its loader and libraries.
func TestDynamicBinary(t *testing.T) {
	dockertest.Servers(t, "gcc")
	path := filepath.Join(t.TempDir(), "courier")
	build := exec.Command("go", "build", "-ldflags=-linkmode=external", "-o", path, "./testdata/courier")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	libraries, loader, err := needs(data, "x86_64")
	if err != nil || loader == "" || len(libraries) < 2 {
		t.Fatalf("it needs %d libraries and loader %q: %v", len(libraries), loader, err)
	}
	e, _ := engine(t, force, func(o *Options) { o.CourierBinary = path })
	t.Cleanup(func() {
		if _, err := undo(t).ImageRemove(context.Background(), e.image, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), "read")
	at := reconcile.Location{Host: "local", Dir: dir, Machine: true}
	got := Places{Engines: Engines{"local": e}}.Read(soon(t), []reconcile.PlaceQuery{{At: at, Files: []string{"cert.pem"}}}, true)[0]
	if got.Err != nil || string(got.Files["cert.pem"].Data) != "read" {
		t.Errorf("read %q: %v", got.Files["cert.pem"].Data, got.Err)
	}
	// One that connects has fewer rights: it may enter what is everybody's.
	static, _ := engine(t)
	server := serve(t, static, "127.0.0.1:8080")
	server.Addresses, server.Published = nil, nil
	conn, err := Engines{"local": e}.Dial(soon(t), server, 8080, true)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := said(t, conn, "/x", nil); got != "POST server/x" {
		t.Errorf("answer %q", got)
	}
}

// saltedCourier is a courier's binary of the test's own, whose image no other test uses.
func saltedCourier(t *testing.T) string {
	t.Helper()
	binary, err := os.ReadFile(courierBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	salt := make([]byte, 8)
	_, _ = rand.Read(salt)
	salted := filepath.Join(t.TempDir(), "courier")
	write(t, salted, string(binary)+string(salt))
	return salted
}

// TestImages imports once, and removes the image of another binary when it is old and unused.
func TestImages(t *testing.T) {
	other := saltedCourier(t)
	var imports int
	count := func(o *Options) {
		o.Around = func(what string, do func() error) error {
			if what == "POST /images/create" {
				imports++
			}
			return do()
		}
	}
	e, cli := engine(t, count, func(o *Options) { o.CourierBinary = other })
	ref, err := e.courierImage(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := engine(t, count, func(o *Options) { o.CourierBinary = other })
	for _, e := range []*Engine{e, fresh} {
		if again, err := e.courierImage(soon(t)); err != nil || again != ref || imports != 1 {
			t.Errorf("again %s after %d imports: %v", again, imports, err)
		}
	}
	e.removeOlder(t.Context(), "certwright-courier:000000000000")
	if _, err := cli.ImageInspect(t.Context(), ref); err != nil {
		t.Errorf("the new image of another binary is gone: %v", err)
	}
	later, _ := engine(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(2 * oldImage) } })
	later.removeOlder(t.Context(), "certwright-courier:000000000000")
	if _, err := cli.ImageInspect(t.Context(), ref); err == nil {
		t.Errorf("%s is still there", ref)
	}
	if again, err := e.courierImage(soon(t)); err != nil || again != ref || imports != 2 {
		t.Errorf("after its removal: %s after %d imports: %v", again, imports, err)
	}
	later.removeOlder(t.Context(), "certwright-courier:000000000000")
}

// TestImageTidiedAway has the courier's image removed after it was looked for and before it is used.
func TestImageTidiedAway(t *testing.T) {
	var cli *client.Client
	var e *Engine
	removed := false
	e, cli = engine(t, func(o *Options) {
		o.CourierBinary = saltedCourier(t)
		o.Around = func(what string, do func() error) error {
			if what == "POST /containers/create" && !removed {
				removed = true
				if _, err := cli.ImageRemove(t.Context(), e.image, image.RemoveOptions{}); err != nil {
					t.Error(err)
				}
			}
			return do()
		}
	})
	s, err := e.hire(soon(t), filesJob)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if !removed {
		t.Error("the image was not removed: nothing is shown")
	}
	if _, err := cli.ImageRemove(t.Context(), e.image, image.RemoveOptions{}); err != nil {
		t.Error(err)
	}
}

// TestPack names every directory before what is in it: some storage drivers make the others with modes that keep a courier
// out.
func TestPack(t *testing.T) {
	r, err := pack([]byte("program"), map[string][]byte{"/lib64/ld.so": []byte("loader"), "libc.so": []byte("library")}, "/lib64/ld.so")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || h.Mode != 0o755 {
			t.Fatalf("%v, %+v", err, h)
		}
		got = append(got, h.Name)
	}
	want := []string{"lib/", "lib/certwright/", "lib64/", "certwright", "lib/certwright/libc.so", "lib64/ld.so"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
