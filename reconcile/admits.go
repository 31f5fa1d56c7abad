package reconcile

import "io/fs"

// DirMode is the mode of the directories certwright makes in places and for them.
const DirMode fs.FileMode = 0o755

// DirState is a directory as whoever looks for a file in it finds it; the owner is in the container's terms.
type DirState struct {
	Mode     fs.FileMode
	UID, GID int
}

// Admits reports whether a file of this mode and owner can be reached through the directory by whom it is for: its
// owner, and its group where the file is for that and not for everybody. Root can always; an owner of -1 is not known.
func (d DirState) Admits(mode fs.FileMode, of Owner) bool {
	search := d.Mode & 0o001
	if of.GID == d.GID {
		search = d.Mode & 0o010
	}
	if mode&0o044 == 0o040 && of.GID > 0 && search == 0 {
		return false
	}
	if of.UID == d.UID {
		search = d.Mode & 0o100
	}
	return of.UID <= 0 || search != 0
}
