package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestForeign puts things of somebody else in the way, in every kind of place: nothing of them is changed until
// adopt takes them over, and then they are kept.
func TestForeign(t *testing.T) {
	t.Parallel()
	dockertest.Engine(t)
	binary := staticBinary(t)
	places := map[string]func(*testing.T, *scene) (dir string){
		"directory": func(_ *testing.T, s *scene) string {
			s.spec("directory: ./certs")
			return s.certs
		},
		"volume": func(t *testing.T, s *scene) string { return s.inVolume(t) },
		"volume through a courier": func(t *testing.T, s *scene) string {
			dir := s.inVolume(t)
			s.couriers, s.args = true, []string{"--courier-binary", binary}
			return dir
		},
		"path on a mounted directory": func(_ *testing.T, s *scene) string {
			c := s.server(dockertest.Container{Name: "foreign"})
			s.spec("container: "+c.Name, "path: /certs")
			return s.certs
		},
		"path in a mounted volume": func(t *testing.T, s *scene) string {
			volume := dockertest.Volume(t)
			c := s.server(dockertest.Container{Name: "foreign", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/certs"}}})
			s.spec("container: "+c.Name, "path: /certs/tls")
			dir := filepath.Join(mountpoint(t, volume), "tls")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		},
	}
	for place, lay := range places {
		for obstacle, put := range obstacles {
			t.Run(place+"/"+obstacle, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				foreign(t, s, lay(t, &s), put)
			})
		}
	}
}

// obstacles stand at cert.pem; each returns what a refusal calls it.
var obstacles = map[string]func(name string) (string, error){
	"file": func(name string) (string, error) {
		return "file", os.WriteFile(name, []byte("mine\n"), 0o640)
	},
	"directory": func(name string) (string, error) {
		err := os.Mkdir(name, 0o750)
		if err == nil {
			err = os.WriteFile(filepath.Join(name, "more"), []byte("mine\n"), 0o604)
		}
		return "directory", err
	},
	"link": func(name string) (string, error) { return "link", os.Symlink("/etc/hostname", name) },
}

// foreign runs through the life of an obstacle in dir, which is web's place.
func foreign(t *testing.T, s scene, dir string, put func(string) (string, error)) {
	t.Helper()
	name := filepath.Join(dir, "cert.pem")
	kind, err := put(name)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "other.txt"), []byte("also mine\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	untouched := func() {
		t.Helper()
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Fatalf("changed (-before +after):\n%s", diff)
		}
	}

	// The plan, and whatever does not say adopt, leaves it alone.
	said := "cert.pem (" + kind + ") was not made by certwright"
	s.want(exitPart, "plan", "--exit-code")
	s.says(s.want(exitPart, "apply"), "Blocked", said, "certwright adopt web")
	s.state("Blocked", said)
	s.want(exitPart, "rotate", "identity/web")
	s.want(exitPart, "status", "--exit-code")
	untouched()
	if b := s.plan().Blocked; len(b) != 1 || b[0].Subject != "binding/web" || !strings.Contains(b[0].Hint, "a backup is kept") {
		t.Errorf("the plan has %+v", b)
	}

	// A wish to adopt shows in the plan, and changes nothing yet.
	s.want(exitDone, "adopt", "web", "--defer")
	s.says(s.want(exitPending, "plan", "--exit-code"), "place web in", "keeping what is there as a backup")
	untouched()

	s.want(exitDone, "adopt", "web")
	s.want(exitDone, "plan", "--exit-code")
	if serial := placed(t, dir); serial == "" {
		t.Error("nothing was placed")
	}
	backups, err := filepath.Glob(filepath.Join(dir, "..certwright-backup-*", "cert.pem"))
	if err != nil || len(backups) != 1 {
		t.Fatalf("backups %v, %v", backups, err)
	}
	kept := tree(t, filepath.Dir(backups[0]))[1:] // without the backup directory itself
	want := slices.DeleteFunc(slices.Clone(before), func(line string) bool { return !strings.HasPrefix(line, "cert.pem") })
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("the backup differs (-was +is):\n%s", diff)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "other.txt")); err != nil || string(data) != "also mine\n" {
		t.Errorf("what is at no name of ours: %q, %v", data, err)
	}
	s.want(exitDone, "rotate", "identity/web") // it is ours now
}

// TestAdoptBesidesAnotherRefusal has somebody's file where certwright may not write yet for another reason: the wish to take it over
// stays until that is mended. Of a file where the directory should be none is kept.
func TestAdoptBesidesAnotherRefusal(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := s.server(dockertest.Container{Name: "besides"})
	s.spec("container: "+c.Name, "directory: certs", "owner: nosuch")
	dir := filepath.Join(s.dir, "certs")
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(exitPart, "apply")
	s.want(exitDone, "adopt", "web", "--defer")
	if r := s.want(exitPart, "adopt", "web"); strings.Contains(r.out, "nothing to adopt") || !strings.Contains(r.out, "nosuch") {
		t.Errorf("adopt says\n%s", r.out)
	}
	s.replace("owner: nosuch", `owner: "0:0"`)
	s.want(exitDone, "apply")
	if placed(t, dir) == "" {
		t.Error("the wish was dropped")
	}

	s.replace("directory: certs", "directory: others")
	others := filepath.Join(s.dir, "others")
	if err := os.WriteFile(others, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.says(s.want(exitDone, "adopt", "web", "--defer"), "there is nothing to adopt", "not a directory")
	if err := errors.Join(os.Remove(others), os.Mkdir(others, 0o755), os.WriteFile(filepath.Join(others, "cert.pem"), []byte("new\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.says(s.want(exitPart, "apply"), "Blocked", "was not made by certwright")
}

// inVolume makes a volume the place of web and returns its directory.
func (s *scene) inVolume(t *testing.T) string {
	t.Helper()
	volume := dockertest.Volume(t)
	s.spec("volume: " + volume)
	return mountpoint(t, volume)
}

// mountpoint is where a local volume lies on this machine.
func mountpoint(t *testing.T, volume string) string {
	t.Helper()
	v, err := dockertest.Engine(t).VolumeInspect(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	return v.Mountpoint
}

// plan is `plan -o json`.
func (c command) plan() planDocument {
	c.t.Helper()
	var d planDocument
	r := c.want(exitDone, "plan", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &d); err != nil {
		c.t.Fatalf("plan: %v\n%s", err, r.out)
	}
	return d
}

// TestTwoInstallations has two stores on one host that want one directory: the second keeps off, whatever project
// it is of, until it is told to adopt; then the first keeps off.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	for name, project := range map[string]string{"of one project": "scene", "of two": "other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := newScene(t), newScene(t)
			first.spec("directory: ./certs")
			first.want(exitDone, "apply")
			second.spec("directory: ./certs")
			second.replace("project: scene", "project: "+project)
			second.want(exitDone, "apply")
			both := []string{certsOf(t, first.dir), certsOf(t, second.dir)}

			second.replace("./certs", first.certs)
			second.says(second.want(exitPart, "apply"), "Blocked", "it holds files of another certwright (project scene)", "certwright adopt web")
			second.want(exitPart, "rotate", "identity/web")
			if certsOf(t, first.dir) != both[0] {
				t.Error("the first one's files were changed")
			}
			first.want(exitDone, "plan", "--exit-code")

			// The directory it had before is still its own, and is cleared when nothing of it is wanted there.
			theirs := placed(t, first.certs)
			second.want(exitDone, "adopt", "web")
			if placed(t, first.certs) == theirs {
				t.Error("adopt did not take over")
			}
			mine := placed(t, first.certs)
			first.says(first.want(exitPart, "apply"), "Blocked", "another certwright (project "+project+")")
			if placed(t, first.certs) != mine {
				t.Error("the first one fights back")
			}
			second.want(exitDone, "apply") // clears what it had before
			second.want(exitDone, "plan", "--exit-code")
		})
	}
}

// certsOf is a scene's own place as one text.
func certsOf(t *testing.T, dir string) string {
	return strings.Join(tree(t, filepath.Join(dir, "certs")), "\n")
}

// replace changes a piece of the scene's tls.yaml.
func (s scene) replace(old, next string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "tls.yaml"))
	if err != nil || !strings.Contains(string(data), old) {
		s.t.Fatalf("no %q in tls.yaml: %v", old, err)
	}
	s.write("tls.yaml", strings.Replace(string(data), old, next, 1))
}
