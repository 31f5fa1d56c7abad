package dockerd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

// backLimit bounds the way back, which is gone also when someone has had enough meanwhile.
const backLimit = 5 * time.Minute

// Reconfigure implements reconcile.Daemons.
func (m Machine) Reconfigure(ctx context.Context, _ string, want reconcile.DaemonConfig, proof func(context.Context) error) error {
	if err := usable(want.TLS); err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	alone, err := m.alone(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", reconcile.ErrUntouched, err)
	}
	defer alone.Close()
	if err := m.awaitBack(ctx); err != nil {
		return err
	}
	s, err := m.observe(ctx)
	if err != nil {
		return err
	}
	was, now, err := m.prepare(s, want)
	if err != nil {
		return err
	}
	restarted, err := m.change(ctx, s, was, now, proof)
	if err != nil {
		return errors.Join(err, m.back(ctx, s, was, restarted))
	}
	return m.forget(s.File)
}

// change reports whether dockerd was restarted, also when it failed.
func (m Machine) change(ctx context.Context, s state, was, now before, proof func(context.Context) error) (restarted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, proveLimit)
	defer cancel()
	if err := m.arm(ctx, s, was); err != nil {
		return false, err
	}
	if err := m.forward(ctx, s, now); err != nil {
		return false, err
	}
	if err := m.valid(ctx, s); err != nil {
		return false, err
	}
	if err := m.restart(ctx); err != nil {
		return true, err
	}
	if err := proof(ctx); err != nil {
		return true, err
	}
	if err := m.disarm(ctx); err != nil {
		return true, err
	}
	return true, stands(s.File)
}

// Settle implements reconcile.Daemons.
func (m Machine) Settle(ctx context.Context, _ string) error {
	alone, err := m.alone(ctx)
	if err != nil {
		return err
	}
	defer alone.Close()
	if err := m.disarm(ctx); err != nil {
		return err
	}
	s, err := m.observe(ctx)
	if err != nil {
		return err
	}
	if s.Unfinished {
		if err := stands(s.File); err != nil {
			return err
		}
	}
	return m.forget(s.File)
}

// alone waits until no other process changes dockerd: one whose certwright has no way here any more may be going back.
func (m Machine) alone(ctx context.Context) (io.Closer, error) {
	dir, err := m.Disk.Open(unitFolders)
	if err != nil {
		return nil, err
	}
	if err := dir.Lock(ctx); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("another certwright is at it: %w", err)
	}
	return dir, nil
}

// usable reports what dockerd would not start with.
func usable(files reconcile.DaemonTLS) error {
	var all [3][]byte
	for i, file := range []string{files.Cert, files.Key, files.CA} {
		data, err := disk.ReadFile(file, maxFile)
		if err != nil {
			return err
		}
		all[i] = data
	}
	if _, err := tls.X509KeyPair(all[0], all[1]); err != nil {
		return fmt.Errorf("%s and %s: %w", files.Cert, files.Key, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(all[2]) {
		return fmt.Errorf("%s holds no certificate", files.CA)
	}
	return nil
}

// prepare keeps what is there, and works out what is to be. Where an earlier change was cut off, what was kept then stays: what
// that one wrote, nobody has proved.
func (m Machine) prepare(s state, want reconcile.DaemonConfig) (was, now before, err error) {
	is, err := read(s.File)
	if err != nil {
		return was, now, err
	}
	c, err := parse(s.File, is.File)
	if err != nil {
		return was, now, err
	}
	was, now = is, is
	if now.File, err = c.with(want); err != nil {
		return was, now, err
	}
	if want.Command != nil {
		now.DropIn = dropIn(want.Command)
	}
	was.Command = s.Command
	if s.Unfinished {
		if was, err = kept(s.File); err != nil {
			return was, now, err
		}
	}
	was.Invocation, was.Wrote = s.invocation, now.digest()
	data, err := json.Marshal(was)
	if err == nil {
		err = m.put(backupOf(s.File), data, 0o600)
	}
	return was, now, err
}

// forward gives dockerd another configuration, and back the one of before. It does not start with the same in its unit and in
// its file, so the unit says less before the file says more, and the other way round: whoever starts it in between finds it
// well.
func (m Machine) forward(ctx context.Context, s state, now before) error {
	if err := m.unit(ctx, s, now); err != nil {
		return err
	}
	return m.config(s, now)
}

// unit makes the drop-in what it is to be, and has systemd read its units again if that is another. One that was cut off may
// have come no further than the drop-in.
func (m Machine) unit(ctx context.Context, s state, want before) error {
	is, err := read(s.File)
	if err != nil {
		return err
	}
	same := bytes.Equal(is.DropIn, want.DropIn)
	if !same {
		if err := m.keep(dropInFile(), want.DropIn, 0o644); err != nil {
			return err
		}
	}
	if same && !s.Unfinished {
		return nil
	}
	return m.systemctl(ctx, "daemon-reload")
}

// config makes the configuration file what it is to be.
func (m Machine) config(s state, want before) error {
	is, err := read(s.File)
	if err != nil || bytes.Equal(is.File, want.File) {
		return err
	}
	return m.keep(s.File, want.File, want.Mode)
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
func (m Machine) valid(ctx context.Context, s state) error {
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
	if help, err := call(ctx, commandLimit, program, "--help"); err != nil || !strings.Contains(help, "--validate") {
		return nil //nolint:nilerr // an older one
	}
	_, err = call(ctx, commandLimit, program, "--validate", "--config-file="+s.File)
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

// back undoes a change. The error says what has become of it, also when it is undone. What an earlier change that was cut off has
// made of dockerd, nobody knows: it may be down.
func (m Machine) back(ctx context.Context, s state, was before, restarted bool) error {
	restarted = restarted || s.Unfinished
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	err := m.config(s, was)
	if err == nil {
		err = m.unit(ctx, s, was)
	}
	if err == nil && restarted {
		err = m.restart(ctx)
	}
	if err == nil {
		err = m.disarm(ctx)
	}
	if err == nil {
		err = m.forget(s.File)
	}
	if err != nil {
		return fmt.Errorf("and the way back failed, which the next run tries again: %w", err)
	}
	if !restarted {
		return fmt.Errorf("its configuration is as it was, and %w", reconcile.ErrUntouched)
	}
	return errors.New("the configuration of before is back, and dockerd runs with it")
}
