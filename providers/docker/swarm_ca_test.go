package docker

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
)

// checkSwarmCA has a real manager show its CA, rotate its root, and be given another. meddle sets what happens before
// an update.
func checkSwarmCA(t *testing.T, m dockertest.Manager, engines Engines, meddle func(func())) {
	t.Helper()
	before := len(manager.Requests())
	listed := engines.Swarm(soon(t), "local")
	if n := len(manager.Requests()) - before; n != 6 {
		t.Errorf("a list of the Swarm is %d requests", n)
	}
	ca := engines.SwarmCA(soon(t), "local")
	if diff := cmp.Diff(listed.CA, ca); diff != "" {
		t.Errorf("the list and the CA alone (-want +got)\n%s", diff)
	}
	want := reconcile.SwarmCA{Lifetime: 90 * 24 * time.Hour, Nodes: []reconcile.SwarmNode{{Name: m.Hostname, State: "ready", Root: ca.Root, Issuer: ca.Issuer}}}
	if diff := cmp.Diff(want, ca, cmpopts.IgnoreFields(reconcile.SwarmCA{}, "Root", "Issuer", "NotAfter"), cmpopts.EquateEmpty()); diff != "" || len(ca.Root) != 64 || ca.NotAfter.IsZero() {
		t.Errorf("%+v (-want +got)\n%s", ca, diff)
	}

	// Labels of others stay, and an update from what is not so any more is none.
	is, err := m.Client.SwarmInspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is.Spec.Labels = map[string]string{"theirs": "1", "ours": "1"}
	expect(t, m.Client.SwarmUpdate(t.Context(), is.Version, is.Spec, swarm.UpdateFlags{}), "")
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Labels: map[string]string{"ours": "2"}, Lifetime: 2 * time.Hour, Rotate: true}), "")
	err = engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Rotate: true})
	if err == nil || err.Error() != "nothing was changed: somebody else has begun to rotate the Swarm's root" {
		t.Errorf("a rotation that was begun already: %v", err)
	}
	now := rested(t, engines)
	if now.Forced != 1 || now.Root == ca.Root || now.Issuer == ca.Issuer || now.Lifetime != 2*time.Hour || now.Foreign != "" || !cmp.Equal(now.Labels, map[string]string{"theirs": "1", "ours": "2"}) {
		t.Errorf("after a rotation: %+v", now)
	}

	// Somebody else is faster.
	meddle(func() {
		meddle(nil)
		expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Forced: 1, Lifetime: 3 * time.Hour}), "")
	})
	err = engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Forced: 1, Rotate: true})
	if err == nil || !strings.Contains(err.Error(), "update out of sequence") {
		t.Errorf("an update of what has changed: %v", err)
	}
	if now = rested(t, engines); now.Forced != 1 || now.Lifetime != 3*time.Hour {
		t.Errorf("after an update of what has changed: %+v", now)
	}

	// A root that somebody gave it.
	a := newAuthority(t)
	long := *a.root // Swarm takes none that ends soon
	long.NotAfter = time.Now().AddDate(10, 0, 0)
	root := parsed(t)(x509.CreateCertificate(rand.Reader, &long, &long, a.key.Public(), a.key))
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	if is, err = m.Client.SwarmInspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	is.Spec.CAConfig.SigningCACert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	is.Spec.CAConfig.SigningCAKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	is.Spec.CAConfig.ForceRotate++
	expect(t, m.Client.SwarmUpdate(t.Context(), is.Version, is.Spec, swarm.UpdateFlags{}), "")
	if now = rested(t, engines); now.Root != fingerprint(root.Raw) || now.Foreign != "its root was given to it, and Swarm would replace it by one of its own" {
		t.Errorf("with another root: %+v", now)
	}
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Forced: now.Forced, Lifetime: 4 * time.Hour}), "")
	if now = rested(t, engines); now.Root != fingerprint(root.Raw) || now.Lifetime != 4*time.Hour {
		t.Errorf("another lifetime with another root: %+v", now)
	}
}

// rested waits until no rotation is under way and every node has a certificate of the present root.
func rested(t *testing.T, engines Engines) (ca reconcile.SwarmCA) {
	t.Helper()
	dockertest.Poll(t, time.Minute, "the rotation to end", func() error {
		ca = engines.SwarmCA(soon(t), "local")
		if ca.Err != "" || ca.Rotating || ca.TLS(ca.Nodes[0]) != "ready" {
			return errors.New(ca.Err)
		}
		return nil
	})
	return ca
}

// TestSwarmReplies has managers that say little, or nonsense.
func TestSwarmReplies(t *testing.T) {
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t).root.Raw}))
	for name, row := range map[string]struct{ swarm, nodes, err, foreign string }{
		"no root":         {`{}`, `[]`, "engine local: the root of its Swarm: it is no PEM", ""},
		"no certificate":  {`{"TLSInfo":{"TrustRoot":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}}`, `[]`, "engine local: the root of its Swarm: x509: malformed certificate", ""},
		"no nodes":        {`{"TLSInfo":{"TrustRoot":%q}}`, `nonsense`, "engine local at ", ""},
		"an external CA":  {`{"TLSInfo":{"TrustRoot":%q},"Spec":{"CAConfig":{"ExternalCAs":[{"URL":"https://ca"}]}}}`, `[]`, "", "an external CA issues"},
		"a reticent node": {`{"TLSInfo":{"TrustRoot":%q,"CertIssuerSubject":"AAAA","CertIssuerPublicKey":"AAAA"}}`, `[{"ID":"id1"}]`, "", "its root was given to it"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/swarm"):
					_, _ = w.Write([]byte(strings.Replace(row.swarm, "%q", fmt.Sprintf("%q", root), 1)))
				case strings.HasSuffix(r.URL.Path, "/nodes"):
					_, _ = w.Write([]byte(row.nodes))
				}
			}))
			t.Cleanup(server.Close)
			e := New("local", Options{Endpoint: strings.Replace(server.URL, "http", "tcp", 1), Getenv: func(string) string { return "" }})
			ca := e.SwarmCA(soon(t))
			if !strings.HasPrefix(ca.Err, row.err) || row.err == "" && ca.Err != "" || !strings.HasPrefix(ca.Foreign, row.foreign) {
				t.Errorf("%+v", ca)
			}
			if len(ca.Nodes) == 1 && (ca.Nodes[0].Name != "id1" || ca.TLS(ca.Nodes[0]) != "unknown") {
				t.Errorf("the node is %+v, %s", ca.Nodes[0], ca.TLS(ca.Nodes[0]))
			}
		})
	}
}

func reportedBy(ca reconcile.SwarmCA) error {
	if ca.Err == "" {
		return nil
	}
	return errors.New(ca.Err)
}
