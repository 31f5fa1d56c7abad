package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/spec"
)

// A command that gives a password has this long, and a password this many bytes.
const (
	secretTimeout = 30 * time.Second
	secretMax     = 4096
	secretRead    = secretMax + 3 // with the end of its line, and a byte that is too much
)

// secret reads a password from where the spec says, without the end of its line.
func (a *app) secret(src spec.Source) ([]byte, error) {
	data, err := a.readSecret(src)
	if err != nil {
		return nil, err
	}
	cut := len(data) == secretRead
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return nil, fmt.Errorf("%s: the password is empty", src.Pos)
	}
	if cut || len(data) > secretMax {
		return nil, fmt.Errorf("%s: the password is longer than %d bytes", src.Pos, secretMax)
	}
	return data, nil
}

func (a *app) readSecret(src spec.Source) ([]byte, error) {
	switch {
	case src.Env != "":
		v := a.getenv(src.Env)
		if v == "" {
			return nil, fmt.Errorf("%s: the environment variable %s is not set", src.Pos, src.Env)
		}
		return []byte(v), nil
	case src.File != "":
		f, err := os.Open(src.File)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.Pos, err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, secretRead))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.Pos, err)
		}
		return data, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), secretTimeout)
	defer cancel()
	var out limited
	c := exec.CommandContext(ctx, src.Command[0], src.Command[1:]...)
	c.Env = a.environ()
	c.Stdout = &out
	c.WaitDelay = time.Second // what it leaves behind may hold its output open for ever
	if err := c.Run(); err != nil && len(out) < secretRead {
		// What it printed may be half a password.
		return nil, fmt.Errorf("%s: %s: %w", src.Pos, src.Command[0], withoutOutput(err))
	}
	return out, nil
}

// environ is the environment of a child: ours, without the variables that hold passwords.
func (a *app) environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == backupEnv || name == oldPassphraseEnv || slices.Contains(a.hidden, name)
	})
}

// variables are those that a spec takes passwords from.
func variables(s *spec.Spec) []string {
	var names []string
	for _, src := range passwords(s) {
		if src.Env != "" {
			names = append(names, src.Env)
		}
	}
	return names
}

// passwords are where a spec takes them from.
func passwords(s *spec.Spec) []*spec.Source {
	sources := []*spec.Source{s.Store.Passphrase}
	for _, ca := range s.CAs {
		if ca.Local != nil {
			sources = append(sources, ca.Local.Passphrase)
		}
		if ca.Step != nil {
			sources = append(sources, ca.Step.Password)
		}
		if ca.ACME != nil && ca.ACME.EAB != nil {
			sources = append(sources, ca.ACME.EAB.Key)
		}
		if ca.ACME != nil && ca.ACME.DNS01 != nil && ca.ACME.DNS01.Update != nil {
			sources = append(sources, ca.ACME.DNS01.Update.Secret)
		}
		if ca.Vault != nil {
			sources = append(sources, ca.Vault.Secret())
		}
	}
	for _, id := range s.Identities {
		if id.Brought != nil {
			sources = append(sources, id.Brought.Passphrase)
		}
	}
	for _, b := range s.Bindings {
		for _, f := range b.Files {
			sources = append(sources, f.Password)
		}
		for _, r := range b.Reload {
			sources = append(sources, r.Password)
		}
	}
	return slices.DeleteFunc(sources, func(src *spec.Source) bool { return src == nil })
}

// limited takes no more than is read of a password, from what may print without end.
type limited []byte

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), secretRead-len(*l))
	*l = append(*l, p[:n]...)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func withoutOutput(err error) error {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return fmt.Errorf("exit status %d", e.ExitCode())
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return errors.New("it ended, but something it started still holds its output")
	}
	return err
}

// passphrase is the store's; nil when it has none.
func (a *app) passphrase(s spec.Store) ([]byte, error) {
	if s.Passphrase == nil {
		return nil, nil
	}
	p, err := a.secret(*s.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("the store's passphrase: %w", err)
	}
	return p, nil
}
