package dockerd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// backLimit bounds the way back, which is gone also when someone has had enough meanwhile.
const backLimit = 5 * time.Minute

// before is what a machine was configured with: nil where there was no file.
type before struct {
	File, DropIn []byte
	Mode         fs.FileMode
}

// backupOf is where that is kept beside a configuration file. Its name says to everybody what it is.
func backupOf(file string) string {
	return filepath.Join(filepath.Dir(file), ".daemon.json.before-certwright")
}

func dropInFile() string { return filepath.Join(unitFolders, unitName+".d", dropInName) }

// Reconfigure implements reconcile.Daemons.
func (m Machine) Reconfigure(ctx context.Context, _ string, want reconcile.DaemonConfig, proof func(context.Context) error) error {
	if err := usable(want.TLS); err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	s, err := m.observe(ctx)
	if err != nil {
		return err
	}
	was, now, err := m.prepare(s, want)
	if err != nil {
		return err
	}
	restarted := false
	err = m.write(ctx, s.File, now)
	if err == nil {
		err = m.valid(ctx, s)
	}
	if err == nil {
		restarted = true
		err = m.restart(ctx)
	}
	if err == nil {
		err = proof(ctx)
	}
	if err != nil {
		return errors.Join(err, m.back(ctx, s.File, was, restarted))
	}
	return m.remove(backupOf(s.File))
}

// usable reports what dockerd would not start with.
func usable(files reconcile.DaemonTLS) error {
	if _, err := tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
		return fmt.Errorf("%s and %s: %w", files.Cert, files.Key, err)
	}
	roots, err := os.ReadFile(files.CA)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(roots) {
		return fmt.Errorf("%s holds no certificate", files.CA)
	}
	return nil
}

// prepare keeps what is there, and works out what is to be. What an earlier change was cut off from is kept, and not what it
// had written.
func (m Machine) prepare(s reconcile.DaemonState, want reconcile.DaemonConfig) (was, now before, err error) {
	if was, err = read(s.File); err != nil {
		return was, now, err
	}
	c, err := parse(s.File, was.File)
	if err != nil {
		return was, now, err
	}
	now = was
	if now.File, err = c.with(want); err != nil {
		return was, now, err
	}
	if want.Command != nil {
		now.DropIn = dropIn(want.Command)
	}
	if s.Unfinished && bytes.Equal(was.File, now.File) && bytes.Equal(was.DropIn, now.DropIn) {
		data, err := os.ReadFile(backupOf(s.File))
		if err == nil {
			err = json.Unmarshal(data, &was)
		}
		return was, now, err
	}
	data, err := json.Marshal(was)
	if err == nil {
		err = m.put(backupOf(s.File), data, 0o600)
	}
	return was, now, err
}

// read is what there is now.
func read(file string) (b before, err error) {
	b.Mode = 0o644
	if info, err := os.Stat(file); err == nil {
		b.Mode = info.Mode().Perm()
	}
	if b.File, err = os.ReadFile(file); errors.Is(err, fs.ErrNotExist) {
		b.File, err = nil, nil
	}
	if err != nil {
		return b, err
	}
	if b.DropIn, err = os.ReadFile(dropInFile()); errors.Is(err, fs.ErrNotExist) {
		b.DropIn, err = nil, nil
	}
	return b, err
}

// write makes both files what they are to be, and has systemd read its own again if that is another.
func (m Machine) write(ctx context.Context, file string, want before) error {
	is, err := read(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(is.File, want.File) {
		if err := m.keep(file, want.File, want.Mode); err != nil {
			return err
		}
	}
	if bytes.Equal(is.DropIn, want.DropIn) {
		return nil
	}
	if err := m.keep(dropInFile(), want.DropIn, 0o644); err != nil {
		return err
	}
	return m.systemctl(ctx, "daemon-reload")
}

// keep writes a file, or removes what is not to be.
func (m Machine) keep(file string, data []byte, mode fs.FileMode) error {
	if data == nil {
		return m.remove(file)
	}
	return m.put(file, data, mode)
}

// valid asks dockerd what it makes of its file, where it can be asked (dockerd --validate, since 23.0), and looks whether the
// unit runs what it should.
func (m Machine) valid(ctx context.Context, s reconcile.DaemonState) error {
	now, err := m.observe(ctx)
	if err != nil {
		return err
	}
	if now.Hosts.At != "" {
		for _, word := range now.Command {
			if strings.HasPrefix(word, "-H") || strings.HasPrefix(word, "--host") {
				return fmt.Errorf("%s still has %s, which dockerd does not start with beside %s", now.CommandAt, word, now.Hosts.At)
			}
		}
	}
	program := strings.TrimLeft(s.Command[0], "@-:+!")
	if help, err := call(ctx, program, "--help"); err != nil || !strings.Contains(help, "--validate") {
		return nil //nolint:nilerr // an older one
	}
	_, err = call(ctx, program, "--validate", "--config-file="+s.File)
	return err
}

// restart returns when dockerd runs, or does not.
func (m Machine) restart(ctx context.Context) error {
	// What failed before does not count against it (systemd.unit(5), StartLimitBurst).
	if err := m.systemctl(ctx, "reset-failed", unitName); err != nil {
		return err
	}
	return m.systemctl(ctx, "restart", unitName)
}

// back undoes a change. The error says what has become of it, also when it is undone.
func (m Machine) back(ctx context.Context, file string, was before, restarted bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	err := m.write(ctx, file, was)
	if err == nil && restarted {
		err = m.restart(ctx)
	}
	if err == nil {
		err = m.remove(backupOf(file))
	}
	if err != nil {
		return fmt.Errorf("and the way back failed, which the next run tries again: %w", err)
	}
	if !restarted {
		return fmt.Errorf("its configuration is as it was, and %w", reconcile.ErrUntouched)
	}
	return errors.New("the configuration of before is back, and dockerd runs with it")
}
