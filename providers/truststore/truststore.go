// Package truststore adds roots to the trust stores that containers have of their own, and takes them out again: that of the
// distribution, of a JVM, or of NSS.
//
// What is certwright's in a store says its manifest, a file beside the store that is written before the store is: by its name
// there and by its SHA-256. Nothing else in a store is changed or removed. A container that is made anew has neither.
package truststore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Container is one container, from outside. Paths are absolute in it, and links lead nowhere else.
type Container interface {
	// Has reports whether something stands at a path.
	Has(ctx context.Context, path string) (bool, error)
	// Get reads a file, at the end of links; the path of what is not there is "".
	Get(ctx context.Context, path string) (File, error)
	// Put writes files, and the directories that they lack.
	Put(ctx context.Context, files ...File) error
	// Replace writes a file that is there: whoever reads it finds the one or the other, or for a moment none, and never a part.
	Replace(ctx context.Context, file File) error
	// Run runs a command as root, and returns what it wrote. An exit code other than zero is an error.
	Run(ctx context.Context, argv ...string) (string, error)
	// Describe says how the container was made.
	Describe(ctx context.Context) (Description, error)
}

// Description is how a container was made.
type Description struct {
	ReadOnly bool // its root file system
	Env      []string
	Mounts   []string // where something else is mounted in it
}

// File is a file in a container.
type File struct {
	Path     string
	Data     []byte
	Mode     fs.FileMode
	UID, GID int
}

// Stores are the trust stores of containers.
type Stores struct{ Keystores Keystores }

// Keystores read and write the keystores of Java.
type Keystores interface {
	// Trusted gives the DER of the certificates that a keystore trusts, by alias.
	Trusted(keystore []byte) (map[string][]byte, error)
	// Retrust gives the keystore with some certificates more, and without some aliases. All else in it stays.
	Retrust(keystore []byte, add map[string][]byte, remove []string) ([]byte, error)
}

// root is one certificate as it is, or is to be, in a store.
type root struct {
	Name   string `json:"name"` // in the store: of a file, an alias, a nickname
	SHA256 string `json:"sha256"`
	der    []byte
}

// store is one kind of trust store, as it was found in a container.
type store interface {
	// has gives those of some roots that whoever reads the store trusts, with their DER.
	has(ctx context.Context, c Container, roots []root) ([]root, error)
	// change adds roots and takes others out, which may not be there.
	change(ctx context.Context, c Container, add, remove []root) error
}

// manifest says what is certwright's in a store.
type manifest struct {
	Mark   reconcile.Mark `json:"mark"`
	Layout string         `json:"layout"` // how the store was found to be
	Files  []string       `json:"files,omitempty"`
	Roots  []root         `json:"roots"`
}

const (
	prefix = "certwright-"         // of the names of all that is put into a store
	state  = "/var/lib/certwright" // where manifests are
	// maxManifest bounds what a container can have read.
	maxManifest = 1 << 20
)

// manifestOf is where the manifest of a store is.
func manifestOf(s spec.TrustStore) string {
	name := string(s.Kind)
	if s.Database != "" {
		name += "-" + fingerprint([]byte(s.Database))[:12]
	}
	return path.Join(state, "trust-"+name+".json")
}

// manifest reads the manifest of a store; nil where there is none, or none that can be one.
func (x Stores) manifest(ctx context.Context, c Container, of spec.TrustStore) (*manifest, store, error) {
	f, err := c.Get(ctx, manifestOf(of))
	if err != nil || f.Path == "" || len(f.Data) > maxManifest {
		return nil, nil, err
	}
	var m manifest
	if json.Unmarshal(f.Data, &m) != nil || m.Mark.Installation == "" || slices.ContainsFunc(m.Roots, forged) {
		return nil, nil, nil
	}
	s := x.known(of, m)
	if s == nil {
		return nil, nil, nil
	}
	return &m, s, nil
}

// forged reports whether a root has a name that none of certwright's has: names become paths and arguments.
func forged(r root) bool {
	return !strings.HasPrefix(r.Name, prefix) || strings.ContainsAny(r.Name, "/\n\x00")
}

// known is the store that a manifest speaks of; nil if it is none.
func (x Stores) known(of spec.TrustStore, m manifest) store {
	switch of.Kind {
	case spec.SystemStore:
		return knownSystem(m)
	case spec.JavaStore:
		return x.knownJava(m)
	case spec.NSSStore:
		return nss{of.Database}
	}
	return nil
}

// find looks for a store in a container. An error says what it lacks, and what to do.
func (x Stores) find(ctx context.Context, c Container, of spec.TrustStore) (store, manifest, error) {
	about, err := c.Describe(ctx)
	switch {
	case err != nil:
		return nil, manifest{}, err
	case about.ReadOnly:
		return nil, manifest{}, fmt.Errorf("its root file system is read-only, and so is its trust store: %s", instead)
	case of.Kind == spec.NSSStore:
		return findNSS(ctx, c, of.Database) // of a user, whose files may be on a mount
	}
	var s store
	var m manifest
	var lies []string
	if of.Kind == spec.SystemStore {
		s, m, lies, err = findSystem(ctx, c)
	} else {
		s, m, lies, err = x.findJava(ctx, c, about.Env)
	}
	if err != nil {
		return nil, manifest{}, err
	}
	for _, at := range lies {
		for _, mount := range about.Mounts {
			if at == mount || strings.HasPrefix(at, strings.TrimSuffix(mount, "/")+"/") {
				return nil, manifest{}, fmt.Errorf("its %s is on a mount, and not its own: have a binding of what is mounted there", at)
			}
		}
	}
	return s, m, nil
}

// instead is what to do where a container has no store that could be changed.
const instead = "give it a bundle in a volume or directory, and the variables that `certwright compose` prints for that"

// Read says which roots of certwright's a store has: the first name of a query holds them, as PEM. It changes nothing.
func (x Stores) Read(ctx context.Context, c Container, of spec.TrustStore, names []string) reconcile.PlaceContent {
	content := reconcile.PlaceContent{Files: map[string]reconcile.FileContent{}}
	for _, name := range names {
		content.Files[name] = reconcile.FileContent{}
	}
	m, s, err := x.manifest(ctx, c, of)
	if err == nil && m == nil {
		_, _, err = x.find(ctx, c, of)
	}
	if err != nil || m == nil {
		content.Err = err
		return content
	}
	there, err := s.has(ctx, c, m.Roots)
	if err != nil {
		content.Err = err
		return content
	}
	content.Exists, content.Mark, content.Layout = true, &m.Mark, spec.Plain
	content.Dir = reconcile.DirState{Mode: reconcile.DirMode}
	for _, name := range names {
		content.Files[name] = reconcile.FileContent{Kind: reconcile.KindFile, Ours: true, Mode: 0o644, Data: encode(there)}
	}
	return content
}

// Write makes the roots of a unit those that certwright has in a store.
func (x Stores) Write(ctx context.Context, c Container, of spec.TrustStore, u reconcile.Unit) error {
	old, before, err := x.manifest(ctx, c, of)
	if err != nil {
		return err
	}
	if old != nil && !u.Adopt && (old.Mark.Installation != u.Mark.Installation || old.Mark.Project != u.Mark.Project) {
		return fmt.Errorf("%w: its trust store has roots of another certwright (project %s)", reconcile.ErrForeign, old.Mark.Project)
	}
	if old != nil && old.Mark.Installation == u.Mark.Installation && old.Mark.Version > u.Mark.Version {
		return reconcile.ErrChanged
	}
	s, m, err := x.find(ctx, c, of)
	if err != nil {
		return err
	}
	m.Mark = u.Mark
	for _, f := range u.Files {
		for _, der := range decode(f.Data) {
			m.Roots = append(m.Roots, named(u.Mark, der))
		}
	}
	var gone []root
	if old != nil {
		gone = slices.DeleteFunc(slices.Clone(old.Roots), func(r root) bool {
			return slices.ContainsFunc(m.Roots, func(n root) bool { return n.Name == r.Name })
		})
	}
	if old != nil && (old.Layout != m.Layout || !slices.Equal(old.Files, m.Files)) { // the container was changed from inside
		if err := before.change(ctx, c, nil, old.Roots); err != nil {
			return err
		}
	}
	ahead := m
	ahead.Roots = slices.Concat(m.Roots, gone)
	if err := x.note(ctx, c, of, ahead); err != nil {
		return err
	}
	if err := s.change(ctx, c, m.Roots, gone); err != nil {
		return err
	}
	if len(gone) == 0 {
		return nil
	}
	return x.note(ctx, c, of, m)
}

// Remove takes out of a store what a binding had put there.
func (x Stores) Remove(ctx context.Context, c Container, of spec.TrustStore, mark reconcile.Mark) error {
	m, s, err := x.manifest(ctx, c, of)
	if err != nil || m == nil || m.Mark.Installation != mark.Installation || m.Mark.Project != mark.Project || m.Mark.Binding != mark.Binding {
		return err
	}
	if err := s.change(ctx, c, nil, m.Roots); err != nil {
		return err
	}
	if _, err := c.Run(ctx, "rm", "-f", manifestOf(of)); err != nil { // an image that has none
		return c.Put(ctx, File{Path: manifestOf(of), Mode: 0o644})
	}
	return nil
}

func (x Stores) note(ctx context.Context, c Container, of spec.TrustStore, m manifest) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.Put(ctx, File{Path: manifestOf(of), Data: append(data, '\n'), Mode: 0o644})
}

// named names a root as it is called in every store: no two of one name are two certificates.
func named(m reconcile.Mark, der []byte) root {
	sum := fingerprint(der)
	return root{Name: prefix + m.Project + "-" + m.Binding + "-" + sum[:16], SHA256: sum, der: der}
}

func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func encode(roots []root) []byte {
	var b bytes.Buffer
	for _, r := range roots {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: r.der})
	}
	return b.Bytes()
}

// decode finds the certificates in a bundle, between whatever text there is.
func decode(data []byte) [][]byte {
	var all [][]byte
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return all
		}
		// OpenSSL's own form has a certificate's trust behind it, and is not what was put there.
		if block.Type == "CERTIFICATE" {
			all = append(all, block.Bytes)
		}
	}
}

// among gives those of some roots whose certificate is in a bundle.
func among(roots []root, bundle []byte) []root {
	there := map[string][]byte{}
	for _, der := range decode(bundle) {
		there[fingerprint(der)] = der
	}
	var all []root
	for _, r := range roots {
		if der := there[r.SHA256]; der != nil {
			r.der = der
			all = append(all, r)
		}
	}
	return all
}
