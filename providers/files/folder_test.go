package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

// TestFolders has nothing but its files in a folder, whatever else the layout needs.
func TestFolders(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "place")
	list := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "docker"))
		must(t, err)
		for _, e := range entries {
			if !e.Type().IsRegular() {
				t.Errorf("%s is no file", e.Name())
			}
			names = append(names, e.Name())
		}
		return names
	}
	for _, version := range []string{"1", "2"} {
		u := unit(dir, version, plain, nested)
		write(t, local(nil), u)
		placed(t, u)
		if d := cmp.Diff([]string{"ca.pem", "cert.pem", "key.pem"}, list()); d != "" {
			t.Fatal(d)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "docker/theirs"), nil, 0o600))
	must(t, remove(local(nil), unit(dir, "2", plain, nested)))
	if d := cmp.Diff([]string{"theirs"}, list()); d != "" {
		t.Error(d)
	}
}

// TestStrangeFolders leads the folder out of the place, or has a file in its stead.
func TestStrangeFolders(t *testing.T) {
	for name, put := range map[string]func(folder, outside string) error{
		"link": func(folder, outside string) error { return os.Symlink(outside, folder) },
		"file": func(folder, _ string) error { return os.WriteFile(folder, nil, 0o600) },
		"theirs in": func(folder, _ string) error {
			return errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(folder+"/key.pem", nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir, outside := filepath.Join(root, "place"), filepath.Join(root, "outside")
			must(t, errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(outside, 0o755)))
			must(t, put(filepath.Join(dir, "docker"), outside))
			before := tree(t, root)
			u := unit(dir, "1", plain, nested)
			err := local(nil).Write(context.Background(), []reconcile.Unit{u})[0]
			if !errors.Is(err, reconcile.ErrForeign) || !strings.Contains(err.Error(), "docker/key.pem") {
				t.Errorf("want it foreign, got %v", err)
			}
			must(t, remove(local(nil), u))
			if d := cmp.Diff(before, tree(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
}
