package spec_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/spec"
)

const contextYAML = `
version: 1
project: shop
cas: {root: {local: {}}}
identities: {ops: {ca: root, usages: [client]}}
bindings:
  ops: {identity: ops, context: {name: core-02, endpoint: "tcp://core-02:2376"}}
  env: {identity: ops, context: {name: default, endpoint: "tcp://core-02:2376"}}
`

// TestContext has the files of a context where docker looks for them, as the environment says.
func TestContext(t *testing.T) {
	// printf %s core-02 | sha256sum
	const id = "82ad3d29be0d38d124abbe7d69ffb719b4a7f6e3f71f0afa0433c42db7490c4c"
	for name, row := range map[string]struct {
		env        map[string]string
		config     string
		complaints string
	}{
		"HOME":          {map[string]string{"HOME": "/home/ops"}, "/home/ops/.docker", ""},
		"DOCKER_CONFIG": {map[string]string{"HOME": "/home/ops", "DOCKER_CONFIG": "/etc/ops/"}, "/etc/ops", ""},
		"neither": {nil, "", "tls.yaml:7:24: bindings.ops.context: docker's configuration is not known: set HOME or DOCKER_CONFIG\n" +
			"tls.yaml:8:24: bindings.env.context: docker's configuration is not known: set HOME or DOCKER_CONFIG"},
		"not absolute": {map[string]string{"DOCKER_CONFIG": "conf"}, "", "tls.yaml:7:24: bindings.ops.context: DOCKER_CONFIG is \"conf\", and must be an absolute path\n" +
			"tls.yaml:8:24: bindings.env.context: DOCKER_CONFIG is \"conf\", and must be an absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte(contextYAML)}}, func(name string) (string, bool) {
				text, set := row.env[name]
				return text, set
			})
			if row.complaints != "" {
				if d := cmp.Diff(row.complaints, fmt.Sprint(err)); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ops, env := s.Bindings[0].Place.Context, s.Bindings[1].Place.Context
			got := []string{ops.TLS(), ops.MetaDir(), ops.CertPath(), ops.Backups(), env.TLS(), env.MetaDir(), env.CertPath(), env.Backups()}
			want := []string{
				row.config + "/contexts/tls/" + id, row.config + "/contexts/meta/" + id, row.config + "/contexts/tls/" + id + "/docker",
				row.config + "/contexts/certwright-backup/core-02", row.config, "", row.config, "",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}
