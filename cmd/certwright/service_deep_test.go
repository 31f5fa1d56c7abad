package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// deep is what `verify --deep` says of the secrets, with HASH for what is hashed.
func (s *swarmScene) deep(code int) string {
	s.t.Helper()
	_, said, _ := strings.Cut(s.want(code, "verify", "--deep").out, "\nSecrets\n")
	return regexp.MustCompile(`-[0-9a-f]{12}\b`).ReplaceAllString(said, "-HASH")
}

const (
	deepAsWanted = `  api  ca.pem    shop-api-ca.pem-HASH    as wanted
  api  cert.pem  shop-api-cert.pem-HASH  as wanted
  api  key.pem   shop-api-key.pem-HASH   as wanted
`
	deepForged = `  api  ca.pem    shop-api-ca.pem-HASH    NOT AS WANTED: it holds something else
  api  cert.pem  shop-api-cert.pem-HASH  as wanted
  api  key.pem   shop-api-key.pem-HASH   as wanted
  hint: take shop-api-ca.pem-HASH from its service (` + "`docker service update --secret-rm shop-api-ca.pem-HASH SERVICE`" + `), remove it
  (` + "`docker secret rm shop-api-ca.pem-HASH`), and run `certwright apply`\n"
)

// TestServiceDeep has somebody forge a secret, with the name and the labels of one of ours. Only a comparison shows it.
func TestServiceDeep(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	s.write("  roots: {trust: [internal], directory: roots}\n")
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)

	secrets := func() (all []swarm.Secret) {
		t.Helper()
		for _, name := range s.mounted() {
			all = append(all, s.m.Secret(t, name))
		}
		return all
	}
	before := secrets()
	if diff := cmp.Diff(deepAsWanted, s.deep(exitDone)); diff != "" {
		t.Errorf("at rest (-want +got)\n%s", diff)
	}
	after := secrets()
	if diff := cmp.Diff(before, after, cmpopts.IgnoreFields(swarm.Meta{}, "Version", "UpdatedAt")); diff != "" {
		t.Errorf("the secrets changed (-before +after)\n%s", diff)
	}
	for i := range before {
		if after[i].Version.Index <= before[i].Version.Index {
			t.Errorf("%s was not compared", before[i].Spec.Name)
		}
	}
	s.want(exitDone, "plan", "--exit-code")
	if r := s.want(exitDone, "verify", "--deep", "roots"); strings.Contains(r.out, "Secrets") {
		t.Errorf("a binding without secrets:\n%s", r.out)
	}

	r, what := s.run("1.lost.POST /secrets", "verify", "--deep", "api")
	if r.code != exitPart || what != "POST /secrets/{id}/update" || !strings.Contains(r.out, "  not compared: compare secret "+s.mounted()[0]+": the reply got lost\n") {
		t.Errorf("a lost reply: exit %d\n%s%s", r.code, r.out, r.err)
	}

	// A line more makes as good a file for the server, and shows nowhere on the wire.
	data, err := os.ReadFile(filepath.Join(s.dir, "roots", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.replaced(before[0].Spec, append(data, '\n'))
	s.ready(2)
	s.want(exitDone, "verify")
	if diff := cmp.Diff(deepForged, s.deep(exitPart)); diff != "" {
		t.Errorf("forged (-want +got)\n%s", diff)
	}

	// As the hint has it.
	was := s.remount("ca.pem", nil)
	if err := s.m.Client.SecretRemove(t.Context(), was.SecretID); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)
	if diff := cmp.Diff(deepAsWanted, s.deep(exitDone)); diff != "" {
		t.Errorf("after the hint (-want +got)\n%s", diff)
	}
}

// replaced puts another secret in the place of that of ca.pem, under the name and the labels of spec.
func (s *swarmScene) replaced(spec swarm.SecretSpec, data []byte) {
	s.t.Helper()
	was := s.remount("ca.pem", nil)
	if err := s.m.Client.SecretRemove(s.t.Context(), was.SecretID); err != nil {
		s.t.Fatal(err)
	}
	spec.Data = data
	made, err := s.m.Client.SecretCreate(s.t.Context(), spec)
	if err != nil {
		s.t.Fatal(err)
	}
	s.remount("ca.pem", &swarm.SecretReference{SecretID: made.ID, SecretName: spec.Name})
}
