package truststore

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// cacerts is the keystore of roots of a JVM.
type cacerts struct {
	Keystores
	file string
}

const javaLayout = "java"

// homes are where JVMs are whose JAVA_HOME is not said: those of Debian, Alpine, Fedora and Temurin.
var homes = []string{"/opt/java/openjdk", "/usr/lib/jvm/default-java", "/usr/lib/jvm/default-jvm", "/usr/lib/jvm/jre", "/usr/lib/jvm/java", "/usr/java/default"}

// findJava finds the keystore that a JVM reads: jssecacerts where there is one, else cacerts (JSSE Reference Guide, "The
// Default TrustManager").
func (x Stores) findJava(ctx context.Context, c Container, env []string) (s store, m manifest, lies []string, err error) {
	var dirs []string
	for _, v := range env {
		if home, is := strings.CutPrefix(v, "JAVA_HOME="); is && path.IsAbs(home) {
			dirs = append(dirs, home)
		}
	}
	for _, home := range append(dirs, homes...) {
		for _, below := range []string{"lib/security", "jre/lib/security"} {
			for _, name := range javaNames {
				f, err := c.Get(ctx, path.Join(home, below, name))
				if err != nil {
					return nil, m, nil, err
				}
				if f.Path != "" {
					return x.cacerts(f)
				}
			}
		}
	}
	f, err := c.Get(ctx, "/etc/ssl/certs/java/cacerts")
	switch {
	case err != nil:
		return nil, m, nil, err
	case f.Path == "":
		return nil, m, nil, fmt.Errorf("it has no cacerts: neither below JAVA_HOME nor where distributions have it: set JAVA_HOME in its image, or %s", instead)
	}
	return x.cacerts(f)
}

var javaNames = []string{"jssecacerts", "cacerts"}

func (x Stores) cacerts(f File) (s store, m manifest, lies []string, err error) {
	if _, err := x.Keystores.Trusted(f.Data); err != nil {
		return nil, m, nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return cacerts{x.Keystores, f.Path}, manifest{Layout: javaLayout, Files: []string{f.Path}}, []string{f.Path}, nil
}

func (x Stores) knownJava(m manifest) store {
	if m.Layout != javaLayout || len(m.Files) != 1 || !path.IsAbs(m.Files[0]) || !slices.Contains(javaNames, path.Base(m.Files[0])) {
		return nil
	}
	return cacerts{x.Keystores, m.Files[0]}
}

// alias is how Java spells an alias: without regard to case.
func alias(r root) string { return strings.ToLower(r.Name) }

func (j cacerts) has(ctx context.Context, c Container, roots []root) ([]root, error) {
	f, err := c.Get(ctx, j.file)
	if err != nil || f.Path == "" {
		return nil, err
	}
	trusted, err := j.Trusted(f.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.file, err)
	}
	var all []root
	for _, r := range roots {
		if der := trusted[alias(r)]; der != nil && fingerprint(der) == r.SHA256 {
			r.der = der
			all = append(all, r)
		}
	}
	return all, nil
}

func (j cacerts) change(ctx context.Context, c Container, add, remove []root) error {
	f, err := c.Get(ctx, j.file)
	switch {
	case err != nil:
		return err
	case f.Path == "" && len(add) == 0:
		return nil
	case f.Path == "":
		return fmt.Errorf("%s is gone", j.file)
	}
	trusted, err := j.Trusted(f.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", j.file, err)
	}
	more, less := map[string][]byte{}, []string(nil)
	for _, r := range add {
		switch der := trusted[alias(r)]; {
		case der == nil:
			more[alias(r)] = r.der
		case fingerprint(der) != r.SHA256:
			return fmt.Errorf("%s has another certificate under %s", j.file, alias(r))
		}
	}
	for _, r := range remove {
		if der := trusted[alias(r)]; der != nil && fingerprint(der) == r.SHA256 {
			less = append(less, alias(r))
		}
	}
	if len(more)+len(less) == 0 {
		return nil
	}
	if f.Data, err = j.Retrust(f.Data, more, less); err != nil {
		return fmt.Errorf("%s: %w", j.file, err)
	}
	return c.Replace(ctx, f)
}
