// Package files puts units of files into directories of this machine, and reads them back. It is the one
// implementation there is: volumes and other machines are reached by running it where their directory is.
//
// In the atomic layout a place looks like this, and one rename of ..data changes the whole unit:
//
//	..certwright-1f0c9a3e/        a generation: the files and a manifest, .certwright.json
//	..data -> ..certwright-1f0c9a3e
//	cert.pem -> ..data/cert.pem
//
// In the plain layout the files and the manifest lie in the place itself. Both are staged in a generation directory
// first, so that whatever an interrupted write leaves behind says itself whose it is and what is in it.
//
// A manifest makes files ours; a name never does. Everything else in a place is somebody else's: it is not read
// through, not replaced and not removed, unless a unit says Adopt, and then it is moved into a backup directory.
// A container may own a place and change it at any moment; see package disk for why that leads nowhere else.
package files

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// Local is reconcile.Places for this machine. Disk.Around may be called by several goroutines at once.
type Local struct {
	Disk disk.Disk
	Rand io.Reader // Write makes names of generations from it; it may not be nil
	// Resolve gives the directory of this machine that is a location's Dir or Volume; Local adds Sub. An error says
	// why there is none. Nil takes directories of the machine certwright runs on as they are, and nothing else.
	Resolve func(reconcile.Location) (string, error)

	// Now is the clock that the file systems' is compared with; nil gives no Evidence.
	Now func() time.Time

	patience time.Duration // with who holds the lock of a place; 0 for the usual
}

var _ reconcile.Places = Local{}

func (l Local) path(at reconcile.Location) (string, error) {
	if l.Resolve != nil {
		return l.Resolve(at)
	}
	if at.Volume != "" || at.Machine || (at.Host != "" && at.Host != spec.LocalHost) {
		return "", fmt.Errorf("%s is not a directory of this machine: %w", at, reconcile.ErrNotHere)
	}
	if !filepath.IsAbs(at.Dir) {
		return "", fmt.Errorf("%q is not an absolute path", at.Dir)
	}
	return at.Dir, nil
}

// open opens a place. Links are followed in the path of its directory, which is the administrator's, and in no
// folder below it, which may be a container's.
func (l Local) open(at reconcile.Location) (*disk.Dir, error) {
	path, err := l.path(at)
	if err != nil {
		return nil, err
	}
	dir, err := l.Disk.Open(path)
	return descend(dir, err, at.Sub, (*disk.Dir).Sub)
}

// make opens a place and makes what is missing of it; a new place is synced with its whole file system.
func (l Local) make(at reconcile.Location) (*disk.Dir, error) {
	path, err := l.path(at)
	if err != nil {
		return nil, err
	}
	dir, err := l.Disk.MakeUnsynced(path, reconcile.DirMode)
	return descend(dir, err, at.Sub, func(dir *disk.Dir, name string) (*disk.Dir, error) {
		return dir.MakeSub(name, reconcile.DirMode)
	})
}

func descend(dir *disk.Dir, err error, sub string, step func(*disk.Dir, string) (*disk.Dir, error)) (*disk.Dir, error) {
	for name := range strings.SplitSeq(sub, "/") {
		if err != nil || name == "" {
			continue
		}
		var next *disk.Dir
		next, err = step(dir, name)
		dir.Close()
		dir = next
	}
	return dir, err
}

// each calls do for 0 … n-1, on as many goroutines as there are processors.
func each(n int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers == 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// Read implements reconcile.Places. Nothing here needs a courier.
func (l Local) Read(ctx context.Context, queries []reconcile.PlaceQuery, _ bool) []reconcile.PlaceContent {
	contents := make([]reconcile.PlaceContent, len(queries))
	each(len(queries), func(i int) {
		if contents[i].Err = ctx.Err(); contents[i].Err == nil {
			contents[i] = l.read(queries[i])
		}
	})
	return contents
}
