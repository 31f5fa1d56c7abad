package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// The names certwright uses in a place beside those of the files.
const (
	dataName     = "..data"
	manifestName = ".certwright.json"
	claimName    = ".certwright.json.claim" // only in the generation directory of a plain unit
	prefix       = "..certwright-"
	linkSuffix   = ".link" // of a link that is about to be renamed
)

var generationName = regexp.MustCompile(`^\.\.certwright-[0-9a-f]{8}$`)

const (
	maxFile     = 1 << 20  // of a file that is read
	maxManifest = 64 << 10 // the longest names for 200 files
	maxVersion  = 1 << 30  // of a mark: more than anybody writes, and far from where numbers turn over
)

// manifest says whose the files beside it are. It holds nothing about their content.
type manifest struct {
	reconcile.Mark
	Files    []string `json:"files"`
	Previous []string `json:"previous,omitempty"` // generations before this one that stay, newest first
	// Unfinished: the files named are being put there, or taken away.
	Unfinished bool `json:"unfinished,omitempty"`
}

func (m manifest) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings only
	}
	return append(data, '\n')
}

var errNoManifest = errors.New("no manifest of certwright")

// readManifest returns errNoManifest when what is there is not one.
func readManifest(dir *disk.Dir) (*manifest, error) {
	data, _, err := dir.Read(manifestName, maxManifest)
	if errors.Is(err, disk.ErrNotRegular) || errors.Is(err, disk.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", errNoManifest, err)
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil || m.Installation == "" {
		return nil, errNoManifest
	}
	if m.Version < 0 || m.Version > maxVersion { // a container that owns the place can write it
		m.Version = 0
	}
	return &m, nil
}

// The things ..data can be.
type dataState int

const (
	dataAbsent  dataState = iota
	dataVacant            // a link to a generation that is gone: it holds nothing anyone could miss
	dataPlaced            // a link to a generation
	dataForeign           // anything else
)

// place is what was found in a place before anything is done to it.
type place struct {
	dir        *disk.Dir
	listed     bool     // names is known
	names      []string // all that was there, sorted
	data       dataState
	generation string    // what ..data leads to, when placed or vacant
	current    *disk.Dir // that directory, when placed
	atomic     *manifest // its manifest
	plain      *manifest // the one in the place itself; nil if there is none
	// strangePlain: what stands at the manifest's name in the place itself is not ours.
	strangePlain bool
	other        *reconcile.Mark // of another installation that has placed something here
	folders      map[string]*disk.Dir
}

func (p *place) close() {
	if p.current != nil {
		p.current.Close()
	}
	for _, dir := range p.folders {
		dir.Close()
	}
}

// look finds out what is in a place. close it, but not dir.
func look(dir *disk.Dir) (*place, error) {
	p := &place{dir: dir}
	return p, p.find()
}

// survey is look for who is about to change the place: it lists the place first, and asks for no name that is not there.
func survey(dir *disk.Dir) (*place, error) {
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, listed: true, names: names}
	return p, p.find()
}

// missing reports whether the list of the place shows that nothing stood at a name.
func (p *place) missing(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	_, there := slices.BinarySearch(p.names, top)
	return p.listed && !there && p.folders[top] == nil
}

func (p *place) find() error {
	if !p.missing(manifestName) {
		m, err := readManifest(p.dir)
		switch {
		case errors.Is(err, errNoManifest):
			p.strangePlain = true
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		p.plain = m
	}
	if p.missing(dataName) {
		return nil
	}
	target, err := p.dir.Readlink(dataName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EINVAL) || err == nil && !generationName.MatchString(target):
		p.data = dataForeign
		return nil
	case err != nil:
		return err
	}
	p.generation = target
	return p.enter()
}

// enter opens the generation ..data leads to.
func (p *place) enter() error {
	current, err := p.dir.Sub(p.generation)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.data = dataVacant
		return nil
	case errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR):
		p.data = dataForeign
		return nil
	case err != nil:
		return err
	}
	m, err := readManifest(current)
	if err != nil {
		current.Close()
		if errors.Is(err, errNoManifest) || errors.Is(err, fs.ErrNotExist) {
			p.data = dataForeign
			return nil
		}
		return err
	}
	p.data, p.current, p.atomic = dataPlaced, current, m
	return nil
}

// mark is the one of what is placed, or nil.
func (p *place) mark() *reconcile.Mark {
	switch {
	case p.atomic != nil:
		return &p.atomic.Mark
	case p.plain != nil:
		return &p.plain.Mark
	}
	return nil
}

// of makes foreign what another installation placed.
func (p *place) of(installation string) {
	if p.plain != nil && p.plain.Installation != installation {
		p.other = &p.plain.Mark
		p.plain, p.strangePlain = nil, true
	}
	if p.atomic != nil && p.atomic.Installation != installation {
		p.other = &p.atomic.Mark
		p.current.Close()
		p.atomic, p.current, p.data = nil, nil, dataForeign
	}
}

// entry is what stands at a name.
type entry struct {
	kind    string // reconcile.KindAbsent, …
	ours    bool
	through bool // a link of ours through ..data
	target  string
}

// at says what stands at the name of a file and whether it is ours.
func (p *place) at(name string) (entry, error) {
	if p.missing(name) {
		return entry{}, nil
	}
	dir, base, err := p.folder(name)
	if strange(err) {
		return entry{kind: reconcile.KindOther}, nil
	}
	if err != nil {
		return entry{}, absent(err)
	}
	target, err := dir.Readlink(base)
	switch {
	case err == nil:
		e := entry{kind: reconcile.KindLink, target: target}
		e.through = target == dataName+"/"+name && p.data != dataForeign
		e.ours = e.through
		return e, nil
	case errors.Is(err, fs.ErrNotExist):
		return entry{}, nil
	case !errors.Is(err, unix.EINVAL): // not a link
		return entry{}, err
	}
	info, err := dir.Stat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	ours := info.Kind == reconcile.KindFile && p.plain != nil && slices.Contains(p.plain.Files, name)
	return entry{kind: info.Kind, ours: ours}, err
}

// describe says in words what stands in the way.
func (p *place) describe(name string, e entry) string {
	if p.other != nil && (name == dataName || name == manifestName) {
		return fmt.Sprintf("%s is of another installation (project %q, binding %q)", name, p.other.Project, p.other.Binding)
	}
	switch e.kind {
	case reconcile.KindLink:
		return fmt.Sprintf("%s is a link to %s", name, e.target)
	case reconcile.KindDirectory:
		if sub, err := p.dir.Sub(name); err == nil {
			defer sub.Close()
			if names, err := sub.Names(); err == nil && len(names) == 0 {
				return name + " is an empty directory, as Docker makes where a file to mount is missing"
			}
		}
		return name + " is a directory"
	case reconcile.KindFile:
		return name + " is a file"
	}
	return name + " is neither file, link nor directory"
}

// checkName refuses what cannot be the name of a file in a place, or in a folder of it.
func checkName(name string) error {
	folder, base, nested := strings.Cut(name, "/")
	if !fits(folder) || nested && !fits(base) {
		return fmt.Errorf("%q cannot be the name of a placed file", name)
	}
	return nil
}

func fits(part string) bool {
	return part != "" && len(part) <= 255 && !strings.ContainsAny(part, "/\x00") && utf8.ValidString(part) && !strings.HasPrefix(part, "..") &&
		part != "." && !strings.HasPrefix(part, manifestName)
}
