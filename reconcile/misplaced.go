package reconcile

import "strings"

// misplacement is what may be wrong with a placed file, in words for one file and for several.
type misplacement struct{ one, several string }

// Of the files of a unit that differ in several ways the first one's way is named, with all that differ so.
var (
	isMissing   = misplacement{"FILES is missing", "FILES are missing"}
	isDifferent = misplacement{"placed file differs: FILES", "placed files differ: FILES"}
	hasMode     = misplacement{"mode differs: FILES", "modes differ: FILES"}
	hasOwner    = misplacement{"owner differs: FILES", "owners differ: FILES"}
	// to be adopted, or it had been refused
	isTheirs = misplacement{"FILES holds what is wanted, and was not made by certwright", "FILES hold what is wanted, and were not made by certwright"}
)

func (m misplacement) of(files []string) string {
	form := m.one
	if len(files) > 1 {
		form = m.several
	}
	return strings.Replace(form, "FILES", strings.Join(files, ", "), 1)
}

// misplacedFiles says how the files that are there are not those that are wanted, "" if they are.
func misplacedFiles(wanted []wantedFile, are map[string]FileState) string {
	var first misplacement
	var files []string
	for _, want := range wanted {
		wrong := want.misplaced(are[want.spec.Name])
		switch {
		case wrong == misplacement{}:
			continue
		case len(files) == 0:
			first = wrong
		case wrong != first:
			continue
		}
		files = append(files, want.spec.Name)
	}
	if len(files) == 0 {
		return ""
	}
	return first.of(files)
}

func (want wantedFile) misplaced(is FileState) misplacement {
	switch {
	case is.Kind == KindAbsent:
		return isMissing
	case is.Holds != want.print:
		return isDifferent
	case is.Mode.Perm() != want.mode.Perm():
		return hasMode
	case want.owner != anyOwner && (want.owner.UID != is.UID || want.owner.GID != is.GID):
		return hasOwner
	case !is.Ours:
		return isTheirs
	}
	return misplacement{}
}
