package dockerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// errLeft is of a change whose certwright is gone, or has no way here any more.
var errLeft = errors.New("nobody is there any more who could prove it")

// Serve is the side of Hosts that runs on a machine: it looks at dockerd, reconfigures it, or gives its way back up, and tells on
// stdout. A change goes back when stdin ends before it is proved. It is what `certwright courier engine look`, … runs.
func (m Machine) Serve(ctx context.Context, what string, stdin io.Reader, stdout io.Writer) error {
	say := json.NewEncoder(stdout)
	switch what {
	case "look":
		s := m.Daemon(ctx, spec.LocalHost)
		return say.Encode(message{State: &s})
	case "settle":
		return say.Encode(message{Done: verdictOf(m.Settle(ctx, spec.LocalHost))})
	case "reconfigure":
		return say.Encode(message{Done: verdictOf(m.serveChange(ctx, json.NewDecoder(io.LimitReader(stdin, maxTalk)), say))})
	}
	return fmt.Errorf("an engine is asked to look, settle or reconfigure, not to %s", what)
}

func (m Machine) serveChange(ctx context.Context, hear *json.Decoder, say *json.Encoder) error {
	var first message
	if err := hear.Decode(&first); err != nil || first.Config == nil {
		return fmt.Errorf("%w: nobody says what dockerd is to be configured as: %w", reconcile.ErrUntouched, errors.Join(err))
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	proved, asked := make(chan error, 1), make(chan struct{})
	go func() {
		var answer message
		err := hear.Decode(&answer)
		switch {
		case err != nil || answer.Proved == nil:
			end(errLeft)
		default:
			select {
			case <-asked:
				proved <- answer.Proved.err()
			default: // before it was asked: that it is to stop
				end(answer.Proved.err())
			}
		}
	}()
	err := m.Reconfigure(ctx, spec.LocalHost, *first.Config, func(ctx context.Context) error {
		close(asked)
		if err := say.Encode(message{Prove: true}); err != nil {
			return errLeft
		}
		select {
		case err := <-proved:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
