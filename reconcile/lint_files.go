package reconcile

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// keyFiles looks at who can read keys and passphrases where the spec says they are. What containers of another machine mount
// is not what is here, if it is called the same.
func (l *linter) keyFiles() {
	for _, f := range l.w.KeyFiles {
		if mode := fs.FileMode(f.Mode); mode&0o027 != 0 {
			l.find("file "+f.Path, "chmod go= "+f.Path, "%s can be read or changed by other users (mode %04o)", f.What, f.Mode)
		}
		for i := range l.s.Bindings {
			b := &l.s.Bindings[i]
			if b.Host.Name == spec.LocalHost && b.Place.Directory != "" && within(f.Path, b.Place.Directory) {
				l.find("file "+f.Path, "move it out of "+b.Place.Directory, "%s lies where binding %s gives its consumer files", f.What, b.Name)
			}
		}
		for _, host := range slices.Sorted(maps.Keys(l.w.Here)) {
			for _, c := range l.w.Engines[host].Containers {
				l.exposed(f, c)
			}
		}
	}
}

// exposed says of a file that a container mounts it.
func (l *linter) exposed(f KeyFile, c Container) {
	if itself(c) {
		return
	}
	for _, m := range c.Mounts {
		if m.Type == "bind" && m.Source != "/" && within(f.Path, m.Source) {
			l.find("file "+f.Path, "mount a directory of its own there, without it", "%s is in what %s mounts at %s: who breaks into that has it", f.What, c.Name, m.Destination)
		}
	}
}

// itself reports whether a container is certwright's own, which has its store.
func itself(c Container) bool {
	program, _, _ := strings.Cut(c.Command, " ")
	return spec.ImageName(c.Image) == "certwright" || path.Base(program) == "certwright"
}

// mounts looks at how the consumers of a binding see its files.
func (l *linter) mounts(b *spec.Binding) {
	subject := "binding/" + b.Name
	at, _, _ := l.locate(b)
	for _, place := range at {
		for _, f := range b.Files {
			is := l.w.Places[place.at].Files[f.Name]
			if f.Content.HoldsKey() && is.Kind == KindFile && !is.Ours && is.Mode&0o007 != 0 {
				l.find(subject, "`certwright adopt "+b.Name+"` takes it over with the mode it should have", "%s in %s holds a key and can be read by everybody (mode %04o)", f.Name, place.at, is.Mode.Perm())
			}
		}
		for _, c := range place.containers {
			switch {
			case !mounts(c, place.at):
				l.find(subject, "`certwright compose` prints the mount", "%s does not mount %s, and never sees what is placed there", c.Name, place.at)
			case place.files:
				l.find(subject, "mount the directory", "%s mounts single files, which stay the old ones when they are replaced", c.Name)
			default:
				l.writable(subject, c, place.at)
			}
			l.unreadable(b, place, c)
		}
	}
}

func (l *linter) writable(subject string, c Container, at Location) {
	for _, m := range c.Mounts {
		ours := at.Volume != "" && m.Name == at.Volume || at.Dir != "" && m.Type == "bind" && within(at.physical().Dir, m.Source)
		if ours && m.ReadWrite {
			l.find(subject, "mount it with `:ro`", "%s can write what it mounts at %s: who breaks into it can put other files there", c.Name, m.Destination)
		}
	}
}

// unreadable says of a key that the user whom its consumer runs as cannot read it, where the spec names another one.
func (l *linter) unreadable(b *spec.Binding, place located, c Container) {
	runs, known := l.w.Owners[OwnerKey(c.ID, readerOf(b, c))]
	if !known || runs.UID == 0 {
		return
	}
	for _, f := range b.Files {
		want := f.Owner
		if want == nil {
			want = b.Owner
		}
		if want == nil || want.Name != "" || !f.Content.HoldsKey() {
			continue
		}
		byGroup := f.Mode&0o040 != 0 && want.GID == runs.GID
		if want.UID != runs.UID && !byGroup {
			l.find("binding/"+b.Name, "leave `owner` out: it is then who reads it", "%s runs as %d:%d, and %s is given to %d:%d with mode %04o", c.Name, runs.UID, runs.GID, f.Name, want.UID, want.GID, f.Mode.Perm())
		}
	}
}

// keyName is what files of keys are called.
var keyName = regexp.MustCompile(`(?i)(^|[-_.])(priv)?key([-_.]|$)`)

// otherSecrets looks at secrets that nobody of ours made, in services that a binding names: Swarm's own mode is 0444.
func (l *linter) otherSecrets() {
	for i := range l.s.Bindings {
		b := &l.s.Bindings[i]
		if b.Consumer == nil || b.Consumer.Service == "" {
			continue
		}
		for _, svc := range l.w.Swarms[b.Host.Name].Services {
			if svc.Name != b.Consumer.Service {
				continue
			}
			for _, s := range svc.Secrets {
				if !s.Config && s.Mode&0o004 != 0 && keyName.MatchString(path.Base(s.Target)) {
					l.find("binding/"+b.Name, "give it `mode: 0400` and the uid of the server", "service %s mounts the secret %s, a key by its name, for everybody in the task to read (mode %04o)", svc.Name, s.Target, s.Mode.Perm())
				}
			}
		}
	}
}
