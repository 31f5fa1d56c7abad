// Package execca is a CA behind a command of the user's: a CSR goes in, a chain comes out (docs/ca-exec.md).
package execca

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// refuses is the exit code by which a command says that asking again is of no use (EX_NOPERM of sysexits.h). Lower ones
// come from shells and interpreters that did not get as far.
const refuses = 77

// CA implements reconcile.Outside.
type CA struct {
	Environ []string // of the command, besides what is said to it; no password is in it
	Around  reconcile.Around
}

// Roots is not asked for: the spec has to name a file of them.
func (CA) Roots(context.Context, spec.CA) ([][]byte, error) {
	return nil, errors.New("a command has no roots of its own")
}

// Sign runs the command with the CSR (PEM) as its input, and reads the chain (PEM, the leaf first) from its output.
// CERTWRIGHT_CA, CERTWRIGHT_IDENTITY and CERTWRIGHT_LIFETIME (seconds) are in its environment. It fails by an exit code,
// of which 77 is ErrRefused; the last line of what it says on its standard error is the reason. When its time is over it is
// killed with all it started.
func (c CA) Sign(ctx context.Context, ca spec.CA, q reconcile.SigningRequest) ([][]byte, error) {
	run := command.Command{
		Argv: ca.Exec.Command, Timeout: ca.Exec.Timeout,
		Env: append(append([]string{}, c.Environ...), "CERTWRIGHT_CA="+ca.Name, "CERTWRIGHT_IDENTITY="+q.Identity.Name,
			"CERTWRIGHT_LIFETIME="+strconv.FormatInt(int64(q.Identity.Lifetime/time.Second), 10)),
		Stdin: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: q.CSR}),
	}
	var out []byte
	err := c.Around.Do("run the command of CA "+ca.Name, func() (err error) {
		out, err = run.Run(ctx)
		return err
	})
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == refuses {
		return nil, fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	return certificates(out)
}

// certificates decodes what a command printed.
func certificates(data []byte) ([][]byte, error) {
	var chain [][]byte
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
		data = rest
	}
	if len(chain) == 0 {
		return nil, errors.New("it printed no certificate (PEM)")
	}
	return chain, nil
}
