package docker

import (
	"bytes"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// ours finds what an engine mounts into each of its containers from the directory of a container (proc_pid_mountinfo(5)): its
// own, or that of the one whose network it shares.
var ours = regexp.MustCompile(`/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf) /etc/`)

// networkID is the id of the container in whose network certwright is, or "".
func networkID(mountinfo []byte) string {
	for line := range bytes.Lines(mountinfo) {
		if found := ours.FindSubmatch(line); found != nil {
			return string(found[1])
		}
	}
	return ""
}

// ownContainer is the one that certwright is in: of those in the same network the only one all of whose mounts are there. Nil
// where there is none, or in doubt.
func ownContainer(mountinfo []byte, all []reconcile.Container, network func(id string) string) *reconcile.Container {
	id := networkID(mountinfo)
	if id == "" {
		return nil
	}
	points := map[string]bool{}
	for line := range bytes.Lines(mountinfo) {
		if fields := bytes.Fields(line); len(fields) > 4 {
			points[string(fields[4])] = true
		}
	}
	var own *reconcile.Container
	for i, c := range all {
		if c.ID != id && network(c.ID) != "container:"+id || slices.ContainsFunc(c.Mounts, func(m reconcile.Mount) bool { return !points[path.Clean(m.Destination)] }) {
			continue
		}
		if own != nil {
			return nil
		}
		own = &all[i]
	}
	return own
}

// showOurs adds to the mounts of containers what they are in our own file system, where certwright is in one of them: files
// that it puts there are seen by whoever mounts the same volume, or the same directory of the machine, wherever that is here.
func showOurs(all []reconcile.Container, network func(id string) string) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	own := ownContainer(info, all, network)
	if own == nil {
		return
	}
	for i := range all {
		if all[i].ID == own.ID {
			continue
		}
		for _, m := range all[i].Mounts {
			for _, o := range own.Mounts {
				if alias, same := inOurs(o, m); same {
					all[i].Mounts = append(all[i].Mounts, alias)
				}
			}
		}
	}
}

// inOurs is another container's mount as a directory of ours, through a mount of our own.
func inOurs(own, m reconcile.Mount) (reconcile.Mount, bool) {
	alias := reconcile.Mount{Type: "bind", Source: own.Destination, Destination: m.Destination, ReadWrite: m.ReadWrite}
	switch {
	case own.Type != m.Type:
		return alias, false
	case own.Type == "volume":
		return alias, own.Name == m.Name
	case own.Type != "bind":
		return alias, false
	}
	if below, is := rest(m.Source, own.Source); is {
		alias.Source = path.Join(own.Destination, below)
		return alias, true
	}
	below, is := rest(own.Source, m.Source)
	alias.Destination = path.Join(m.Destination, below)
	return alias, is
}

// rest is what comes after a directory in a path below it, or of it.
func rest(of, dir string) (string, bool) {
	of, dir = path.Clean(of), strings.TrimSuffix(path.Clean(dir), "/")
	below, is := strings.CutPrefix(of, dir)
	return below, is && (below == "" || below[0] == '/')
}
