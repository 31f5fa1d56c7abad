package files

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const (
	// maxBatch bounds the units that are written together, however many handles the process may have.
	maxBatch = 4096
	// fewUnits of one file system are synced file by file: that costs what they hold, while a sync of the file
	// system waits for whatever else is being written to it.
	fewUnits = 2
	// oldGenerations stay for readers that are on their way through them.
	oldGenerations = 2
)

// batch is how many units are written together: each holds a handle of its place, and half of those the process may
// have are left to everything else.
func batch() int {
	var handles unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &handles); err != nil {
		return 100
	}
	return int(min(max(handles.Cur/2, 1), maxBatch))
}

// Write implements reconcile.Places. All units are staged, then synced, then put in place, then synced, so that
// they share two syncs of each file system.
func (l Local) Write(ctx context.Context, units []reconcile.Unit) []error {
	names := &naming{rand: l.Rand}
	errs := make([]error, 0, len(units))
	for part := range slices.Chunk(units, batch()) {
		jobs := make([]*job, len(part))
		for i := range part {
			jobs[i] = &job{local: l, Unit: part[i], names: names, err: ctx.Err()}
		}
		writeAll(ctx, jobs)
		for _, j := range jobs {
			errs = append(errs, j.err)
		}
	}
	return errs
}

func writeAll(ctx context.Context, jobs []*job) {
	defer func() {
		for _, j := range jobs {
			if j.dir != nil {
				j.dir.Close()
			}
		}
	}()
	forAll(jobs, (*job).open)
	refuseDoubles(jobs)
	lockAll(ctx, jobs)
	forAll(jobs, (*job).examine)
	forAll(jobs, (*job).stage)
	syncAll(jobs, (*job).syncStaged)
	forAll(jobs, (*job).commit)
	syncAll(jobs, (*job).syncCommitted)
	each(len(jobs), func(i int) { jobs[i].sweep() })
}

func forAll(jobs []*job, step func(*job) error) {
	each(len(jobs), func(i int) {
		if jobs[i].err == nil {
			jobs[i].err = step(jobs[i])
		}
	})
}

// job is one unit on its way.
type job struct {
	reconcile.Unit
	local Local
	names *naming
	err   error // the first thing that went wrong; nothing more is changed then, but for clearing up

	dir         *disk.Dir
	self        disk.FileInfo
	fresh       bool     // nothing of ours was there
	previous    []string // generations that are there already and stay
	gone        []string // names that are ours there and no longer of the unit
	generation  string   // the directory the files are staged in
	untidy      error    // why what the unit makes superfluous was not cleared before it
	overwritten []string // in place
	copied      []string // names whose foreign files are in the backup and may be written in place
}

// open makes and opens the place.
func (j *job) open() error {
	if err := j.check(); err != nil {
		return err
	}
	dir, err := j.local.make(j.At)
	if err != nil {
		return err
	}
	j.dir = dir
	j.self, err = dir.Self()
	return err
}

// examine refuses the unit if it cannot be written in the place.
func (j *job) examine() error {
	if j.dir.Made() { // what appears in it from now on is seen before anything is put in place
		j.fresh = true
		return nil
	}
	p, err := j.look()
	if err != nil {
		return err
	}
	defer p.close()
	j.fresh = p.mark() == nil
	if err := j.late(p); err != nil {
		return err
	}
	if j.gone, err = j.unwanted(p); err != nil {
		return err
	}
	if p.atomic != nil && j.Layout == spec.Atomic {
		j.previous = append([]string{p.generation}, p.atomic.Previous...)
		j.previous = j.previous[:min(len(j.previous), oldGenerations)]
	}
	if j.Adopt {
		return nil
	}
	return j.refuse(p)
}

// late refuses the unit where a later one is. Of what was interrupted on the way from one layout to the other both count.
func (j *job) late(p *place) error {
	for _, m := range []*manifest{p.atomic, p.plain} {
		if m != nil && m.Version > j.Mark.Version {
			return fmt.Errorf("in %s is version %d, and this is %d: %w", j.At, m.Version, j.Mark.Version, reconcile.ErrChanged)
		}
	}
	return nil
}

func (j *job) check() error {
	if j.Layout != spec.Atomic && j.Layout != spec.Plain {
		return fmt.Errorf("there is no layout %q", j.Layout)
	}
	if j.InPlace && j.Layout != spec.Plain {
		return errors.New("a file that is mounted by itself can only be written in place: set `layout: plain`")
	}
	seen := map[string]bool{}
	for _, f := range j.Files {
		if err := checkName(f.Name); err != nil {
			return err
		}
		if strings.Contains(f.Name, "/") && (j.Layout != spec.Plain || j.InPlace) {
			return fmt.Errorf("%s: only the plain layout has folders", f.Name)
		}
		if seen[path.Base(f.Name)] {
			return fmt.Errorf("%s is there twice", f.Name)
		}
		seen[path.Base(f.Name)] = true
	}
	if len(j.Files) == 0 || j.Mark.Installation == "" {
		return errors.New("a unit has files and the mark of an installation")
	}
	return nil
}

// look finds out what is in the place now, with everything of another installation as foreign.
func (j *job) look() (*place, error) {
	p, err := survey(j.dir)
	if err == nil {
		p.of(j.Mark.Installation)
	}
	return p, err
}

// stage writes the files into a new generation directory, its manifest first, so that it always says whose it is.
func (j *job) stage() error {
	gen, err := j.begin()
	if err != nil {
		return err
	}
	defer gen.Close()
	m := manifest{Mark: j.Mark, Files: j.wanted(), Previous: j.previous}
	if err := gen.Create(manifestName, m.encode(), 0o644, -1, -1); err != nil {
		return err
	}
	if j.Layout == spec.Plain {
		claim := manifest{Mark: j.Mark, Files: union(j.wanted(), j.gone), Unfinished: true}
		if err := gen.Create(claimName, claim.encode(), 0o644, -1, -1); err != nil {
			return err
		}
	}
	for _, f := range j.Files {
		if err := gen.Create(path.Base(f.Name), f.Data, f.Mode, f.UID, f.GID); err != nil {
			return ownerHint(err, f)
		}
	}
	return nil
}

// begin makes the generation directory, under a name that nothing has.
func (j *job) begin() (*disk.Dir, error) {
	for tries := 0; ; tries++ {
		name, err := j.names.next()
		if err != nil {
			return nil, err
		}
		j.generation = name
		gen, err := j.dir.Mkdir(name, reconcile.DirMode)
		if !errors.Is(err, fs.ErrExist) || tries == 8 {
			return gen, err
		}
	}
}

// wanted are the names of the unit's files.
func (j *job) wanted() []string {
	names := make([]string, len(j.Files))
	for i, f := range j.Files {
		names[i] = f.Name
	}
	return names
}

// unwanted are the names that are ours in the place and no longer of the unit.
func (j *job) unwanted(p *place) ([]string, error) {
	names := slices.Clone(j.Old)
	for _, m := range []*manifest{p.atomic, p.plain} {
		if m != nil {
			names = union(names, m.Files)
		}
	}
	var gone []string
	for _, name := range names {
		if slices.Contains(j.wanted(), name) || checkName(name) != nil {
			continue
		}
		e, err := p.at(name)
		if err != nil {
			return nil, err
		}
		if e.ours { // else a claim would make it ours
			gone = append(gone, name)
		}
	}
	return gone, nil
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func ownerHint(err error, f reconcile.UnitFile) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give %s to %d:%d (run as root or leave owner out): %w", f.Name, f.UID, f.GID, err)
	}
	return err
}

// sweep clears up, also after a failure.
func (j *job) sweep() {
	if j.generation == "" || j.err == nil && j.untidy == nil && j.Layout == spec.Atomic {
		return // nothing was begun, or nothing is left
	}
	if err := sweep(j.dir, j.Mark.Installation, union(j.wanted(), j.Old)); j.err == nil {
		j.err = errors.Join(j.untidy, err)
	}
}

// patience is how long writers of the same places wait for each other, together.
const patience = 10 * time.Second

// lockAll keeps two writers from being in one place at once: each would clear away what the other has staged. A store in
// a Swarm lets two of them run. They take the locks in one order, so that none waits for another in a circle. Whoever may
// read a place can hold its lock, a container too; so it is waited for, and then done without.
func lockAll(ctx context.Context, jobs []*job) {
	ctx, cancel := jobs[0].local.waiting(ctx)
	defer cancel()
	var wanted []*job
	for _, j := range jobs {
		if j.err == nil {
			wanted = append(wanted, j)
		}
	}
	slices.SortFunc(wanted, func(a, b *job) int {
		return cmp.Or(cmp.Compare(a.self.Dev, b.self.Dev), cmp.Compare(a.self.Ino, b.self.Ino))
	})
	for _, j := range wanted {
		j.err = j.dir.Lock(ctx)
		if errors.Is(j.err, context.DeadlineExceeded) {
			j.err = nil
		}
	}
}

// waiting bounds the wait for locks.
func (l Local) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(l.patience, patience))
}

// refuseDoubles fails the units that would be written where another one is: their files would be mixed.
func refuseDoubles(jobs []*job) {
	type inode struct{ dev, ino uint64 }
	first := map[inode]*job{}
	for _, j := range jobs {
		if j.err != nil {
			continue
		}
		at := inode{j.self.Dev, j.self.Ino}
		if other, ok := first[at]; ok {
			j.err = fmt.Errorf("%s and %s are the same directory", other.At, j.At)
			continue
		}
		first[at] = j
	}
}

// naming makes names for generations.
type naming struct {
	mu   sync.Mutex // guards rand
	rand io.Reader
}

func (n *naming) next() (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b [4]byte
	if _, err := io.ReadFull(n.rand, b[:]); err != nil {
		return "", fmt.Errorf("randomness for a name: %w", err)
	}
	return prefix + hex.EncodeToString(b[:]), nil
}

// absent is err, but nil when what was to be removed is not there.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
