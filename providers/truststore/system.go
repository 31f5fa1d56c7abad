package truststore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// system is how a family of distributions keeps its roots: a directory for those of the administrator, a tool that makes
// bundles of all, and the bundle of those that servers are verified with.
type system struct {
	name    string
	ids     []string // ID and ID_LIKE of os-release(5)
	anchors string
	tools   [][]string
	bundle  string
}

// systems are from the manuals of each tool: update-ca-certificates(8) of Debian and of openSUSE, update-ca-trust(8), and
// trust(1) of p11-kit. A system that os-release does not tell is the first that is there.
var systems = []system{
	{"debian", []string{"debian", "ubuntu", "alpine"}, "/usr/local/share/ca-certificates", [][]string{{"update-ca-certificates"}}, "/etc/ssl/certs/ca-certificates.crt"},
	{"fedora", []string{"fedora", "rhel", "centos"}, "/etc/pki/ca-trust/source/anchors", [][]string{{"update-ca-trust"}}, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
	{"suse", []string{"suse", "opensuse", "sles"}, "/etc/pki/trust/anchors", [][]string{{"update-ca-certificates"}}, "/var/lib/ca-certificates/ca-bundle.pem"},
	{"arch", []string{"arch"}, "/etc/ca-certificates/trust-source/anchors", [][]string{{"update-ca-trust"}, {"trust", "extract-compat"}}, "/etc/ca-certificates/extracted/tls-ca-bundle.pem"},
}

// binaries are where tools are.
var binaries = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"}

func systemNamed(name string) (system, bool) {
	i := slices.IndexFunc(systems, func(s system) bool { return s.name == name })
	if i < 0 {
		return system{}, false
	}
	return systems[i], true
}

func knownSystem(m manifest) store {
	if s, known := systemNamed(m.Layout); known {
		return tooled{s}
	}
	if m.Layout != bundled || slices.ContainsFunc(m.Files, func(f string) bool { return !slices.Contains(bundleFiles, f) }) {
		return nil
	}
	return bundles(m.Files)
}

// findSystem finds out how a container keeps its roots: by its distribution and what is there of that; without a tool, in the
// bundle files alone. lies is what of it is changed.
func findSystem(ctx context.Context, c Container) (s store, m manifest, lies []string, err error) {
	release, err := c.Get(ctx, "/etc/os-release")
	if err != nil {
		return nil, m, nil, err
	}
	likes := ids(release.Data)
	for _, s := range systems {
		if !slices.ContainsFunc(likes, func(id string) bool { return slices.Contains(s.ids, id) }) {
			there, err := c.Has(ctx, s.anchors)
			if err != nil {
				return nil, m, nil, err
			}
			if !there {
				continue
			}
		}
		tool, err := s.tool(ctx, c)
		if err != nil {
			return nil, m, nil, err
		}
		if tool != nil {
			return tooled{s}, manifest{Layout: s.name}, []string{s.anchors, s.bundle}, nil
		}
	}
	var found bundles
	for _, file := range bundleFiles {
		f, err := c.Get(ctx, file)
		if err != nil {
			return nil, m, nil, err
		}
		if f.Path != "" {
			found, lies = append(found, file), append(lies, f.Path)
		}
	}
	if len(found) == 0 {
		return nil, m, nil, fmt.Errorf("it has no trust store: neither the tool of a distribution nor a bundle file (as %s): %s", bundleFiles[0], instead)
	}
	return found, manifest{Layout: bundled, Files: found}, lies, nil
}

// ids are the words that os-release(5) calls a distribution by.
func ids(release []byte) []string {
	var all []string
	for lines := bufio.NewScanner(bytes.NewReader(release)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "ID" || key == "ID_LIKE" {
			all = append(all, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	return all
}

// tool is the command that makes the bundles; nil where there is none.
func (s system) tool(ctx context.Context, c Container) ([]string, error) {
	for _, argv := range s.tools {
		for _, dir := range binaries {
			name := path.Join(dir, argv[0])
			if there, err := c.Has(ctx, name); err != nil || there {
				return append([]string{name}, argv[1:]...), err
			}
		}
	}
	return nil, nil
}

// tooled is a system with its tool.
type tooled struct{ system }

func (s tooled) anchor(r root) string { return path.Join(s.anchors, r.Name+".crt") }

// has wants a root in its own file and in the bundle: one without the other is a job half done.
func (s tooled) has(ctx context.Context, c Container, roots []root) ([]root, error) {
	bundle, err := c.Get(ctx, s.bundle)
	if err != nil {
		return nil, err
	}
	var all []root
	for _, r := range among(roots, bundle.Data) {
		anchor, err := c.Get(ctx, s.anchor(r))
		if err != nil {
			return nil, err
		}
		all = append(all, among([]root{r}, anchor.Data)...)
	}
	return all, nil
}

func (s tooled) change(ctx context.Context, c Container, add, remove []root) error {
	tool, err := s.tool(ctx, c)
	if err != nil {
		return err
	}
	var files []File
	for _, r := range add {
		is, err := c.Get(ctx, s.anchor(r))
		switch {
		case err != nil:
			return err
		case is.Path == "":
		case len(among([]root{r}, is.Data)) == 0 && len(is.Data) > 0: // an empty one is what a crash leaves
			return fmt.Errorf("%s is there, and holds something else: move it away", is.Path)
		}
		files = append(files, File{Path: s.anchor(r), Data: encode([]root{r}), Mode: 0o644})
	}
	if err := c.Put(ctx, files...); err != nil {
		return err
	}
	argv := []string{"rm", "-f"}
	for _, r := range remove {
		is, err := c.Get(ctx, s.anchor(r))
		if err != nil {
			return err
		}
		if is.Path != "" && (len(is.Data) == 0 || len(among([]root{r}, is.Data)) > 0) {
			argv = append(argv, s.anchor(r))
		}
	}
	if len(argv) > 2 {
		if _, err := c.Run(ctx, argv...); err != nil {
			return fmt.Errorf("remove the roots that are not wanted any more: %w", err)
		}
	}
	if tool == nil {
		return fmt.Errorf("its %s is gone, and so nothing makes its bundles anew: install it again, or make the container anew", s.tools[0][0])
	}
	if _, err := c.Run(ctx, tool...); err != nil {
		return fmt.Errorf("%s: %w", tool[0], err)
	}
	there, err := s.has(ctx, c, add)
	if err == nil && len(there) < len(add) {
		return fmt.Errorf("%s took no notice of the roots in %s: they are not in %s", tool[0], s.anchors, s.bundle)
	}
	return err
}
