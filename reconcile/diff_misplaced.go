package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/certwright/certwright/spec"
)

// misplaced says why a place has to be written, whether it is someone else's doing, or why it must not be.
func (d *differ) misplaced(b *spec.Binding, at Location, p PlaceState, row PlaceRow, files []wantedFile, unit Fingerprint, pending, adopt bool) (reason string, drifted bool, refused *Refusal) {
	if p.Err != "" {
		return "", false, &Refusal{Reason: p.Err, Hint: inTheWay(at, p.Err)}
	}
	if refused := d.foreign(b, p, files); refused != nil && !adopt {
		return "", false, refused
	}
	if pending {
		if len(row.Files) > 0 {
			return "follows its certificate", false, nil
		}
		return "not placed", false, nil
	}
	if len(row.Files) == 0 || p.Mark == nil {
		return "not placed", row.Wrote != "", nil
	}
	if p.Layout != b.Layout {
		return "layout changed", false, nil
	}
	if r := shut(p, files); r != "" {
		return r, true, nil
	}
	if r := misplacedFiles(files, p.Files); r != "" {
		if at.Container != "" {
			r = d.unlikeStore(b, at, row.Wrote == unit)
		}
		return r, true, nil
	}
	var old []string
	for _, name := range row.Files {
		if !slices.ContainsFunc(files, func(f wantedFile) bool { return f.spec.Name == name }) {
			old = append(old, name)
		}
	}
	if len(old) > 0 {
		return strings.Join(old, ", ") + " left the spec", false, nil
	}
	if row.Wrote != unit {
		return "the spec changed", false, nil // in what does not show in the files as they are read, as an alias
	}
	return "", false, nil
}

// inTheWay is what to do about a place that cannot be read or written, "" where its error says as much. The error may have come from
// another machine, as text.
func inTheWay(at Location, err string) string {
	is := func(e syscall.Errno) bool { return strings.HasSuffix(strings.ToLower(err), e.Error()) }
	switch {
	case noDirectory(err) && at.Sub != "" && at.Container == "" && !at.OfDaemon():
		return "below a mount no link is followed: where a file or a link stands, make a directory, or mount what the link leads to"
	case noDirectory(err):
		return "a file stands there, or above it, where a directory should be: move it away, or name another place"
	case is(syscall.ELOOP):
		return "the links on the way there lead to each other: mend them, or name another place"
	case is(syscall.EROFS):
		return "its file system is read-only: mount it so that it can be written, or name another place"
	case !is(syscall.EACCES) && !is(syscall.EPERM):
		return ""
	case ofThisMachine(at):
		return "run certwright as a user that may read and write there"
	case at.Container != "":
		return "let root of the container read and write there, or have a binding of files that it mounts"
	}
	return "let root of the engine's machine read and write there: a network file system may refuse it, and so does an engine that runs without root"
}

// noDirectory reports whether something else stands where a directory should be.
func noDirectory(err string) bool { return strings.HasSuffix(err, syscall.ENOTDIR.Error()) }

// shut names the directory of a place that keeps files from whom they are for, or is "". A generation is certwright's, and
// stays as it was made; the place's own directory may be someone else's, who has a reason for its mode as long as it
// admits the files.
func shut(p PlaceState, files []wantedFile) string {
	if p.Layout == spec.Atomic && p.Generation.Perm() != DirMode {
		return "mode differs: ..data"
	}
	for _, f := range files {
		if !p.Dir.Admits(f.mode, f.owner) {
			return fmt.Sprintf("mode differs: . (%04o shuts out %d:%d)", p.Dir.Mode.Perm(), f.owner.UID, f.owner.GID)
		}
	}
	return ""
}

// foreign says what stands in the way that certwright did not make.
func (v *view) foreign(b *spec.Binding, p PlaceState, files []wantedFile) *Refusal {
	hint := "move what is there away, or run `certwright adopt " + b.Name + "` to take it over (a backup is kept)"
	if m := p.Mark; m != nil && (m.Project != v.s.Project || m.Installation != v.w.State.Installation && !v.w.Fresh) {
		return &Refusal{
			Reason: "it holds files of another certwright (project " + m.Project + ")",
			Hint:   "give each a place of its own; if the other one is gone, run `certwright adopt " + b.Name + "` to take it over",
		}
	}
	var names []string
	for _, f := range files {
		if is := p.Files[f.spec.Name]; is.Kind != KindAbsent && !is.Ours {
			names = append(names, f.spec.Name+" ("+is.Kind+")")
		}
	}
	if len(names) == 0 {
		return nil
	}
	verb := " was"
	if len(names) > 1 {
		verb = " were"
	}
	return &Refusal{Reason: strings.Join(names, ", ") + verb + " not made by certwright", Hint: hint}
}
