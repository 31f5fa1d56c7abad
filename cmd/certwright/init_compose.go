package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A Compose file has at most this many bytes.
const composeMax = 1 << 20

// composeModel is what a first spec needs of a Compose file (github.com/compose-spec/compose-spec).
type composeModel struct {
	Name     string
	Services map[string]composeService
	Networks map[string]struct{ Name string }
	Volumes  map[string]struct {
		Name     string
		External yaml.Node // true, or what its name is, as older files have it
	}
}

type composeService struct {
	Image         string
	ContainerName string `yaml:"container_name"`
	Hostname      string
	Ports         []composePort
	Expose        []composePort
	Networks      composeNetworks
	Volumes       []composeVolume
}

// fromCompose drafts a spec from a Compose file, for a tls.yaml in folder.
func fromCompose(name, folder string, getenv func(string) string) (draft, error) {
	m, err := readCompose(name, getenv)
	if err != nil {
		return draft{}, fmt.Errorf("%s: %w", name, err)
	}
	here, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return draft{}, err
	}
	d := draft{from: filepath.Base(name), project: projectName(cmp.Or(getenv("COMPOSE_PROJECT_NAME"), m.Name, filepath.Base(here)))}
	names := make([]string, 0, len(m.Services))
	for s := range m.Services {
		names = append(names, s)
	}
	slices.Sort(names)
	for _, s := range names {
		d.all = append(d.all, m.workload(s, d.project, here, folder))
	}
	return d, nil
}

func readCompose(name string, getenv func(string) string) (composeModel, error) {
	var m composeModel
	f, err := os.Open(name)
	if err != nil {
		return m, errors.Unwrap(err) // the caller names the file
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, composeMax+1))
	if err != nil {
		return m, err
	}
	if len(data) > composeMax {
		return m, fmt.Errorf("larger than %d bytes", composeMax)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return m, err
	}
	interpolate(&root, getenv)
	if err := root.Decode(&m); err != nil {
		return m, inYAMLWords(err)
	}
	if len(m.Services) == 0 {
		return m, errors.New("it has no services")
	}
	return m, nil
}

// inYAMLWords leaves the Go types out of an error of the decoder: "line 3: cannot unmarshal !!map into []main.T".
func inYAMLWords(err error) error {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return err
	}
	var all []string
	for _, e := range wrong.Errors {
		what, _, _ := strings.Cut(e, " into ")
		all = append(all, strings.Replace(what, "cannot unmarshal", "did not expect", 1))
	}
	return errors.New(strings.Join(all, "; "))
}

// interpolate replaces variables in every scalar, as Compose does: $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}.
func interpolate(n *yaml.Node, getenv func(string) string) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "$") {
		n.Value = os.Expand(n.Value, func(inside string) string {
			if inside == "$" {
				return "$"
			}
			name, rest, _ := strings.Cut(inside, "-")
			return cmp.Or(getenv(strings.TrimSuffix(name, ":")), rest)
		})
	}
	for _, c := range n.Content {
		interpolate(c, getenv)
	}
}

func (m composeModel) workload(name, project, here, folder string) workload {
	s := m.Services[name]
	w := workload{name: name, consumer: fmt.Sprintf("{compose: %s}", quoted(project+"/"+name)), image: s.Image}
	all := []string{name, s.ContainerName, s.Hostname}
	for _, n := range s.Networks {
		all = append(all, n.aliases...)
		all = append(all, name+"."+cmp.Or(m.Networks[n.name].Name, project+"_"+n.name))
	}
	for _, p := range s.Ports {
		w.ports, w.published = append(w.ports, int(p)), true
	}
	for _, p := range s.Expose {
		w.ports = append(w.ports, int(p))
	}
	if w.published {
		all = append(all, "localhost")
	}
	w.names = dnsNames(all...)
	if w.published {
		w.names = append(w.names, "127.0.0.1")
	}
	for _, v := range s.Volumes {
		if mount, ok := m.mount(v, here, folder); ok {
			w.mounts = append(w.mounts, mount)
		}
	}
	return w
}

// mount is a volume of a service; false for what holds no files that last.
func (m composeModel) mount(v composeVolume, here, folder string) (workloadMount, bool) {
	out := workloadMount{target: v.Target}
	switch {
	case v.Type == "volume" && v.Source != "":
		volume := m.Volumes[v.Source]
		out.volume = cmp.Or(volume.Name, v.Source)
		out.exact = volume.Name != "" || !volume.External.IsZero() && volume.External.Value != "false"
	case v.Type != "bind" || v.Source == "":
		return out, false
	case certificateFile.MatchString(v.Target):
		out.file = v.Source
	default:
		out.dir = v.Source
		if !filepath.IsAbs(out.dir) {
			out.dir = filepath.Join(here, out.dir)
			if rel, err := filepath.Rel(folder, out.dir); err == nil && filepath.IsLocal(rel) {
				out.dir = "./" + rel
			}
		}
	}
	return out, true
}

// composePort is the port of the container: of 443, "443", "8443:443/tcp", "127.0.0.1:8443:443" or {target: 443}.
// It is zero for what names none, such as a range.
type composePort int

func (p *composePort) UnmarshalYAML(n *yaml.Node) error {
	text := n.Value
	if n.Kind == yaml.MappingNode {
		var long struct{ Target string }
		if err := n.Decode(&long); err != nil {
			return err
		}
		text = long.Target
	}
	text, _, _ = strings.Cut(text, "/")
	port, err := strconv.Atoi(text[strings.LastIndexByte(text, ':')+1:])
	if err == nil && 0 < port && port < 65536 {
		*p = composePort(port)
	}
	return nil
}

type composeNetwork struct {
	name    string
	aliases []string
}

// composeNetworks is [front, back] or {front: {aliases: [web]}}, in the order of the file.
type composeNetworks []composeNetwork

func (all *composeNetworks) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		var names []string
		err := n.Decode(&names)
		for _, name := range names {
			*all = append(*all, composeNetwork{name: name})
		}
		return err
	}
	var long map[string]struct{ Aliases []string }
	if err := n.Decode(&long); err != nil {
		return err
	}
	for name, network := range long {
		*all = append(*all, composeNetwork{name, network.Aliases})
	}
	slices.SortFunc(*all, func(a, b composeNetwork) int { return strings.Compare(a.name, b.name) })
	return nil
}

// composeVolume is "SOURCE:TARGET:ro" or the long form of it.
type composeVolume struct{ Type, Source, Target string }

func (v *composeVolume) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		type long composeVolume // without this method
		return n.Decode((*long)(v))
	}
	source, target, both := strings.Cut(n.Value, ":")
	if !both {
		return nil // an anonymous volume
	}
	v.Source = source
	v.Target, _, _ = strings.Cut(target, ":")
	v.Type = "volume"
	if strings.HasPrefix(source, ".") || strings.HasPrefix(source, "/") || strings.HasPrefix(source, "~") {
		v.Type = "bind"
	}
	return nil
}
