package dockerd

import (
	"context"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/command"
)

// commandLimit bounds what systemd is asked for. Restarting includes that dockerd ends its containers and starts again.
const commandLimit = 3 * time.Minute

// showLimit bounds what systemd is asked for in each observation, before anything else is looked at. It answers from memory.
const showLimit = 10 * time.Second

// show asks systemd what it knows of the unit.
func (m Machine) show(ctx context.Context) (map[string]string, error) {
	out, err := call(ctx, showLimit, "systemctl", "show", unitName, "--property=LoadState,ActiveState,FragmentPath,DropInPaths,MainPID,InvocationID")
	if err != nil {
		return nil, err
	}
	properties := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		properties[name] = value
	}
	return properties, nil
}

// systemctl has systemd change something.
func (m Machine) systemctl(ctx context.Context, args ...string) error {
	return m.Disk.Around.Do("systemctl "+strings.Join(args, " "), func() error {
		_, err := call(ctx, commandLimit, append([]string{"systemctl"}, args...)...)
		return err
	})
}

// call runs a program, and returns what it printed. Nothing of certwright's own environment is its business.
func call(ctx context.Context, limit time.Duration, argv ...string) (string, error) {
	c := command.Command{Argv: argv, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, Timeout: limit}
	out, err := c.Run(ctx)
	return string(out), err
}
