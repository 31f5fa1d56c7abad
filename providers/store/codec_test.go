package store

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/reconcile"
)

func TestDocumentIsStrict(t *testing.T) {
	good := encode(with(1))
	for n := range good {
		if _, err := decode(good[:n], format); err == nil {
			t.Fatalf("the first %d of %d bytes decode", n, len(good))
		}
	}
	if _, err := decode(append(bytes.Clone(good), 0), format); err == nil {
		t.Error("a document with more behind it decodes")
	}
	for old := 1; old < format; old++ {
		if _, err := decode(good, old); err == nil {
			t.Errorf("a document of format %d decodes as one of format %d", format, old)
		}
	}
}

// TestCodecFaults has input for one method each, all of it whole but for one thing.
func TestCodecFaults(t *testing.T) {
	var seconds, nanos int64 = 1, int64(time.Second)
	late := codec{writing: true}
	number(&late, &seconds)
	number(&late, &nanos)
	early := codec{writing: true}
	nanos = -1
	number(&early, &seconds)
	number(&early, &nanos)
	huge := binary.AppendUvarint(nil, 1<<62)
	var b []byte
	var flag bool
	var at time.Time
	var s string
	var names []string
	var owners map[string]reconcile.Owner
	cases := map[string]struct {
		in   []byte
		read func(*codec)
	}{
		"a flag of two":             {[]byte{2}, func(c *codec) { c.flag(&flag) }},
		"nanoseconds of a second":   {late.buf, func(c *codec) { c.moment(&at) }},
		"negative nanoseconds":      {early.buf, func(c *codec) { c.moment(&at) }},
		"bytes without end":         {huge, func(c *codec) { c.bytes(&b) }},
		"text without end":          {huge, func(c *codec) { text(c, &s) }},
		"a list without end":        {huge, func(c *codec) { list(c, &names, text) }},
		"a map without end":         {huge, func(c *codec) { table(c, &owners, strings.Compare, text, owner) }},
		"a number without end":      {bytes.Repeat([]byte{0xff}, 20), func(c *codec) { c.length(0) }},
		"shared, never seen":        {[]byte{1}, func(c *codec) { c.shared(&b) }},
		"a key twice":               {[]byte{2, 1, 'a', 0, 0, 1, 'a', 0, 0}, func(c *codec) { table(c, &owners, strings.Compare, text, owner) }},
		"keys in descending order":  {[]byte{2, 1, 'b', 0, 0, 1, 'a', 0, 0}, func(c *codec) { table(c, &owners, strings.Compare, text, owner) }},
		"fewer elements than named": {[]byte{2, 1, 'b'}, func(c *codec) { list(c, &names, text) }},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			c := codec{buf: x.in, left: string(x.in)}
			x.read(&c)
			if c.err == nil {
				t.Errorf("read %v %v %q %q %v %v", flag, at, b, s, names, owners)
			}
		})
	}
}

// TestHeaderOfAnotherStore has a file whose checksum is right, but whose header speaks of another store.
func TestHeaderOfAnotherStore(t *testing.T) {
	for name, h := range map[string]header{
		"installation": {Installation: "another", Project: "shop"},
		"project":      {Installation: with(1).Installation, Project: "blog"},
	} {
		t.Run(name, func(t *testing.T) {
			h.Certwright, h.Format, h.Generation = kindState, format, 1
			file, err := wrap(h, encode(with(1)), nil, nil)
			must(t, err)
			path := filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(path, 0o700))
			must(t, os.WriteFile(filepath.Join(path, "state"), file, 0o600))
			must(t, os.WriteFile(filepath.Join(path, "lock"), nil, 0o600))
			closed(t, path, Options{Writer: true, Project: h.Project}, "state is damaged", "different stores")
		})
	}
}
