package docker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/files"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func force(o *Options) { o.ForceCourier = true }

func unit(at reconcile.Location) reconcile.Unit {
	return reconcile.Unit{
		At: at, Mark: reconcile.Mark{Installation: "i", Project: "p", Binding: "web"}, Layout: spec.Atomic,
		Files: []reconcile.UnitFile{
			{Name: "cert.pem", Data: []byte("certificate"), Mode: 0o644, UID: 0, GID: 0},
			{Name: "key.pem", Data: []byte("not a key"), Mode: 0o640, UID: 999, GID: 101},
		},
		Now: time.Now(),
	}
}

// TestVolume writes, reads and removes a unit in a volume, both ways, and looks at the result by the other one.
func TestVolume(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"mountpoint": func(*Options) {}, "courier": force,
	} {
		t.Run(name, func(t *testing.T) {
			e, cli := engine(t, change)
			hired := e.countCouriers()
			other, _ := engine(t, force)
			volume := dockertest.Volume(t)
			at := reconcile.Location{Host: "local", Volume: volume, Sub: "tls"}
			places := Places{Local: files.Local{Rand: rand.Reader}, Engines: Engines{"local": e}}

			query := []reconcile.PlaceQuery{{At: at, Files: []string{"cert.pem", "key.pem"}}}
			if got := places.Read(soon(t), query, true)[0]; got.Err != nil || got.Exists {
				t.Errorf("before: %v, exists %t", got.Err, got.Exists)
			}
			for range 2 { // a repeat succeeds
				if err := places.Write(soon(t), []reconcile.Unit{unit(at)})[0]; err != nil {
					t.Fatal(err)
				}
			}
			mark := unit(at).Mark
			want := reconcile.PlaceContent{Exists: true, Mark: &mark, Layout: spec.Atomic, Dir: reconcile.DirState{Mode: 0o755}, Generation: 0o755, Files: map[string]reconcile.FileContent{
				"cert.pem": {Kind: reconcile.KindLink, Ours: true, Data: []byte("certificate"), Mode: 0o644},
				"key.pem":  {Kind: reconcile.KindLink, Ours: true, Data: []byte("not a key"), Mode: 0o640, UID: 999, GID: 101},
			}}
			got := places.Read(soon(t), query, true)[0]
			want.Born = got.Born // where the file system tells
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
			crossed := Places{Engines: Engines{"local": other}}.Read(soon(t), query, true)[0]
			if diff := cmp.Diff(want, crossed); diff != "" {
				t.Errorf("seen by a courier (-want +got):\n%s", diff)
			}
			inspectLayout(t, volume)
			removal := []reconcile.Removal{{At: at, Mark: mark, Files: []string{"cert.pem", "key.pem"}}}
			for range 2 {
				if err := places.Remove(soon(t), removal)[0]; err != nil {
					t.Fatal(err)
				}
			}
			if got := places.Read(soon(t), query, true)[0].Files["key.pem"].Kind; got != reconcile.KindAbsent {
				t.Errorf("after removal key.pem is %q", got)
			}
			if left := couriers(t, cli); len(left) > 0 {
				t.Errorf("%d couriers are left", len(left))
			}
			if want := map[string]int{"mountpoint": 0, "courier": 7}[name]; hired() != want {
				t.Errorf("%d couriers were hired in 7 calls, want %d", hired(), want)
			}
		})
	}
}

// TestVolumeOnADevice writes into a volume whose own directory on this machine is empty while no container uses it:
// what is put there would be hidden by the next mount.
func TestVolumeOnADevice(t *testing.T) {
	e, cli := engine(t)
	device := t.TempDir()
	at := reconcile.Location{Host: "local", Volume: volumeOn(t, cli, device)}
	places := Places{Local: files.Local{Rand: rand.Reader}, Engines: Engines{"local": e}}
	if err := places.Write(soon(t), []reconcile.Unit{unit(at)})[0]; err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(device, "cert.pem")); err != nil || string(got) != "certificate" {
		t.Errorf("the device holds %q: %v", got, err)
	}
}

// TestOneCourierPerCall reads three places of one engine, of which two are in one volume, and a directory that
// this machine has.
func TestOneCourierPerCall(t *testing.T) {
	e, _ := engine(t, force)
	near, _ := engine(t)
	hired, nearby := e.countCouriers(), near.countCouriers()
	a, b, dir := dockertest.Volume(t), dockertest.Volume(t), t.TempDir()
	write(t, filepath.Join(dir, "cert.pem"), "here")
	ask := []string{"cert.pem"}
	places := Places{Local: files.Local{Rand: rand.Reader}, Engines: Engines{"core-02": e, "local": near}}
	got := places.Read(soon(t), []reconcile.PlaceQuery{
		{At: reconcile.Location{Host: "core-02", Volume: a}, Files: ask},
		{At: reconcile.Location{Host: "local", Dir: dir, Machine: true}, Files: ask},
		{At: reconcile.Location{Host: "core-02", Volume: a, Sub: "tls"}, Files: ask},
		{At: reconcile.Location{Host: "core-02", Volume: b}, Files: ask},
	}, true)
	for i, exists := range []bool{true, true, false, true} {
		if got[i].Err != nil || got[i].Exists != exists {
			t.Errorf("place %d: exists %t, %v", i, got[i].Exists, got[i].Err)
		}
	}
	if string(got[1].Files["cert.pem"].Data) != "here" {
		t.Errorf("the directory of this machine holds %q", got[1].Files["cert.pem"].Data)
	}
	if hired() != 1 || nearby() != 0 {
		t.Errorf("%d couriers for the volumes, %d for the directory", hired(), nearby())
	}
}

// countCouriers returns a function that says how many couriers the engine was asked for since.
func (e *Engine) countCouriers() func() int {
	var n atomic.Int32
	inner := e.o.Around
	e.o.Around = func(what string, do func() error) error {
		if what == "POST /containers/create" {
			n.Add(1)
		}
		return inner.Do(what, do)
	}
	return func() int { return int(n.Load()) }
}

// TestOnThisMachine has an engine at a socket of this machine, the same with another name, as a socket that is forwarded has, and
// ones that are elsewhere by how they are reached.
func TestOnThisMachine(t *testing.T) {
	_, _ = engine(t)
	at := func(endpoint string, want bool) *Engine {
		t.Helper()
		e := New("local", Options{Endpoint: endpoint})
		if on, err := e.OnThisMachine(soon(t)); on != want || err != nil {
			t.Errorf("%s: %v, %v", endpoint, on, err)
		}
		return e
	}
	e := at("unix://"+dockertest.EngineSocket(), true)
	e.facts.name += "-02"
	if on, err := e.OnThisMachine(soon(t)); on || err != nil {
		t.Errorf("one of another name: %v, %v", on, err)
	}
	at("ssh://core@core-02", false)
	at("tcp://core-02:2376", false)
	if on, err := New("local", Options{Context: "nowhere"}).OnThisMachine(soon(t)); on || err == nil {
		t.Errorf("one that cannot be found: %v, %v", on, err)
	}
}

// TestSharesRoot asks whether the engine's machine is this one, also from inside another pid namespace, as a
// container is.
func TestSharesRoot(t *testing.T) {
	_, _ = engine(t)
	direct := New("local", Options{Endpoint: "unix://" + dockertest.EngineSocket()})
	here, err := direct.here(soon(t))
	if os.Getenv("CERTWRIGHT_INSIDE") != "" {
		fmt.Println("here:", here, err)
		return
	}
	if !here || err != nil {
		t.Errorf("the engine's machine is not this one: %v", err)
	}
	direct.facts.remapped = true
	if here, err := direct.here(soon(t)); here || err != nil {
		t.Errorf("an engine with user ids of its own is this machine: %v", err)
	}
	if sharesRoot("unix:///nonexistent.sock") {
		t.Error("nobody shares the root")
	}
	dockertest.Servers(t, "unshare")
	inside := exec.Command("unshare", "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run=^TestSharesRoot$", "-test.v")
	inside.Env = append(os.Environ(), "CERTWRIGHT_INSIDE=1")
	if out, err := inside.CombinedOutput(); err != nil || !strings.Contains(string(out), "here: false <nil>") {
		t.Errorf("inside: %v\n%s", err, out)
	}
}

// inspectLayout looks at a volume as a container does: the links and the owner as the server will see them.
func inspectLayout(t *testing.T, volume string) {
	t.Helper()
	mountpoint := "/var/lib/docker/volumes/" + volume + "/_data/tls"
	if link, err := os.Readlink(filepath.Join(mountpoint, "key.pem")); err != nil || link != "..data/key.pem" {
		t.Errorf("key.pem links to %q: %v", link, err)
	}
}

// TestForeignAndAbsent proves that what callers tell apart survives the way through a courier, and that a
// volume that does not exist is neither made by a look nor written to.
func TestForeignAndAbsent(t *testing.T) {
	e, cli := engine(t, force)
	places := Places{Engines: Engines{"local": e}}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := reconcile.Location{Host: "local", Dir: dir, Machine: true}
	fresh := reconcile.Location{Host: "local", Dir: filepath.Join(dir, "made/by/the engine"), Machine: true}
	novolume := reconcile.Location{Host: "local", Volume: "certwright-no-such-volume"}
	query := []string{"key.pem"}
	before := places.Read(soon(t), []reconcile.PlaceQuery{
		{At: theirs, Files: query}, {At: fresh, Files: query}, {At: novolume, Files: query},
	}, true)
	for i, want := range []bool{true, false, false} {
		if before[i].Err != nil || before[i].Exists != want {
			t.Errorf("read %d: %v, exists %t", i, before[i].Err, before[i].Exists)
		}
	}
	if got := string(before[0].Files["key.pem"].Data); got != "somebody's" {
		t.Errorf("read %q", got)
	}
	errs := places.Write(soon(t), []reconcile.Unit{unit(theirs), unit(fresh), unit(novolume)})
	if !errors.Is(errs[0], reconcile.ErrForeign) {
		t.Errorf("over a foreign file: %v", errs[0])
	}
	if errs[1] != nil {
		t.Errorf("into a new directory: %v", errs[1])
	}
	if errs[2] == nil || !strings.Contains(errs[2].Error(), "does not exist") {
		t.Errorf("into a volume that is not there: %v", errs[2])
	}
	if got, err := os.ReadFile(filepath.Join(fresh.Dir, "cert.pem")); err != nil || string(got) != "certificate" {
		t.Errorf("new directory holds %q: %v", got, err)
	}
	if _, err := cli.VolumeInspect(t.Context(), novolume.Volume); err == nil {
		t.Error("the volume was made")
	}
	gone := reconcile.Location{Host: "local", Dir: filepath.Join(dir, "never"), Machine: true}
	if err := places.Remove(soon(t), []reconcile.Removal{{At: gone}})[0]; err != nil {
		t.Errorf("remove from a directory that is not there: %v", err)
	}
	if _, err := os.Stat(gone.Dir); err == nil {
		t.Error("a removal made its directory")
	}
}

// TestWithoutCouriers looks by reading only.
func TestWithoutCouriers(t *testing.T) {
	e, _ := engine(t, force)
	places := Places{Engines: Engines{"local": e}}
	before := len(proxy.Requests())
	got := places.Read(soon(t), []reconcile.PlaceQuery{
		{At: reconcile.Location{Host: "local", Dir: "/srv", Machine: true}},
		{At: reconcile.Location{Host: "elsewhere", Dir: "/srv", Machine: true}},
	}, false)
	if !errors.Is(got[0].Err, reconcile.ErrNotHere) {
		t.Errorf("a directory of the engine's machine: %v", got[0].Err)
	}
	if got[1].Err == nil || !strings.Contains(got[1].Err.Error(), `no host named "elsewhere"`) {
		t.Errorf("an unknown host: %v", got[1].Err)
	}
	if asked := proxy.Requests()[before:]; len(asked) > 0 {
		t.Errorf("the engine was asked: %v", asked)
	}
}

// TestOneBrokenMount proves that a volume that cannot be mounted stops no other.
func TestOneBrokenMount(t *testing.T) {
	e, cli := engine(t, force)
	broken := brokenVolume(t, cli)
	places := Places{Engines: Engines{"local": e}}
	var units []reconcile.Unit
	for _, v := range []string{dockertest.Volume(t), broken, dockertest.Volume(t), dockertest.Volume(t)} {
		units = append(units, unit(reconcile.Location{Host: "local", Volume: v}))
	}
	for i, err := range places.Write(soon(t), units) {
		if broken := i == 1; (err != nil) != broken {
			t.Errorf("unit %d: %v", i, err)
		}
	}
	if left := couriers(t, cli); len(left) > 0 {
		t.Errorf("%d couriers are left", len(left))
	}
}
