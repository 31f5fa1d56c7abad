package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/certwright/certwright/spec"
)

// Exposure is a TCP socket of an engine that lets in whom it should not, and then who gets in is root there; or by which it is
// reached without being proved.
type Exposure struct{ Host, Address, Reason, Hint string }

// Admission is who an engine lets in at a TCP socket.
type Admission int

// The admissions.
const (
	Closed    Admission = iota // nobody answers, or it is no engine
	Guarded                    // clients with a certificate that it knows
	AnyClient                  // everybody who speaks TLS
	Anybody                    // everybody, in plain
)

// Audit says which engines are reached without being proved, and knocks at the TCP sockets of the engines that were asked, as
// far as they are known, as somebody without a certificate does. It changes nothing.
func Audit(ctx context.Context, p Providers, w World) []Exposure {
	const hint = "give it `engine: {listen: …}` in a binding, or take the socket away"
	var all []Exposure
	for _, host := range slices.Sorted(maps.Keys(w.Engines)) {
		if e := w.Engines[host]; e.Unproved {
			all = append(all, Exposure{
				Host: host, Address: e.Address, Reason: "is not verified: whoever answers there is sent keys, and says what runs",
				Hint: "have its docker context verify it, as a `context` in a binding does",
			})
		}
		for _, address := range w.sockets(ctx, p, host) {
			x := Exposure{Host: host, Address: address, Hint: hint}
			switch p.Daemons.Admits(ctx, host, address) {
			case Anybody:
				x.Reason = "lets anybody in, without TLS: who reaches it is root there"
			case AnyClient:
				x.Reason = "lets in clients without a certificate: who reaches it is root there"
			default:
				continue
			}
			all = append(all, x)
		}
	}
	return all
}

// sockets are where an engine listens on TCP: as it is configured and as it was started, and as it is reached.
func (w World) sockets(ctx context.Context, p Providers, host string) []string {
	if p.Daemons == nil {
		return nil
	}
	s, asked := w.Daemons[host]
	if !asked && host == spec.LocalHost { // for that alone, nothing is brought to another machine
		s = p.daemon(ctx, host)
	}
	var all []string
	for _, h := range slices.Concat(s.Hosts.Values, flagsOf(s.Command).hosts, flagsOf(s.Running).hosts) {
		if strings.HasPrefix(h, "tcp://") {
			all = append(all, spec.EngineTLS{Listen: []string{h}}.Address())
		}
	}
	if a := w.Engines[host].Address; a != "" {
		all = append(all, a)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
