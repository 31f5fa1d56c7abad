package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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
  hint: take shop-api-ca.pem-HASH from its service (` + "`docker service update --secret-rm shop-api-ca.pem-HASH SERVICE`" + `), remove it (` + "`docker secret rm shop-api-ca.pem-HASH`), and run `certwright apply`\n"
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

// TestServiceMarks has somebody take our labels from a secret. They come back, and the service is left in peace. A secret
// without them that holds something else is given to nobody.
func TestServiceMarks(t *testing.T) {
	t.Parallel()
	s := newSwarmScene(t, nil)
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)
	ca := s.mounted()[0]

	// An update would show in the spec before; the rest Swarm writes by itself.
	specs := func() (all [2]*swarm.ServiceSpec) {
		t.Helper()
		svc := s.m.Service(t, s.service)
		return [2]*swarm.ServiceSpec{&svc.Spec, svc.PreviousSpec}
	}
	at := specs()

	was := s.m.Secret(t, ca)
	unmark := func() {
		t.Helper()
		is := s.m.Secret(t, ca)
		is.Spec.Labels = map[string]string{"theirs": "1"}
		if err := s.m.Client.SecretUpdate(t.Context(), is.ID, is.Version, is.Spec); err != nil {
			t.Fatal(err)
		}
		s.state("Progressing", "secret is not marked as ours: ca.pem")
		r := s.want(exitPending, "plan", "--exit-code")
		if want := "place api in secrets of service " + s.name + "  secret is not marked as ours: ca.pem\n"; !strings.Contains(r.out, "1 step, interrupting nothing") || !strings.Contains(r.out, want) {
			t.Errorf("plan:\n%s", r.out)
		}
		if r := s.want(exitDone, "why", "api"); !strings.Contains(r.out, "placed   no: secret is not marked as ours: ca.pem\n") {
			t.Errorf("why:\n%s", r.out)
		}
	}
	marked := func(when string) {
		t.Helper()
		s.ready(2)
		want := maps.Clone(was.Spec.Labels)
		want["theirs"] = "1"
		if diff := cmp.Diff(want, s.m.Secret(t, ca).Spec.Labels); diff != "" {
			t.Errorf("%s, the labels (-want +got)\n%s", when, diff)
		}
		if diff := cmp.Diff(at, specs()); diff != "" {
			t.Errorf("%s: the service was updated (-before +after)\n%s", when, diff)
		}
	}
	unmark()
	s.want(exitDone, "apply")
	marked("after an apply")
	for _, when := range []string{"before", "after", "lost"} {
		unmark()
		s.at = s.at.Add(time.Minute)
		if _, what := s.run("1."+when+".POST /secrets", "apply"); what != "POST /secrets/{id}/update" {
			t.Fatalf("%s: struck was %q", when, what)
		}
		s.want(exitDone, "apply")
		marked(when)
	}

	s.replaced(swarm.SecretSpec{Annotations: swarm.Annotations{Name: ca}}, []byte("forged"))
	s.at = s.at.Add(time.Minute)
	was = s.m.Secret(t, ca)
	at = specs()
	r := s.want(exitPart, "apply")
	want := "secret " + ca + " was not made by certwright, and does not hold what ca.pem should: " +
		"take it from its services and remove it with `docker secret rm " + ca + "`"
	if !strings.Contains(r.out+r.err, want) {
		t.Errorf("a forged secret:\n%s%s", r.out, r.err)
	}
	if diff := cmp.Diff(at, specs()); diff != "" {
		t.Errorf("the service was updated (-before +after)\n%s", diff)
	}
	if diff := cmp.Diff(was, s.m.Secret(t, ca)); diff != "" {
		t.Errorf("the forged secret (-before +after)\n%s", diff)
	}
	s.want(exitPart, "verify", "--deep")
	taken := s.remount("ca.pem", nil)
	if err := s.m.Client.SecretRemove(t.Context(), taken.SecretID); err != nil {
		t.Fatal(err)
	}
	s.want(exitDone, "apply", "--wait", "1m")
	s.ready(2)
}
