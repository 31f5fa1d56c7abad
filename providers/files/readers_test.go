package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certwright/certwright/reconcile"
)

// TestReadersNeverSeeAMixture swaps a unit a thousand times under readers that open both files through one handle
// of ..data, and readers that open one file which holds both.
func TestReadersNeverSeeAMixture(t *testing.T) {
	const swaps = 1000
	dir := inMemory(t)
	versioned := func(n int) reconcile.Unit {
		body := strings.Repeat(fmt.Sprintf("%06d\n", n), 300)
		u := unit(dir, body)
		u.Files = append(u.Files, reconcile.UnitFile{Name: "combined.pem", Data: []byte(body), Mode: 0o600, UID: -1, GID: -1})
		return u
	}
	write(t, local(unsynced), versioned(0))
	var done atomic.Bool
	var readers sync.WaitGroup
	reads := make([]int, 2)
	ticks := []chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)} // at least one read since the last
	for i, look := range []func(string) error{readCombined, readThroughHandle} {
		readers.Go(func() {
			for !done.Load() {
				if err := look(dir); err != nil {
					t.Error(err)
					done.Store(true)
				}
				reads[i]++
				select {
				case ticks[i] <- struct{}{}:
				default:
				}
			}
			close(ticks[i])
		})
	}
	for n := range swaps {
		write(t, local(unsynced), versioned(n+1))
		// Two old generations stay, so a reader may take two swaps for one pair, but not any number.
		<-ticks[0]
		<-ticks[1]
	}
	done.Store(true)
	readers.Wait()
	t.Logf("%d swaps; %d reads of the combined file and %d of the pair, none mixed, torn or missing", swaps, reads[0], reads[1])
}

func readCombined(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "combined.pem"))
	if err != nil {
		return err
	}
	return oneVersion(string(data))
}

func readThroughHandle(dir string) error {
	root, err := os.OpenRoot(filepath.Join(dir, dataName))
	if err != nil {
		return err
	}
	defer root.Close()
	cert, err := root.ReadFile("cert.pem")
	if err != nil {
		return err
	}
	key, err := root.ReadFile("key.pem")
	if err != nil {
		return err
	}
	return oneVersion(strings.TrimPrefix(string(cert), "cert.pem ") + strings.TrimPrefix(string(key), "key.pem "))
}

func oneVersion(body string) error {
	lines := strings.Fields(body)
	if len(lines) != 300 && len(lines) != 600 {
		return fmt.Errorf("torn: %d lines", len(lines))
	}
	for _, line := range lines {
		if line != lines[0] {
			return fmt.Errorf("mixed: %s and %s", lines[0], line)
		}
	}
	return nil
}

// TestKeysAreNeverMoreReadableThanDeclared watches every file of a place while it is written, with a umask that
// would let anything happen.
func TestKeysAreNeverMoreReadableThanDeclared(t *testing.T) {
	for how, change := range map[string]edit{"atomic": func(*reconcile.Unit) {}, "plain": plain, "in place": inPlace} {
		t.Run(how, func(t *testing.T) {
			defer unix.Umask(unix.Umask(0))
			dir := inMemory(t)
			var done atomic.Bool
			var seen atomic.Int64
			var watcher sync.WaitGroup
			watcher.Go(func() {
				for !done.Load() {
					for _, pattern := range []string{"key.pem", prefix + "*/key.pem"} {
						paths, _ := filepath.Glob(filepath.Join(dir, pattern))
						for _, path := range paths {
							info, err := os.Lstat(path)
							if err != nil || !info.Mode().IsRegular() {
								continue
							}
							seen.Add(1)
							st := info.Sys().(*syscall.Stat_t)
							if info.Mode().Perm()&^0o640 != 0 || info.Mode().Perm()&0o040 != 0 && st.Gid != 998 && os.Getuid() == 0 {
								t.Errorf("%s has mode %v and group %d", path, info.Mode(), st.Gid)
								done.Store(true)
							}
						}
					}
				}
			})
			for n := 0; n < 300 || seen.Load() < 100; n++ {
				u := unit(dir, fmt.Sprint(n), change)
				if u.Files[2].Mode = 0o600; n%2 == 1 && os.Getuid() == 0 {
					u.Files[2].Mode, u.Files[2].UID, u.Files[2].GID = 0o640, 999, 998
				}
				write(t, local(unsynced), u)
			}
			done.Store(true)
			watcher.Wait()
		})
	}
}
