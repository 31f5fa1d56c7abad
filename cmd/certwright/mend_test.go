package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	s.says(s.want(exitPending, "plan", "--exit-code"), "placed file differs: store.jks")
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
