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
	s, err := m.observe(ctx)
	if err != nil {
		return err
	}
	was, now, err := m.prepare(s, want)
	if err != nil {
		return err
	}
	restarted := false
	err = m.forward(ctx, s, now)
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
		return errors.Join(err, m.back(ctx, s, was, restarted))
	}
	return m.remove(backupOf(s.File))
}

// Settle implements reconcile.Daemons.
func (m Machine) Settle(ctx context.Context, _ string) error {
	s, err := m.observe(ctx)
	if err != nil {
		return err
	}
	return m.remove(backupOf(s.File))
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
	was.Invocation = s.invocation
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

// back undoes a change. The error says what has become of it, also when it is undone.
func (m Machine) back(ctx context.Context, s state, was before, restarted bool) error {
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
		err = m.remove(backupOf(s.File))
	}
	if err != nil {
		return fmt.Errorf("and the way back failed, which the next run tries again: %w", err)
	}
	if !restarted {
		return fmt.Errorf("its configuration is as it was, and %w", reconcile.ErrUntouched)
	}
	return errors.New("the configuration of before is back, and dockerd runs with it")
}
