package main

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/spec"
)

// draft is a first spec in the making.
type draft struct {
	project string
	from    string // what it was made from
	all     []workload
}

// workload is a service or a container, as far as a spec is about it.
type workload struct {
	name      string   // of the identity and the binding
	consumer  string   // as YAML
	names     []string // by which clients reach it, the first being the usual one
	image     string
	mounts    []workloadMount
	ports     []int // of the container: published first, then exposed
	published bool
}

// workloadMount is one mount of a workload. Exactly one of dir, volume and file says what is mounted.
type workloadMount struct {
	dir, volume, file string
	target            string
	exact             bool // the volume has that name, and not one that Compose makes of it
}

// port is the one that most likely serves TLS: the image's own, else one that ends in 443, else the first.
func (w workload) port() int {
	known, _, ok := spec.PresetOfImage(w.image)
	if ok && slices.Contains(w.ports, known.Port) {
		return known.Port
	}
	for _, p := range w.ports {
		if p%1000 == 443 {
			return p
		}
	}
	if ok {
		return known.Port
	}
	if len(w.ports) > 0 {
		return w.ports[0]
	}
	return 0
}

var (
	certificatePath = regexp.MustCompile(`(?i)(cert|ssl|tls|pki)`)
	certificateFile = regexp.MustCompile(`(?i)\.(pem|crt|cer|key|p12|pfx|jks)$`)
	authorityFile   = regexp.MustCompile(`(?i)(^|[^a-z])(ca|root|chain-of-trust)([^a-z]|$)`)
)

// place is the mount that looks like certificates: a directory or volume, else the single files.
func (w workload) place() (whole *workloadMount, files []workloadMount) {
	for i, m := range w.mounts {
		switch {
		case m.file != "" && certificateFile.MatchString(m.target):
			files = append(files, m)
		case m.file == "" && whole == nil && certificatePath.MatchString(m.target):
			whole = &w.mounts[i]
		}
	}
	return whole, files
}

func (d draft) render() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `certwright init` from %s. Comments say what was guessed; read them before the first apply.\n", printable(d.from))
	fmt.Fprintf(&b, "version: 1\nproject: %s\n", quoted(d.project))
	b.WriteString("\ncas:\n  internal:\n    local: {lifetime: 10y}\n")
	if len(d.all) == 0 {
		return b.Bytes()
	}
	b.WriteString("\nidentities:\n")
	for _, w := range d.all {
		w.identity(&b)
	}
	b.WriteString("\nbindings:\n")
	taken := map[string]string{}
	for _, w := range d.all {
		w.binding(&b, taken)
	}
	return b.Bytes()
}

func (w workload) identity(b *bytes.Buffer) {
	fmt.Fprintf(b, "  %s:\n    ca: internal\n", quoted(w.name))
	if w.port() == 0 {
		b.WriteString("    usages: [client]        # no port, and no image of a known server: taken for a client\n")
		return
	}
	names := make([]string, len(w.names))
	for i, n := range w.names {
		names[i] = quoted(n)
	}
	fmt.Fprintf(b, "    names: [%s]\n", strings.Join(names, ", "))
}

// binding writes a binding. taken are the places that others have, by what they are.
func (w workload) binding(b *bytes.Buffer, taken map[string]string) {
	fmt.Fprintf(b, "  %s:\n    identity: %[1]s\n    container: %s\n", quoted(w.name), w.consumer)
	whole, files := w.place()
	shared := false
	key, at := "directory", "./certs/"+w.name
	if whole != nil {
		if key, at = "directory", whole.dir; whole.volume != "" {
			key, at = "volume", whole.volume
		}
		if other := taken[key+at]; other != "" {
			fmt.Fprintf(b, "    # It shares %s with %s, but its key is its own: mount this directory at %s instead.\n", printable(at), other, printable(whole.target))
			whole, shared, key, at = nil, true, "directory", "./certs/"+w.name
		}
	}
	taken[key+at] = w.name
	switch {
	case whole != nil && whole.exact && path.IsAbs(whole.target): // `volume` would make another, called after the project
		fmt.Fprintf(b, "    path: %s        # on the volume %s, which is found when its container is there: docker compose create\n", quoted(whole.target), printable(at))
	case whole != nil:
		fmt.Fprintf(b, "    %s: %s        # mounted at %s\n", key, quoted(at), printable(whole.target))
	case len(files) > 0:
		target := path.Dir(files[0].target)
		if !certificatePath.MatchString(target) {
			target = "a path of its own" // mounted there it would hide what else is in that directory
		}
		fmt.Fprintf(b, "    # It mounts single files, which stay the old ones when they are replaced: mount this directory at %s instead.\n", printable(target))
		fmt.Fprintf(b, "    %s: %s\n", key, quoted(at))
	case shared:
		fmt.Fprintf(b, "    %s: %s\n", key, quoted(at))
	default:
		b.WriteString("    # No mount looks like certificates: `certwright compose` prints one for this directory.\n")
		fmt.Fprintf(b, "    %s: %s\n", key, quoted(at))
	}
	w.files(b, files)
	w.proof(b)
}

// files names the files as the single-file mounts do, if they do so without a doubt.
func (w workload) files(b *bytes.Buffer, mounts []workloadMount) {
	content := map[string]string{}
	seen := map[string]bool{}
	for _, m := range mounts {
		name, what := path.Base(m.target), "fullchain"
		switch {
		case strings.Contains(strings.ToLower(name), "key"):
			what = "key"
		case authorityFile.MatchString(name):
			what = "ca"
		}
		if ext := filepath.Ext(name); seen[what] || ext == ".p12" || ext == ".pfx" || ext == ".jks" {
			b.WriteString("    # What its files hold could not be told from their names: see `files` in the documentation.\n")
			return
		}
		seen[what], content[name] = true, what
	}
	if len(content) == 0 {
		return
	}
	b.WriteString("    files:\n")
	for _, m := range mounts {
		name := path.Base(m.target)
		fmt.Fprintf(b, "      %s: %s\n", quoted(name), content[name])
	}
}

// proof writes how the files are taken up, and how that is seen.
func (w workload) proof(b *bytes.Buffer) {
	known, _, ok := spec.PresetOfImage(w.image)
	port := w.port()
	switch {
	case ok:
		fmt.Fprintf(b, "    reload: %s\n", known.Name)
	case port != 0:
		b.WriteString("    # How it reloads is not known: {signal: HUP}, {exec: […]}, restart, or none if it notices by itself.\n    reload: none\n")
	default:
		b.WriteString("    reload: none\n")
	}
	if port == 0 {
		return
	}
	fmt.Fprintf(b, "    probe: {port: %d", port)
	if known.Protocol != "" {
		fmt.Fprintf(b, ", protocol: %s", known.Protocol)
	}
	b.WriteString("}        # add clientAuth: required if it asks clients for a certificate\n")
}

// quoted writes a string so that YAML and interpolation read it back as it is, also inside of [ ] and { }.
func quoted(s string) string {
	if plainWord.MatchString(s) && !yamlWord.MatchString(s) {
		return s
	}
	return strconv.Quote(strings.ReplaceAll(s, "$", "$$"))
}

var (
	plainWord = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9_./-]*$`)
	// What YAML 1.1 and 1.2 read as something other than a string.
	yamlWord = regexp.MustCompile(`(?i)^(~|null|true|false|yes|no|on|off|y|n|\.nan|\.inf|\.[0-9].*|\.)$`)
)

var notInName = regexp.MustCompile(`[^a-z0-9_-]+`)

// projectName makes a project's name of a folder's, as Compose does (docs.docker.com/compose, "Project name").
func projectName(s string) string {
	s = strings.TrimLeft(notInName.ReplaceAllString(strings.ToLower(s), ""), "_-")
	if len(s) > 63 {
		s = s[:63]
	}
	if s == "" {
		return "project"
	}
	return s
}

// dnsNames keeps what can stand in a certificate as a DNS name, each once, in lower case.
func dnsNames(all ...string) []string {
	var out []string
	for _, n := range all {
		n = strings.ToLower(n)
		last := n[strings.LastIndexByte(n, '.')+1:]
		if dnsName.MatchString(n) && len(n) <= 253 && strings.Trim(last, "0123456789") != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

var dnsName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
