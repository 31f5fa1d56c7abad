package main

import (
	"cmp"
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestHostile has a CA of each kind answer with what it must not: what is published stays as it is to the byte, the cause is in
// status, and when the CA answers as it should the next certificate is there.
func TestHostile(t *testing.T) {
	t.Parallel()
	dockertest.Servers(t, "curl")
	words := map[string]map[string]string{
		"exec": {"": "it printed no certificate (PEM)", "no certificate in the PEM": "certificate 1"},
		"step": {
			"": "no certificate in PEM", "empty": "the answer holds no certificate", "too large": "is larger than 1048576 bytes",
			"no certificate in the PEM": "certificate 1",
		},
		"vault": {"": "the answer holds no certificate (PEM)", "too large": "is larger than", "no certificate in the PEM": "certificate 1"},
		"acme": {
			"": "the server answered without a certificate", "too large": "more than 262144 bytes",
			"no certificate in the PEM": "x509: malformed certificate",
		},
	}
	for kind := range outsiders {
		lanes := 1
		if kind == "acme" {
			lanes = 4 // most of the time is waited
		}
		for lane := range lanes {
			t.Run(fmt.Sprint(kind, " ", lane), func(t *testing.T) {
				t.Parallel()
				s, o := asking(t, kind)
				o.placed = good(t, s.certs)
				for i := lane; i < len(lies); i += lanes {
					l := lies[i]
					t.Run(l.name, func(t *testing.T) {
						s.t = t
						want := cmp.Or(words[kind][l.name], l.want, words[kind][""])
						before, old := tree(t, s.certs), placed(t, s.certs)
						o.set(&l, nil)
						s.says(s.want(exitPart, "rotate", "identity/web"), want)
						if diff := gocmp.Diff(before, tree(t, s.certs)); diff != "" {
							t.Errorf("what is published changed:\n%s", diff)
						}
						s.says(s.want(exitDone, "status"), want)
						o.set(nil, nil)
						s.want(exitDone, "apply")
						o.placed = good(t, s.certs)
						if placed(t, s.certs) == old {
							t.Error("it has not healed")
						}
					})
				}
			})
		}
	}
}
