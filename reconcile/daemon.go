package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// ErrUntouched is of a Reconfigure that found out before it restarted anything that this would go wrong.
var ErrUntouched = errors.New("nothing was restarted")

// Daemons are the dockerds of hosts, as whoever starts them there has them.
type Daemons interface {
	// Daemon says how dockerd is configured, and how it runs. It changes nothing.
	Daemon(ctx context.Context, host string) DaemonState
	// Reach connects to an address that it listens on.
	Reach(ctx context.Context, host, address string) (net.Conn, error)
	// Admits says who is let in at an address, by asking without a certificate.
	Admits(ctx context.Context, host, address string) Admission
	// Reconfigure gives dockerd another configuration, restarts it, waits until it runs, and has that proved. If any of it
	// fails, the configuration of before is back and dockerd restarted with it when it returns, as far as that is possible.
	// What it cannot parse it leaves alone. If it is cut off, the machine goes back by itself minutes later, unless it is booted
	// before. Until then DaemonState says Unfinished, the unit and the file do not contradict each other, and to call it again
	// is safe: its way back leads to what was there before the first.
	Reconfigure(ctx context.Context, host string, c DaemonConfig, proof func(ctx context.Context) error) error
	// Settle gives that way back up, since what a Reconfigure led to that was cut off is proved. To repeat it is success; an error
	// says that dockerd goes back, or has gone.
	Settle(ctx context.Context, host string) error
}

// DaemonState is how dockerd is configured, and how it runs.
type DaemonState struct {
	Err, Hint  string    // why that cannot be found out, and what to do
	Away       bool      // … since its machine does not answer, though it should
	Unit       string    // by which it is restarted: docker.service
	Active     bool      // it runs
	Command    []string  // what the unit runs; variables as they are written
	CommandAt  string    // where that is written, FILE:LINE
	Running    []string  // the arguments it runs with
	File       string    // its configuration file
	FileErr    string    // why that cannot be understood
	Hosts      Directive // hosts of File
	TLS        DaemonTLS // of File
	Live       bool      // containers outlive it: live-restore
	Unfinished bool      // a Reconfigure was cut off
	// Of one that was cut off: what dockerd was configured with before, its hosts as its file had them and the command as the
	// unit did; and whether dockerd was not started since it wrote something else.
	Before DaemonConfig
	Unread bool
}

// cutOff reports whether dockerd is down since a restart that did not come to its end.
func (s DaemonState) cutOff() bool { return s.Unfinished && !s.Active }

// Directive is a list in a configuration file, and where it stands, FILE:LINE; "" where it does not.
type Directive struct {
	Values []string
	At     string
}

// DaemonTLS is what dockerd shows, and whom it lets in (dockerd(8), --tlsverify).
type DaemonTLS struct {
	Verify        bool
	CA, Cert, Key string
}

// DaemonConfig is what dockerd is to be configured as. Everything else of its file stays.
type DaemonConfig struct {
	Hosts []string
	TLS   DaemonTLS
	// Command is what its unit has to run, since what it does now says some of this itself; nil leaves it.
	Command []string
}

// engineID stands for dockerd where containers have their ids.
const engineID = "dockerd"

// slots are the folders that an engine's files are placed in by turns: it is led from one to the other and, if it does not come
// up, back to what it came up with before.
var slots = []string{"a", "b"}

// slot is one of the places of an engine's files.
func (s DaemonState) slot(host, name string) Location {
	return Location{Host: host, Dir: path.Join(path.Dir(s.File), "tls"), Sub: name}
}

// tls is that of a dockerd with the files that are placed there.
func (at Location) tls() DaemonTLS {
	dir := at.physical().Dir
	return DaemonTLS{Verify: true, CA: path.Join(dir, "ca.pem"), Cert: path.Join(dir, "cert.pem"), Key: path.Join(dir, "key.pem")}
}

// names reports whether some of the files are in a place.
func (t DaemonTLS) names(at Location) bool {
	tls := at.tls()
	return t.CA == tls.CA || t.Cert == tls.Cert || t.Key == tls.Key
}

// defaultHost is where dockerd listens when nothing is said (dockerd(8), --host).
const defaultHost = "unix:///var/run/docker.sock"

// wants is the configuration that gives dockerd the files of a place, and why it is not the one it has, "" if it is.
func (s DaemonState) wants(e *spec.EngineTLS, at Location) (c DaemonConfig, why string, refused *Refusal) {
	if s.FileErr != "" {
		return c, "", &Refusal{Reason: s.FileErr + "; it is left alone", Hint: "mend " + s.File}
	}
	flags := flagsOf(s.Command)
	if refused := s.clash(flags); refused != nil {
		return c, "", refused
	}
	c.TLS = at.tls()
	hosts := s.Hosts.Values
	if s.Hosts.At == "" {
		hosts = flags.hosts
	}
	if len(hosts) == 0 && s.Unfinished { // it may have been cut off between the unit and the file
		hosts = s.Before.listens()
	}
	if len(hosts) == 0 {
		hosts = []string{defaultHost}
	}
	for _, h := range hosts {
		if !strings.HasPrefix(h, "tcp://") && strings.Contains(h, "://") {
			c.Hosts = append(c.Hosts, h)
		}
	}
	c.Hosts = append(c.Hosts, e.Listen...)
	var differ []string
	if !slices.Equal(c.Hosts, s.Hosts.Values) {
		differ = append(differ, "hosts")
	}
	if s.TLS != c.TLS {
		differ = append(differ, "its TLS")
	}
	if len(differ) > 0 {
		why = s.File + ": " + strings.Join(differ, " and ") + " to be set"
	}
	if len(flags.hosts) > 0 || flags.tls {
		c.Command = flags.rest
		why = strings.TrimPrefix(why+"; "+s.CommandAt+" says some of it itself", "; ")
	}
	return c, why, nil
}

// listens is where a dockerd listens that is configured so, by its file or by its command.
func (c DaemonConfig) listens() []string {
	if len(c.Hosts) > 0 {
		return c.Hosts
	}
	return flagsOf(c.Command).hosts
}

// clash refuses what dockerd would not start with, or what nobody but a person can change. What a Reconfigure has begun with
// was neither, and what it was cut off from, the next one finishes.
func (s DaemonState) clash(flags daemonFlags) *Refusal {
	if s.Unfinished {
		return nil
	}
	if len(flags.hosts) > 0 && s.Hosts.At != "" {
		return &Refusal{
			Reason: fmt.Sprintf("dockerd would not start again: hosts is in %s, and -H in %s", s.Hosts.At, s.CommandAt),
			Hint:   "take one of the two away: " + s.CommandAt + " (-H " + strings.Join(flags.hosts, " -H ") + "), or hosts in " + s.Hosts.At,
		}
	}
	variable := slices.IndexFunc(s.Command, func(arg string) bool { return strings.HasPrefix(arg, "$") })
	if now := flagsOf(s.Running); variable >= 0 && (len(now.hosts) > len(flags.hosts) || now.tls && !flags.tls) {
		return &Refusal{
			Reason: fmt.Sprintf("%s in %s says where dockerd listens, or its TLS", s.Command[variable], s.CommandAt),
			Hint:   "take -H, --host and --tls… out of that variable, and restart " + s.Unit,
		}
	}
	return nil
}

// daemonFlags are what the arguments of dockerd say of its sockets and its TLS, and the rest of them.
type daemonFlags struct {
	hosts []string
	tls   bool
	rest  []string
}

// flagsOf reads arguments as dockerd does: -H ADDRESS, -H=ADDRESS, -HADDRESS, --host ADDRESS, --host=ADDRESS.
func flagsOf(args []string) (f daemonFlags) {
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch {
		case name == "--tls" || name == "--tlsverify":
			f.tls = true
			continue
		case name == "--tlscacert" || name == "--tlscert" || name == "--tlskey":
			if f.tls = true; !given {
				i++
			}
			continue
		case name == "-H" || name == "--host":
			if !given && i+1 < len(args) {
				i++
				value = args[i]
			}
		case strings.HasPrefix(args[i], "-H"):
			value = strings.TrimPrefix(args[i], "-H")
		default:
			f.rest = append(f.rest, args[i])
			continue
		}
		f.hosts = append(f.hosts, value)
	}
	return f
}

// daemon is dockerd as a consumer of a binding.
func (v *view) daemon(b *spec.Binding) Container {
	s := v.w.Daemons[b.Host.Name]
	state := "exited"
	if s.Active {
		state = "running"
	}
	return Container{Host: b.Host.Name, ID: engineID, Name: cmp.Or(s.Unit, engineID), State: state}
}

// ofEngine are the places of an engine's files, that which it is configured with first.
func (v *view) ofEngine(b *spec.Binding) ([]located, *Refusal) {
	s := v.w.Daemons[b.Host.Name]
	switch {
	case s.Away:
		return nil, &Refusal{State: Failed, Reason: s.Err, Hint: s.Hint}
	case s.Err != "":
		return nil, &Refusal{Reason: s.Err, Hint: s.Hint}
	}
	var at []located
	for _, name := range slots {
		l := located{at: s.slot(b.Host.Name, name), list: b.Files}
		if s.TLS == l.at.tls() {
			at = slices.Insert(at, 0, l)
			continue
		}
		at = append(at, l)
	}
	return at, nil
}

// OfDaemon reports whether a place is one that an engine's files are in: no other has a folder in a directory that no engine is
// needed for. It is on the machine of its host.
func (at Location) OfDaemon() bool {
	return at.Dir != "" && !at.Machine && slices.Contains(slots, at.Sub)
}
