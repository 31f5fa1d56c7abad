package reconcile

import (
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// view is a spec and a world with the look-ups that reading them together needs.
type view struct {
	s   *spec.Spec
	w   *World
	cas map[string]*spec.CA
	ids map[string]*spec.Identity

	bindings map[string]*spec.Binding
	named    map[[2]string]Container   // host, name
	compose  map[[3]string][]Container // host, project, service
	volumes  map[[2]string]bool        // host, name
	tasked   map[string]Container      // id of the Swarm task, whichever host it runs on
}

// The labels Docker Compose puts on what it makes (Compose specification, "Labels").
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	composeVolume  = "com.docker.compose.volume"
	composeOneoff  = "com.docker.compose.oneoff"
)

// ProjectLabel marks Docker objects certwright made with the project they are for.
const ProjectLabel = "certwright.project"

func newView(s *spec.Spec, w *World) *view {
	v := &view{
		s: s, w: w,
		cas: map[string]*spec.CA{}, ids: make(map[string]*spec.Identity, len(s.Identities)), bindings: make(map[string]*spec.Binding, len(s.Bindings)),
		named: map[[2]string]Container{}, compose: map[[3]string][]Container{}, volumes: map[[2]string]bool{}, tasked: map[string]Container{},
	}
	for i := range s.CAs {
		v.cas[s.CAs[i].Name] = &s.CAs[i]
	}
	for i := range s.Identities {
		v.ids[s.Identities[i].Name] = &s.Identities[i]
	}
	for i := range s.Bindings {
		v.bindings[s.Bindings[i].Name] = &s.Bindings[i]
	}
	for host, e := range w.Engines {
		for _, c := range e.Containers {
			v.named[[2]string{host, c.Name}] = c
			if id := c.Labels[swarmTask]; id != "" {
				v.tasked[id] = c
			}
			if p, s := c.Labels[composeProject], c.Labels[composeService]; p != "" && c.Labels[composeOneoff] != "True" {
				k := [3]string{host, p, s}
				v.compose[k] = append(v.compose[k], c)
			}
		}
		for _, vol := range e.Volumes {
			v.volumes[[2]string{host, vol.Name}] = true
		}
	}
	return v
}

// consumers are the containers a binding names, by name.
func (v *view) consumers(b *spec.Binding) []Container {
	host := b.Host.Name
	var out []Container
	switch c := b.Consumer; {
	case b.Place.Swarm():
		out = v.tasks(b)
	case b.Place.Engine != nil:
		return []Container{v.daemon(b)}
	case c == nil:
		return nil
	case c.Container != "":
		if x, ok := v.named[[2]string{host, c.Container}]; ok {
			out = append(out, x)
		}
	case c.ComposeService != "":
		out = slices.Clone(v.compose[[3]string{host, c.ComposeProject, c.ComposeService}])
	default:
		for _, x := range v.w.Engines[host].Containers {
			if val, ok := x.Labels[c.LabelKey]; ok && (c.LabelValue == "" || c.LabelValue == val) {
				out = append(out, x)
			}
		}
	}
	slices.SortFunc(out, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// located is one place of a binding and who sees it.
type located struct {
	at         Location
	containers []Container
	list       []spec.File // of the binding's, those that lie here
	files      bool        // at least one of them mounts single files of it
	create     bool        // a volume that has to be made first
	labels     map[string]string
}

// locate finds where a binding's files live. A refusal says why that is not known or not possible; wait says
// that it is only a matter of something appearing.
func (v *view) locate(b *spec.Binding) (at []located, refused *Refusal, wait bool) {
	if b.Place.Swarm() { // before the consumers, who may be known by the state alone, which is being read still
		return nil, nil, false
	}
	if b.Place.Context != nil {
		return ofContext(b), nil, false
	}
	if b.Place.Engine != nil {
		at, refused := v.ofEngine(b)
		return at, refused, v.w.Daemons[b.Host.Name].Away
	}
	all := v.consumers(b)
	engine := v.w.Engines[b.Host.Name]
	switch {
	case engine.Err != "" && needsEngine(b):
		return nil, unanswered(b, "engine", engine.Err), true
	case b.Place.Directory != "":
		l := located{at: ofDirectory(b), containers: all}
		l.files = mountsFiles(b, all)
		at = []located{l}
	case b.Place.Volume != "":
		at = []located{v.volume(b, all)}
	case b.Place.Store != nil:
		at = storesOf(b, all)
	case len(all) == 0:
		return nil, &Refusal{Reason: "waits for " + b.Consumer.String(), Hint: "create the container; certwright then finds the mount behind " + b.Place.Path}, true
	default:
		at, refused = behind(b, all)
	}
	if refused != nil {
		return nil, refused, false
	}
	for _, l := range at {
		if l.files && b.Layout != spec.Plain {
			return nil, &Refusal{
				Reason: "single files of " + l.at.String() + " are mounted, which pins what they are now",
				Hint:   "mount the directory instead, or set `layout: plain`",
			}, false
		}
	}
	for i := range at {
		at[i].list = b.Files
	}
	return at, nil, false
}

// needsEngine reports whether the place of a binding is reached through the engine of its host: all are, but directories of
// this machine, and contexts.
func needsEngine(b *spec.Binding) bool {
	return b.Place.Directory == "" && b.Place.Context == nil || b.Host.Name != spec.LocalHost
}

// unanswered is what is said of a binding whose engine or Swarm does not answer. That of the environment may be off, and is waited
// for; a host of the spec is one that should be there.
func unanswered(b *spec.Binding, what, err string) *Refusal {
	if b.Host.Name == spec.LocalHost {
		return &Refusal{State: Waiting, Reason: "waits for the " + what + ": " + err}
	}
	return &Refusal{State: Failed, Reason: err}
}

// volume looks the volume up as written, then as Compose names it.
func (v *view) volume(b *spec.Binding, all []Container) located {
	host, name := b.Host.Name, b.Place.Volume
	l := located{at: Location{Host: host, Volume: name}, containers: all}
	if v.volumes[[2]string{host, name}] {
		return l
	}
	l.labels = map[string]string{ProjectLabel: v.s.Project}
	if project := projectOf(b, all); project != "" {
		l.at.Volume = project + "_" + name
		l.labels[composeProject], l.labels[composeVolume] = project, name
	}
	l.create = !v.volumes[[2]string{host, l.at.Volume}]
	return l
}

// projectOf is the Compose project of a binding: the one it names, else that of its containers.
func projectOf(b *spec.Binding, all []Container) string {
	if b.Consumer != nil && b.Consumer.ComposeProject != "" {
		return b.Consumer.ComposeProject
	}
	for _, c := range all {
		if p := c.Labels[composeProject]; p != "" {
			return p
		}
	}
	return ""
}

// behind finds the mounts behind a path in containers; several replicas may have several.
func behind(b *spec.Binding, all []Container) ([]located, *Refusal) {
	var out []located
	for _, c := range all {
		at, files, refused := mountAt(b, c)
		if refused != nil {
			return nil, refused
		}
		i := slices.IndexFunc(out, func(l located) bool { return l.at == at })
		if i < 0 {
			out, i = append(out, located{at: at}), len(out)
		}
		out[i].containers = append(out[i].containers, c)
		out[i].files = out[i].files || files
	}
	return out, nil
}

func mountAt(b *spec.Binding, c Container) (at Location, files bool, refused *Refusal) {
	var best *Mount
	for i, m := range c.Mounts {
		if within(b.Place.Path, m.Destination) && (best == nil || len(m.Destination) > len(best.Destination)) {
			best = &c.Mounts[i]
		}
	}
	if best == nil {
		if dir, ok := commonSource(b, c); ok {
			return Location{Host: b.Host.Name, Dir: dir, Machine: true}, true, nil
		}
		return at, false, &Refusal{
			Reason: b.Place.Path + " in " + c.Name + " is not on a mount and would be lost with the container",
			Hint:   "mount a directory or a volume at " + b.Place.Path,
		}
	}
	rel := strings.TrimPrefix(strings.TrimPrefix(path.Clean(b.Place.Path), path.Clean(best.Destination)), "/")
	switch best.Type {
	case "bind":
		return Location{Host: b.Host.Name, Dir: best.Source, Machine: true, Sub: rel}, false, nil
	case "volume":
		return Location{Host: b.Host.Name, Volume: best.Name, Sub: rel}, false, nil
	}
	return at, false, &Refusal{
		Reason: b.Place.Path + " in " + c.Name + " is on a mount of type " + best.Type + ", which cannot be written from outside",
		Hint:   "mount a directory or a volume there",
	}
}

// commonSource is the directory whose single files the container mounts at the binding's path.
func commonSource(b *spec.Binding, c Container) (dir string, ok bool) {
	for _, f := range b.Files {
		i := slices.IndexFunc(c.Mounts, func(m Mount) bool {
			return m.Type == "bind" && m.Destination == path.Join(b.Place.Path, f.Name) && path.Base(m.Source) == f.Name
		})
		if i < 0 {
			return "", false
		}
		d := path.Dir(c.Mounts[i].Source)
		if dir != "" && d != dir {
			return "", false
		}
		dir = d
	}
	return dir, dir != ""
}

// mountsFiles reports whether a container mounts a file of the binding's directory by itself.
func mountsFiles(b *spec.Binding, all []Container) bool {
	for _, c := range all {
		for _, m := range c.Mounts {
			for _, f := range b.Files {
				if m.Type == "bind" && m.Source == path.Join(b.Place.Directory, f.Name) {
					return true
				}
			}
		}
	}
	return false
}

// within reports whether p is dir or lies below it.
func within(p, dir string) bool {
	p, dir = path.Clean(p), path.Clean(dir)
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// TargetKey is the key of World.Served and State.Loads.
func TargetKey(binding string, c Container) string { return binding + "/" + c.ID }
