package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

const (
	backupPrefix = "..certwright-backup-" // and the time
	backupTime   = "20060102T150405Z"     // in UTC
)

// foreign lists what stands at the names a unit needs and is not ours.
func (j *job) foreign(p *place) (names, words []string, err error) {
	add := func(name string) error {
		e, err := p.at(name)
		if err == nil && e.kind != reconcile.KindAbsent && !e.ours && !slices.Contains(j.copied, name) {
			names, words = append(names, name), append(words, p.describe(name, e))
		}
		return err
	}
	for _, name := range j.wanted() {
		if err := add(name); err != nil {
			return nil, nil, err
		}
	}
	if p.data == dataForeign {
		if err := add(dataName); err != nil {
			return nil, nil, err
		}
	}
	if p.strangePlain {
		if err := add(manifestName); err != nil {
			return nil, nil, err
		}
	}
	return names, words, nil
}

func (j *job) refuse(p *place) error {
	_, words, err := j.foreign(p)
	if err != nil || len(words) == 0 {
		return err
	}
	return fmt.Errorf("in %s %s: %w", j.At, strings.Join(words, ", "), reconcile.ErrForeign)
}

// setAside moves what is foreign at the unit's names into a backup directory that only its owner can look into.
func (j *job) setAside() error {
	p, err := j.look()
	if err != nil {
		return err
	}
	defer p.close()
	names, _, err := j.foreign(p)
	if err != nil || len(names) == 0 {
		return err
	}
	backup, err := j.makeBackup()
	if err != nil {
		return err
	}
	defer backup.Close()
	for _, name := range names {
		if err := j.backUp(p, name, backup); err != nil {
			return fmt.Errorf("back up %s: %w", name, err)
		}
	}
	return backup.Sync()
}

// makeBackup opens the backup directory, which is durable before anything is in it.
func (j *job) makeBackup() (backup *disk.Dir, err error) {
	at := j.Now.UTC().Format(backupTime)
	if j.Backups == "" {
		if backup, err = j.dir.MakeSub(backupPrefix+at, 0o700); err == nil {
			err = j.dir.Sync()
		}
	} else {
		var path string
		if path, err = j.local.path(reconcile.Location{Host: j.At.Host, Dir: filepath.Join(j.Backups, at)}); err != nil {
			return nil, err
		}
		if backup, err = j.local.Disk.MakeUnsynced(path, 0o700); err == nil {
			err = backup.SyncFS() // the directories above it as well, also those that an earlier try has left
		}
	}
	if err != nil && backup != nil {
		backup.Close()
	}
	return backup, err
}

// backUp moves one thing, or copies a file whose inode must stay. An earlier try in the same second may have left
// something of that name in the backup; both are kept.
func (j *job) backUp(p *place, name string, backup *disk.Dir) error {
	dir, base, err := p.folder(name)
	if err != nil {
		return err
	}
	info, err := dir.Stat(base)
	if err != nil {
		return err
	}
	put := func(to string) error { return dir.Move(base, backup, to) }
	if j.InPlace && info.Kind == reconcile.KindFile && name != manifestName {
		data, info, err := j.dir.Read(name, maxFile)
		if err != nil {
			return err
		}
		put = func(to string) error {
			if err := backup.Create(to, data, info.Mode, info.UID, info.GID); err != nil {
				return err
			}
			j.copied = append(j.copied, name)
			return backup.SyncFile(to)
		}
	}
	err = put(base)
	for n := 1; errors.Is(err, fs.ErrExist) && n < 100; n++ {
		err = put(fmt.Sprintf("%s.%d", base, n))
	}
	return err
}
