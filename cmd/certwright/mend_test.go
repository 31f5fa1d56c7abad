package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// TestSaltsAreNoChange writes every keystore anew, as somebody with the same password could: the bytes differ, and
// there is nothing to do.
func TestSaltsAreNoChange(t *testing.T) {
	t.Parallel()
	s := everyFormat(t)
	before := tree(t, s.dir)
	s.want(exitDone, "apply")
	if diff := cmp.Diff(before, tree(t, s.dir)); diff != "" {
		t.Errorf("a second apply changed (-before +after):\n%s", diff)
	}
	for name, h := range holdings(t, s.certs) {
		c := contents[name]
		if !c.Keystore() {
			continue
		}
		old := read(t, filepath.Join(s.certs, name))
		again, err := formats.Formats{}.Encode(c, h, "another-name", keystorePassword)
		if err != nil || bytes.Equal(again, old) {
			t.Fatalf("%s is not encoded anew: %v", name, err)
		}
		overwrite(t, filepath.Join(s.certs, name), again)
	}
	salted := tree(t, s.certs)
	s.want(exitDone, "plan", "--exit-code")
	s.says(s.want(exitDone, "apply"), "nothing to do")
	if diff := cmp.Diff(salted, tree(t, s.certs)); diff != "" {
		t.Errorf("an apply changed (-before +after):\n%s", diff)
	}
}

// TestWrongContent puts something else into each file in turn, and finds it mended.
func TestWrongContent(t *testing.T) {
	t.Parallel()
	s := everyFormat(t)
	want, now := printsOf(holdings(t, s.certs)), time.Now()
	s.now = func() time.Time { return now }
	for name, c := range contents {
		file := filepath.Join(s.certs, name)
		good := read(t, file)
		damages := map[string][]byte{
			"cut off": good[:len(good)/2], "empty": {}, "another's": read(t, filepath.Join(s.dir, "other", name)),
		}
		if c.Keystore() {
			other, err := formats.Formats{}.Encode(c, holdings(t, s.certs)[name], "web", "another password")
			if err != nil {
				t.Fatal(err)
			}
			damages["another password"] = other
		}
		for damage, data := range damages {
			now = now.Add(5 * time.Minute) // who keeps on undoing the same thing within ten minutes is left in peace
			overwrite(t, file, data)
			s.says(s.want(exitPending, "plan", "--exit-code"), "placed file differs: "+name)
			s.want(exitDone, "apply")
			if diff := cmp.Diff(want, printsOf(holdings(t, s.certs))); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, damage, diff)
			}
			s.want(exitDone, "plan", "--exit-code")
		}
	}
}

// TestNewPassword closes the keystores with another password when the spec's source gives another.
func TestNewPassword(t *testing.T) {
	t.Parallel()
	s := everyFormat(t)
	s.write("store.pass", "a newer word\n")
	s.says(s.want(exitPending, "plan", "--exit-code"), "placed files differ: store.jks, trust.jks")
	s.want(exitDone, "apply")
	for _, name := range []string{"store.jks", "trust.jks"} {
		if _, err := (formats.Formats{}).Decode(contents[name], read(t, filepath.Join(s.certs, name)), "a newer word"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.want(exitDone, "plan", "--exit-code")
}

// holdings reads every file of a directory as what it should hold.
func holdings(t *testing.T, dir string) map[string]reconcile.Holding {
	t.Helper()
	all := map[string]reconcile.Holding{}
	for name, c := range contents {
		h, err := formats.Formats{}.Decode(c, read(t, filepath.Join(dir, name)), passwordOf(c))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = h
	}
	return all
}

func passwordOf(c spec.Content) string {
	if c.Keystore() {
		return keystorePassword
	}
	return ""
}

// printsOf says what holdings hold, without a key in it.
func printsOf(all map[string]reconcile.Holding) map[string][]string {
	prints := map[string][]string{}
	for name, h := range all {
		if k := h.Key.PKCS8(); k != nil {
			prints[name] = append(prints[name], "key "+sum(k))
		}
		for _, c := range h.Certificates {
			prints[name] = append(prints[name], sum(c))
		}
	}
	return prints
}

// overwrite puts other bytes into a file that is there, and into no other.
func overwrite(t testing.TB, name string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMendShutDirectories closes the directories of a place to a server that is not root. Each is seen and opened again,
// and one that lets the server through is left as it is.
func TestMendShutDirectories(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.server(dockertest.Container{User: "100:101"}, "-reload", "hup")
	s.spec("container: "+server.Name, "directory: certs", "reload: {signal: HUP}", "probe: {port: 8443}")
	s.up(server)
	for _, row := range []struct{ path, name string }{{s.certs, ". (0700 shuts out 100:101)"}, {s.certs + "/..data/", "..data"}} {
		if err := os.Chmod(row.path, 0o700); err != nil {
			t.Fatal(err)
		}
		s.says(s.want(exitPending, "plan", "--exit-code"), "mode differs: "+row.name)
		s.want(exitDone, "apply")
		s.want(exitDone, "plan", "--exit-code")
	}
	s.want(exitDone, "rotate", "identity/web")
	s.state("Ready", "")
	if serial := placed(t, s.certs); served(t, server.ID) != serial {
		t.Errorf("the server does not serve %s", serial)
	}
	if err := os.Chmod(s.certs, 0o711); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "plan", "--exit-code")
}

// TestMendMadeAnew deletes the directory of a running server: its files come back, and it does not see them before it is
// started again.
func TestMendMadeAnew(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	dir, err := os.MkdirTemp("/dev/shm", "certwright") // not every file system tells when a directory was made
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.certs = filepath.Join(dir, "certs")
	if err := os.Mkdir(s.certs, 0o755); err != nil {
		t.Fatal(err)
	}
	server := s.server(dockertest.Container{}, "-reload", "hup")
	s.spec("container: "+server.Name, "directory: "+s.certs, "reload: {signal: HUP}", "probe: {port: 8443}")
	s.up(server)
	made := time.Now()
	dockertest.Poll(t, 5*time.Second, "the next second", func() error { // an engine says of containers in which they were made
		if time.Now().Unix() == made.Unix() {
			return errors.New("it is the same one")
		}
		return nil
	})
	if err := os.RemoveAll(s.certs); err != nil {
		t.Fatal(err)
	}
	s.want(exitPart, "apply")
	s.state("Stale", "the directory was made anew since the container started")
	s.says(s.want(exitDone, "why", "web"), "the directory was made anew since the container started: restart "+server.Name, "hint: restart "+server.Name)
	if err := dockertest.Engine(t).ContainerRestart(t.Context(), server.ID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "apply", "--wait", "1m")
	s.state("Ready", "")
}
