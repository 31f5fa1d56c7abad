package dockerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// A change ends within proveLimit, or dockerd goes back: by this process as long as that lives, else by the machine's own
// systemd after backAfter.
const (
	proveLimit = 4 * time.Minute
	backAfter  = 5 * time.Minute
	// rollback begins the names of the timer and of the service that it starts. Both are transient: nothing of them is left when
	// they have done their work, nor after a boot. Each has a name of its own, since systemd forgets the last one when it likes.
	rollback  = "certwright-engine-rollback-"
	timerUnit = rollback + "*.timer"
	service   = rollback + "*.service"
	// waitPoll is how often it is asked whether the way back has come to its end.
	waitPoll = 100 * time.Millisecond
)

// arm has systemd go back by itself unless it is disarmed before (systemd-run(1)). The timer of a change that was cut off has
// the same way back, and only gets its time anew, so that there is no moment without one.
func (m Machine) arm(ctx context.Context, s state, was before) error {
	armed, err := m.busy(ctx, timerUnit)
	if err != nil {
		return err
	}
	if s.Unfinished && armed {
		return m.systemctl(ctx, "restart", timerUnit)
	}
	if err := m.disarm(ctx); err != nil {
		return err
	}
	for _, each := range was.files(s.File) {
		if err := plain(each.name); err != nil {
			return err
		}
		if err := m.keep(copyOf(each.name), each.data, each.mode); err != nil {
			return err
		}
	}
	return m.Disk.Around.Do("systemd-run "+timerUnit, func() error {
		_, err := call(ctx, commandLimit, "systemd-run", "--quiet", "--collect", "--unit="+rollback+strings.ToLower(rand.Text()[:8]),
			"--description=dockerd back to what it had before certwright changed it",
			fmt.Sprintf("--on-active=%ds", int(backAfter.Seconds())), "--timer-property=AccuracySec=1s",
			"/bin/sh", "-e", "-c", script(s, was))
		return err
	})
}

// script is the way back as a program of the machine's own: certwright's may be another by then, or gone. What it puts back lies
// beside what it replaces. There are no characters in it that plain refuses. It takes the same steps in the same order as Machine.back, and none twice: when it is cut off, what
// was kept is still there for the next run of certwright. A dockerd that was not restarted has the configuration of before, and
// is not restarted.
func script(s state, was before) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[ -e %s ] || exit 0\n", quote(backupOf(s.File)))
	for _, each := range was.files(s.File) {
		if each.data == nil {
			fmt.Fprintf(&b, "rm -f %s\n", quote(each.name))
		} else {
			fmt.Fprintf(&b, "mv -fT %s %s\n", quote(copyOf(each.name)), quote(each.name))
		}
		dir := quote(filepath.Dir(each.name))
		fmt.Fprintf(&b, "[ ! -d %[1]s ] || sync %[1]s\n", dir)
	}
	b.WriteString("systemctl daemon-reload\n")
	if s.Active && !s.Unfinished {
		fmt.Fprintf(&b, "if ! systemctl is-active --quiet %[1]s || ! systemctl show --property=InvocationID %[1]s | grep -qx InvocationID=%[2]s\nthen\n",
			unitName, was.Invocation)
	} else {
		b.WriteString("if true\nthen\n")
	}
	fmt.Fprintf(&b, "systemctl reset-failed %[1]s\nsystemctl restart %[1]s\nfi\nrm -f %[2]s\n", unitName, quote(backupOf(s.File)))
	return b.String()
}

// quote makes one word of a shell's of what plain lets pass.
func quote(word string) string { return "'" + word + "'" }

// plain refuses names that systemd would make others of. Some of it are its specifiers, variables and quotes; others it writes
// into a transient unit otherwise than it reads them when it is told to read its units again (252: \$ and \;).
func plain(name string) error {
	if strings.ContainsAny(name, "%$'\"\\;") || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%s cannot be put back by a timer: its name has characters that mean something to systemd", name)
	}
	return nil
}

// copyOf is where what is put back lies: in the folder of what it replaces, so that this is one rename.
func copyOf(file string) string {
	return filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".certwright-back")
}

// disarm returns when nothing goes back by itself any more. A way back that has begun comes to its end first.
func (m Machine) disarm(ctx context.Context) error {
	if err := m.systemctl(ctx, "stop", timerUnit); err != nil { // of a pattern it is no error when there is none
		return err
	}
	return m.awaitBack(ctx)
}

// awaitBack waits for a way back that has begun.
func (m Machine) awaitBack(ctx context.Context) error {
	for {
		busy, err := m.busy(ctx, service)
		if err != nil || !busy {
			return err
		}
		select {
		case <-time.After(waitPoll):
		case <-ctx.Done():
			return fmt.Errorf("%s does not come to its end: %w", service, ctx.Err())
		}
	}
}

// busy reports whether one of the units that a pattern names is not at its end.
func (m Machine) busy(ctx context.Context, pattern string) (bool, error) {
	out, err := call(ctx, showLimit, "systemctl", "show", pattern, "--property=ActiveState", "--value")
	for _, state := range strings.Fields(out) {
		if state == "active" || state == "activating" || state == "deactivating" {
			return true, err
		}
	}
	return false, err
}

// errWentBack is of a change that took too long.
var errWentBack = errors.New("it went back to the configuration of before meanwhile; look at the log of " + service)

// stands reports that what a change wrote is still there: its way back has not begun.
func stands(file string) error {
	was, err := kept(file)
	if err != nil {
		return errors.Join(errWentBack, err)
	}
	is, err := read(file)
	if err != nil {
		return err
	}
	if was.Wrote != is.digest() {
		return errWentBack
	}
	return nil
}

// forget removes all that a way back needs: what says that there is one at last.
func (m Machine) forget(file string) error {
	for _, each := range (before{}).files(file) {
		if err := m.remove(copyOf(each.name)); err != nil {
			return err
		}
	}
	return m.remove(backupOf(file))
}
