package acmeca

import (
	"context"
	"fmt"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/providers/command"
)

// dns01 has a command of the user's set a record (RFC 8555 section 8.4). It is called with `set` or `unset` as its last
// argument; CERTWRIGHT_CA, CERTWRIGHT_IDENTITY, CERTWRIGHT_RECORD (its name, with a dot at its end) and CERTWRIGHT_VALUE (of
// the TXT record) are in its environment. When it ends after `set`, the record has to be there for the whole world. A name may
// get several values at once; `unset` takes away the one, and succeeds where it is not there.
type dns01 struct{ *signing }

func (d dns01) set(ctx context.Context, c acme.Challenge) error   { return d.call(ctx, "set", c) }
func (d dns01) unset(ctx context.Context, c acme.Challenge) error { return d.call(ctx, "unset", c) }

func (d dns01) call(ctx context.Context, what string, c acme.Challenge) error {
	hook := d.ca.ACME.DNS01
	run := command.Command{
		Argv: append(append([]string{}, hook.Command...), what), Timeout: hook.Timeout,
		Env: append(append([]string{}, d.Environ...), "CERTWRIGHT_CA="+d.ca.Name, "CERTWRIGHT_IDENTITY="+d.q.Identity.Name,
			"CERTWRIGHT_RECORD="+c.DNS01TXTRecordName()+".", "CERTWRIGHT_VALUE="+c.DNS01KeyAuthorization()),
	}
	err := d.Around.Do(what+" a DNS record of CA "+d.ca.Name, func() error {
		_, err := run.Run(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
