package memory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certwright/certwright/reconcile"
)

// Check returns an error that tells of every promise broken so far, or nil:
//
//   - two writers of the store or of one place at once;
//   - a generation of a CA that was committed and then vanished or changed its key;
//   - a private key in a file that everyone may read;
//   - a file of ours in a place that the committed inventory does not have;
//   - something foreign that was adopted without a wish, or changed or taken away and is in no backup;
//   - a container that was touched and that no binding names.
func (w *World) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken := slices.Concat(w.broken, w.changedStrangers())
	if len(broken) == 0 {
		return nil
	}
	return errors.New(strings.Join(broken, "\n"))
}

func (w *World) breaks(what string) { w.broken = append(w.broken, what) }

// stranger is something foreign in a place, as it was put there.
type stranger struct {
	at   reconcile.Location
	name string
	node *node
	data []byte
}

func (w *World) changedStrangers() []string {
	var changed []string
	for _, s := range w.strangers {
		var all []*node
		if p := w.places[s.at]; p != nil {
			all = append(p.backup[s.name], p.names[s.name])
		}
		if !slices.ContainsFunc(all, s.is) {
			changed = append(changed, fmt.Sprintf("%s in %s was not ours and was changed", s.name, s.at))
		}
	}
	return changed
}

// is reports whether n is still what was put there.
func (s stranger) is(n *node) bool {
	return n != nil && n.kind == s.node.kind && (n.file == nil || bytes.Equal(n.file.data, s.data))
}

// estrange keeps a foreign node in mind.
func (w *World) estrange(at reconcile.Location, name string, n *node) {
	s := stranger{at: at, name: name, node: n}
	if n.file != nil {
		s.data = bytes.Clone(n.file.data)
	}
	w.strangers = append(w.strangers, s)
}

// forgive forgets a foreign node that its own owner changes.
func (w *World) forgive(n *node) {
	w.strangers = slices.DeleteFunc(w.strangers, func(s stranger) bool { return s.node == n })
}

// checkUnit holds what must be true of a unit before its first file is seen.
func (w *World) checkUnit(at reconcile.Location, u reconcile.Unit) {
	for _, f := range u.Files {
		if bytes.Contains(f.Data, []byte("PRIVATE KEY-----")) && f.Mode&0o007 != 0 {
			w.breaks(fmt.Sprintf("the key in %s of %s has mode %04o", f.Name, u.At, f.Mode))
		}
	}
	if w.state == nil || w.state.Installation != u.Mark.Installation {
		w.breaks(fmt.Sprintf("%s was written for an installation that is not the store's", u.At))
		return
	}
	if u.Adopt && !w.state.Wishes["binding/"+u.Mark.Binding].Adopt {
		w.breaks(fmt.Sprintf("%s was adopted, and nobody asked for it", u.At))
	}
	for row := range w.state.Places {
		if physical(row) == at {
			return
		}
	}
	w.breaks(fmt.Sprintf("%s was written before the inventory has it", u.At))
}
