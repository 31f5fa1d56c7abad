package contract

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/store"
)

// Configs checks that configs do what a store relies on. name begins the names of those it makes, and is as good as new.
func Configs(t *testing.T, c store.Configs, name string) {
	list := func(prefix string) []string {
		t.Helper()
		found, err := c.List(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(found))
	}
	if found := list(name); len(found) > 0 {
		t.Fatalf("there are %v already", found)
	}
	most := bytes.Repeat([]byte{0, 'x', '\n', 0xff}, 900<<8)
	long := name + strings.Repeat("n", 64-len(name))
	for n, data := range map[string][]byte{name + "-1": []byte("one"), name + "-12": most, long: []byte("long")} {
		if err := c.Create(t.Context(), n, data); err != nil {
			t.Fatalf("create %s: %v", n, err)
		}
		if got, err := c.Read(t.Context(), n); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s holds %d bytes, %v", n, len(got), err)
		}
	}
	if err := c.Create(t.Context(), name+"-1", []byte("another")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	for n, data := range map[string][]byte{"-too-large": make([]byte, 1000<<10), "-empty": nil, strings.Repeat("n", 65-len(name)): []byte("x")} {
		if err := c.Create(t.Context(), name+n, data); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("create %s with %d bytes: %v", n, len(data), err)
		}
	}
	found, err := c.List(t.Context(), name+"-1")
	if err != nil || string(found[name+"-1"]) != "one" || !bytes.Equal(found[name+"-12"], most) || len(found) != 2 {
		t.Errorf("listed are %v, %v", slices.Sorted(maps.Keys(found)), err)
	}
	for range 2 {
		if err := c.Remove(t.Context(), name+"-1"); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, err := c.Read(t.Context(), name+"-1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read what was removed: %v", err)
	}
	if d := cmp.Diff([]string{name + "-12", long}, list(name)); d != "" {
		t.Errorf("left are (-want +got)\n%s", d)
	}
	if err := c.Create(t.Context(), name+"-1", []byte("again")); err != nil {
		t.Errorf("a name that is free again: %v", err)
	}
	for _, n := range list(name) {
		if err := c.Remove(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
}
