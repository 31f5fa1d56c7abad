package dockerd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// before is what a machine was configured with: nil where there was no file.
type before struct {
	File, DropIn []byte
	Mode         fs.FileMode
	Command      []string // of the unit
	Invocation   string   // of the dockerd that ran when a change began, the last one if several were cut off
	Wrote        string   // the digest of what the change made of them
}

// file is one of the two that a machine is configured by, nil if there is none.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// files are both, in the order of the way back: see Machine.forward. The first is where it really is, since a link is followed.
func (b before) files(config string) []file {
	return []file{{target(config), b.File, b.Mode}, {dropInFile(), b.DropIn, 0o644}}
}

// digest tells one configuration from another.
func (b before) digest() string {
	h := sha256.New()
	for _, data := range [][]byte{b.File, b.DropIn} {
		fmt.Fprintf(h, "%t %d\n%s", data != nil, len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// backupOf is where that is kept beside a configuration file. Its name says to everybody what it is.
func backupOf(file string) string {
	return filepath.Join(filepath.Dir(file), ".daemon.json.before-certwright")
}

// maxBackup bounds it: two files, in base64.
const maxBackup = 4 * maxFile

func dropInFile() string { return filepath.Join(unitFolders, unitName+".d", dropInName) }

// read is what there is now.
func read(file string) (b before, err error) {
	b.Mode = 0o644
	if info, err := os.Stat(file); err == nil {
		b.Mode = info.Mode().Perm()
	}
	if b.File, err = content(file); err == nil {
		b.DropIn, err = content(dropInFile())
	}
	return b, err
}

// content is what is in a file, nil if there is none.
func content(file string) ([]byte, error) {
	data, err := disk.ReadFile(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// kept is what was kept before a change that is not at its end; fs.ErrNotExist if there is none.
func kept(file string) (b before, err error) {
	data, err := disk.ReadFile(backupOf(file), maxBackup)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return b, fmt.Errorf("%s, the way back of a restart that was cut off, cannot be read: %w; remove it once dockerd is as it should be", backupOf(file), err)
	}
	return b, nil
}

// cutOff says what is left of a Reconfigure that was.
func (s *state) cutOff() error {
	was, err := kept(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := parse(backupOf(s.File), was.File)
	if err != nil {
		return err
	}
	is, err := read(s.File)
	if err != nil {
		return err
	}
	wrote := !bytes.Equal(was.File, is.File) || !bytes.Equal(was.DropIn, is.DropIn)
	s.Unfinished, s.Unread = true, wrote && (was.Invocation == "" || was.Invocation == s.invocation)
	s.Before = reconcile.DaemonConfig{Hosts: c.hosts.Values, TLS: c.tls, Command: was.Command}
	return nil
}
