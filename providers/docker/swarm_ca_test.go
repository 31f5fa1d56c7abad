package docker

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
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
	want := reconcile.SwarmCA{Lifetime: 90 * 24 * time.Hour, Nodes: []reconcile.SwarmNode{{Name: m.Hostname, State: "ready", Root: ca.Root, Issuer: ca.Issuer, Address: net.JoinHostPort(m.Address, "2377")}}}
	if diff := cmp.Diff(want, ca, cmpopts.IgnoreFields(reconcile.SwarmCA{}, "Root", "Issuer", "NotAfter", "Certificate"), cmpopts.EquateEmpty()); diff != "" || ca.Root != fingerprint(ca.Certificate) || ca.NotAfter.IsZero() {
		t.Errorf("%+v (-want +got)\n%s", ca, diff)
	}

	// Labels of others stay, and an update from what is not so any more is none.
	is, err := m.Client.SwarmInspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is.Spec.Labels = map[string]string{"theirs": "1", "ours": "1"}
	expect(t, m.Client.SwarmUpdate(t.Context(), is.Version, is.Spec, swarm.UpdateFlags{}), "")
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: ca.Root, Labels: map[string]string{"ours": "2"}, Lifetime: 2 * time.Hour, Rotate: true}), "")
	err = engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: ca.Root, Rotate: true})
	if !errors.Is(err, reconcile.ErrChanged) || !strings.HasPrefix(err.Error(), "nothing was changed: somebody else has begun to rotate the Swarm's root") {
		t.Errorf("a rotation that was begun already: %v", err)
	}
	now := rested(t, engines)
	if now.Forced != 1 || now.Root == ca.Root || now.Issuer == ca.Issuer || now.Lifetime != 2*time.Hour || now.Foreign != "" || !cmp.Equal(now.Labels, map[string]string{"theirs": "1", "ours": "2"}) {
		t.Errorf("after a rotation: %+v", now)
	}

	// Somebody else is faster.
	meddle(func() {
		meddle(nil)
		expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: 1, Lifetime: 3 * time.Hour}), "")
	})
	err = engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: 1, Rotate: true})
	if err == nil || !strings.Contains(err.Error(), "update out of sequence") {
		t.Errorf("an update of what has changed: %v", err)
	}
	if now = rested(t, engines); now.Forced != 1 || now.Lifetime != 3*time.Hour {
		t.Errorf("after an update of what has changed: %+v", now)
	}

	// A CA outside gets to sign, and that is not done twice.
	outside := m.NodeCA(t)
	to := &reconcile.NodeCA{URL: outside.URL, Root: outside.Root.Raw}
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: 1, External: to}), "")
	if now = rested(t, engines); now.Root != fingerprint(outside.Root.Raw) || !cmp.Equal(now.Signers(), []string{outside.URL}) || now.Foreign != "" || outside.Signed.Load() == 0 {
		t.Errorf("with a CA outside, which signed %d certificates: %+v", outside.Signed.Load(), now)
	}
	err = engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: 1, Rotating: true, External: to})
	if !errors.Is(err, reconcile.ErrChanged) || !strings.HasPrefix(err.Error(), "nothing was changed: the Swarm's root is not being rotated any more") {
		t.Errorf("what was to end a rotation that is over: %v", err)
	}
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: 1, Rotate: true}), "")
	if now = rested(t, engines); now.Forced != 2 || len(now.Signers()) != 0 || now.Foreign != "" {
		t.Errorf("back from a CA outside: %+v", now)
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
	expect(t, engines.UpdateSwarm(soon(t), "local", reconcile.SwarmUpdate{Root: now.Root, Forced: now.Forced, Lifetime: 4 * time.Hour}), "")
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

// managed is an engine whose manager says this of its Swarm, and takes an update or answers with an error.
func managed(t *testing.T, is, refusal string) *Engine {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/swarm"):
			_, _ = w.Write([]byte(is))
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			_, _ = w.Write([]byte(`[]`))
		case strings.HasSuffix(r.URL.Path, "/swarm/update") && refusal != "":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, `{"message":%q}`, refusal)
		}
	}))
	t.Cleanup(server.Close)
	return New("local", Options{Endpoint: strings.Replace(server.URL, "http", "tcp", 1), Getenv: func(string) string { return "" }})
}

// TestExternalCAs has those that others gave a Swarm: one without a certificate has the present root, and no password is
// shown.
func TestExternalCAs(t *testing.T) {
	pemOf := func(a authority) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw}))
	}
	root, other := newAuthority(t), newAuthority(t)
	is := fmt.Sprintf(`{"TLSInfo":{"TrustRoot":%q},"Spec":{"CAConfig":{"ExternalCAs":[
		{"URL":"https://one"},{"URL":"https://two:s3cret@two/sign","CACert":%q},{"URL":"https://three","CACert":%q},{"URL":"https://f:s3cret@[four"}]}}}`,
		pemOf(root), pemOf(root), pemOf(other))
	ca := managed(t, is, "").SwarmCA(soon(t))
	if want := []string{"https://one", "https://two:xxxxx@two/sign", "an address that is none"}; ca.Err != "" || !cmp.Equal(want, ca.Signers()) {
		t.Errorf("%s, the signers are %q, want %q", ca.Err, ca.Signers(), want)
	}
}

// TestSwarmUpdateComesSecond has somebody else change the Swarm first: that is no failure.
func TestSwarmUpdateComesSecond(t *testing.T) {
	for name, row := range map[string]struct {
		is, refusal string
		update      reconcile.SwarmUpdate
	}{
		"since it was read":    {`{}`, "rpc error: code = Unknown desc = update out of sequence", reconcile.SwarmUpdate{}},
		"since it was planned": {`{"Spec":{"CAConfig":{"ForceRotate":1}}}`, "", reconcile.SwarmUpdate{}},
		"it is rotated":        {`{"RootRotationInProgress":true}`, "", reconcile.SwarmUpdate{}},
		"another root":         {`{}`, "", reconcile.SwarmUpdate{Root: "another"}},
		"it was rotated":       {`{}`, "", reconcile.SwarmUpdate{Rotating: true}},
	} {
		if err := managed(t, row.is, row.refusal).UpdateSwarm(soon(t), row.update); !errors.Is(err, reconcile.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
