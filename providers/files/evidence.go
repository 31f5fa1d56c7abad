package files

import (
	"encoding/binary"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// settled is the age of a change from which on a later one has another time: file systems count in steps, of two seconds at
// most.
const settled = 3 * time.Second

// evidence is that of a place in the atomic layout, or "". What a link leads to never changes, and a name comes, goes or is
// replaced only with a change of its directory: so the two directories and the files of the generation stand for all.
func (l Local) evidence(p *place, names []string) reconcile.Evidence {
	if l.Now == nil || p.atomic == nil || p.plain != nil {
		return ""
	}
	for _, name := range names {
		if e, err := p.at(name); err != nil || !e.through {
			return ""
		}
	}
	return l.shows(p.dir, p.generation, names)
}

// shows is what can be seen of a place without reading anything in it; "" where something is missing, or has just changed.
func (l Local) shows(dir *disk.Dir, generation string, names []string) reconcile.Evidence {
	own, err := dir.Self()
	if err != nil {
		return ""
	}
	current, err := dir.Sub(generation)
	if err != nil {
		return ""
	}
	defer current.Close()
	now := l.Now()
	all := append(make([]byte, 0, len(generation)+64*(3+len(names))), generation...)
	add := func(info disk.FileInfo, err error) bool {
		for _, n := range []int64{int64(info.Dev), int64(info.Ino), info.Size, info.Changed.UnixNano()} {
			all = binary.BigEndian.AppendUint64(all, uint64(n))
		}
		return err == nil && now.Sub(info.Changed) >= settled
	}
	if !add(own, nil) || !add(current.Self()) || !add(current.Stat(manifestName)) {
		return ""
	}
	for _, name := range names {
		if !add(current.Stat(name)) {
			return ""
		}
	}
	return reconcile.Evidence(all)
}

// unchanged reports whether a place still shows what it did.
func (l Local) unchanged(dir *disk.Dir, names []string, seen reconcile.Evidence) bool {
	const name = len(prefix) + 8
	return l.Now != nil && len(seen) > name && l.shows(dir, string(seen[:name]), names) == seen
}
