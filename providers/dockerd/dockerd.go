// Package dockerd configures and restarts the dockerd of this machine, as systemd runs it.
//
// What dockerd is configured with is in two places, its configuration file and the command of its unit, and it does not
// start if both say the same thing. Machine reads both with the lines they stand on. It changes the file key by key, and the
// command by a drop-in of its own.
//
// A change is kept only when dockerd runs with it and that was proved. What was there before lies beside the file until
// then. A process that is cut off leaves the machine's systemd a way back, by a timer, and the next one all it needs to go on.
package dockerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/reconcile"
)

const (
	unitName    = "docker.service"
	defaultFile = "/etc/docker/daemon.json"
	systemdRuns = "/run/systemd/system" // sd_booted(3)
	unitFolders = "/etc/systemd/system"
	// dropInName comes after the drop-ins of people: the last ExecStart counts.
	dropInName = "zz-certwright.conf"
	// maxFile bounds each file that is read, in bytes.
	maxFile = 1 << 20
)

// Machine is the one this process runs on. It implements reconcile.Daemons for that, whatever the host is called.
type Machine struct {
	Disk disk.Disk // Disk.Around is put around what systemd is asked for, too
}

var _ reconcile.Daemons = Machine{}

// Daemon implements reconcile.Daemons.
func (m Machine) Daemon(ctx context.Context, _ string) reconcile.DaemonState {
	if !exists(systemdRuns) {
		return unknown("systemd does not run here, and dockerd is restarted by nothing else", "run certwright on the machine of the engine")
	}
	s, err := m.observe(ctx)
	if err != nil {
		return unknown(err.Error(), "look at it with `systemctl cat "+unitName+"`")
	}
	return s.DaemonState
}

// state is how dockerd is configured and runs, and systemd's name for this one run of it (systemd.exec(5), $INVOCATION_ID).
type state struct {
	reconcile.DaemonState
	invocation string
}

func unknown(why, hint string) reconcile.DaemonState {
	return reconcile.DaemonState{Err: why, Hint: hint}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (m Machine) observe(ctx context.Context) (s state, err error) {
	properties, err := m.show(ctx)
	if err != nil {
		return s, err
	}
	if load := properties["LoadState"]; load != "loaded" {
		return s, fmt.Errorf("%s is %s", unitName, load)
	}
	s.Unit, s.Active, s.invocation = unitName, properties["ActiveState"] == "active", properties["InvocationID"]
	files := append([]string{properties["FragmentPath"]}, strings.Fields(properties["DropInPaths"])...)
	if s.Command, s.CommandAt, err = commandOf(files); err != nil {
		return s, err
	}
	if s.Active && properties["MainPID"] != "0" {
		s.Running = arguments(properties["MainPID"])
	}
	s.File = configFile(s.Running, s.Command)
	if err := s.cutOff(); err != nil {
		return s, err
	}
	data, err := disk.ReadFile(s.File, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var c config
	if err == nil {
		c, err = parse(s.File, data)
	}
	if err != nil {
		s.FileErr = err.Error()
		return s, nil
	}
	s.Hosts, s.TLS = c.hosts, c.tls
	s.Live = c.live || slices.Contains(s.Running, "--live-restore") || slices.Contains(s.Running, "--live-restore=true")
	return s, nil
}

// arguments are those of a process, nil if there is none.
func arguments(pid string) []string {
	data, err := disk.ReadFile(filepath.Join("/proc", pid, "cmdline"), maxFile)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// configFile is what arguments name as the configuration file, the first that do.
func configFile(all ...[]string) string {
	for _, args := range all {
		for i, arg := range args {
			if file, is := strings.CutPrefix(arg, "--config-file="); is {
				return file
			}
			if arg == "--config-file" && i+1 < len(args) {
				return args[i+1]
			}
		}
	}
	return defaultFile
}

// reachLimit bounds a connection to this machine.
const reachLimit = 5 * time.Second

// Reach implements reconcile.Daemons.
func (m Machine) Reach(ctx context.Context, _, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: reachLimit}
	return d.DialContext(ctx, "tcp", address)
}
