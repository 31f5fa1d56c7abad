package files

import (
	"cmp"
	"path"
	"slices"
	"sync"

	"github.com/certwright/certwright/spec"
)

// syncAll makes what was done so far durable, before anything is built on it.
func syncAll(jobs []*job, one func(*job) error) {
	var devices []uint64
	on := map[uint64][]*job{}
	for _, j := range jobs {
		if j.err != nil {
			continue
		}
		dev := j.self.Dev
		if on[dev] == nil {
			devices = append(devices, dev)
		}
		on[dev] = append(on[dev], j)
	}
	for _, dev := range devices {
		group := on[dev]
		// A new place may lie in directories that an interrupted run made and did not sync.
		if len(group) <= fewUnits && !slices.ContainsFunc(group, func(j *job) bool { return j.fresh }) {
			forAll(group, one)
			continue
		}
		err := group[0].dir.SyncFS()
		for _, j := range group {
			j.err = err
		}
	}
}

// syncStaged waits for all that is staged at once: a file system writes down together what is waited for together.
func (j *job) syncStaged() error {
	gen, err := j.dir.Sub(j.generation)
	if err != nil {
		return err
	}
	defer gen.Close()
	waits := []func() error{gen.Sync, j.dir.Sync}
	names := []string{manifestName}
	for _, name := range j.wanted() {
		names = append(names, path.Base(name))
	}
	if j.Layout == spec.Plain {
		names = append(names, claimName)
	}
	for _, name := range names {
		waits = append(waits, func() error { return gen.SyncFile(name) })
	}
	errs := make([]error, len(waits))
	var all sync.WaitGroup
	for i, wait := range waits {
		all.Go(func() { errs[i] = wait() })
	}
	all.Wait()
	return cmp.Or(errs...)
}

func (j *job) syncCommitted() error {
	for _, name := range j.overwritten {
		if err := j.dir.SyncFile(name); err != nil {
			return err
		}
	}
	if err := syncFolders(j.dir, union(j.wanted(), j.gone)); err != nil {
		return err
	}
	return j.dir.Sync()
}
