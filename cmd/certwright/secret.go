package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/certwright/certwright/spec"
)

// A command that gives a password has this long, and a password this many bytes.
const (
	secretTimeout = 30 * time.Second
	secretMax     = 4096
)

// secret reads a password from where the spec says, without the end of its line.
func (a *app) secret(src spec.Source) ([]byte, error) {
	data, err := a.readSecret(src)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return nil, fmt.Errorf("%s: the password is empty", src.Pos)
	}
	if len(data) > secretMax {
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
		data, err := os.ReadFile(src.File)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src.Pos, err)
		}
		return data, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), secretTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, src.Command[0], src.Command[1:]...).Output()
	if err != nil {
		// What it printed may be half a password.
		return nil, fmt.Errorf("%s: %s: %w", src.Pos, src.Command[0], withoutOutput(err))
	}
	return out, nil
}

func withoutOutput(err error) error {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return fmt.Errorf("exit status %d", e.ExitCode())
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
