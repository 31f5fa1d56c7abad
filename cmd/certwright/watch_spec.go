package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// prepare takes the spec as it is now, and the passphrase of its store, if they are good and others.
func (w *watching) prepare(ctx context.Context, why string) error {
	files, err := spec.Read(w.a.files)
	if w.session != nil && err == nil && slices.EqualFunc(files, w.read, spec.Input.Equal) && w.unlocked(why) {
		return nil
	}
	w.read = nil // until all has gone well
	s, err := w.a.load()
	switch {
	case err != nil && w.session == nil:
		return err
	case err != nil:
		w.say("spec", err.Error(), slog.LevelError, "hint", "the last good one stays in force")
		return nil
	}
	if w.session != nil && reflect.DeepEqual(s, w.session.spec) && w.unlocked(why) {
		w.read = files
		w.say("spec", "", slog.LevelInfo)
		return nil
	}
	next, err := w.a.open(ctx, true)
	if err == nil {
		if err = cmp.Or(w.a.mayInit(next.spec, false), w.opens(ctx, next)); err != nil {
			err = errors.Join(err, next.close())
		}
	}
	switch {
	case err != nil && w.session == nil:
		return err
	case err != nil: // its store or a password cannot be had
		w.say("spec", err.Error(), slog.LevelError, "hint", "the last good one stays in force")
		return nil
	}
	w.say("spec", "", slog.LevelInfo)
	w.a.warn(next.spec)
	if w.session != nil {
		was, is := w.session.spec.Store, next.spec.Store
		next.applier.Known = w.session.applier.Known && was.Directory == is.Directory && was.Swarm == is.Swarm
	}
	w.end()
	w.session, w.read = next, files
	w.session.applier.Report = w.step
	memory := &reconcile.Memory{}
	w.session.applier.Memory = memory
	w.session.applier.Prober = heard{w.session.applier.Prober, w.alive}
	w.systemd.expect(next.spec)
	listening, deaf := context.WithCancel(ctx)
	w.deaf = deaf
	for host, e := range next.engines {
		go e.Events(listening, func(what string) {
			memory.Heard(host)
			if host != spec.LocalHost {
				what = host + ": " + what
			}
			w.happened(what)
		})
	}
	return nil
}

// unlocked reports whether the passphrase of the store is the one it was opened with. A command that gives it may ask a
// person, and is run again on SIGHUP alone, and as long as something is wrong.
func (w *watching) unlocked(why string) bool {
	p := w.session.spec.Store.Passphrase
	if p == nil || p.Command != nil && why != hungUp && w.said["spec"] == "" {
		return true
	}
	is, err := w.a.secret(*p)
	return err == nil && bytes.Equal(is, w.session.passphrase)
}

// opens says why the store of another session does not, or nil. Without a good one before it, the pass finds that out.
func (w *watching) opens(ctx context.Context, next *session) error {
	if w.session == nil {
		return nil
	}
	if _, err := next.store.Load(ctx); !errors.Is(err, reconcile.ErrNoStore) {
		return err
	}
	return nil
}

// end leaves the session there was.
func (w *watching) end() {
	w.deaf()
	if w.session != nil {
		_ = w.session.close()
	}
}

// files wakes the watching when a file of the spec is another one than before. It only looks at their times and sizes, so
// that a checkout that replaces a directory is seen like an edit.
func (w *watching) files(ctx context.Context) {
	before := w.stamp()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		if now := w.stamp(); now != before {
			before = now
			w.word("tls.yaml changed")
		}
	}
}

// stamp tells the files of the spec from what they were before.
func (w *watching) stamp() string {
	stamp := ""
	for _, name := range w.a.files {
		paths := []string{name}
		if inside, err := filepath.Glob(filepath.Join(name, "*")); err == nil {
			paths = append(paths, inside...)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil {
				stamp += fmt.Sprintln(path, info.Size(), info.ModTime().UnixNano())
				if is, ok := info.Sys().(*syscall.Stat_t); ok {
					stamp += fmt.Sprintln(is.Ino, is.Ctim)
				}
			}
		}
	}
	return stamp
}
