package spec_test

import (
	"testing"

	"github.com/certwright/certwright/spec"
)

// TestPresetStarts has images as they are run most, with the commands their entry points and a Compose file give them, and some
// that run something else.
func TestPresetStarts(t *testing.T) {
	for _, row := range []struct{ image, command, want string }{
		{"nginx:1.29", "/docker-entrypoint.sh nginx -g 'daemon off;'", "nginx"},
		{"nginx:1.29", "", "nginx"},
		{"nginx:1.29", "/docker-entrypoint.sh bash", ""},
		{"haproxy:3.2", "docker-entrypoint.sh -W -f /etc/haproxy.cfg", "haproxy"},
		{"postgres:17", "docker-entrypoint.sh postgres", "postgres"},
		{"postgres:17", "docker-entrypoint.sh -c ssl=on", "postgres"},
		{"postgres:17", "docker-entrypoint.sh bash", ""},
		{"mariadb:11", "docker-entrypoint.sh --ssl-cert=/certs/cert.pem", "mariadb"},
		{"mysql:8.4", "docker-entrypoint.sh mysqld", "mysql"},
		{"mysql:8.4", "docker-entrypoint.sh --require-secure-transport=ON", "mysql"},
		{"valkey/valkey:8", "docker-entrypoint.sh --tls-port 6379", "redis"},
		{"nats:2-alpine", "docker-entrypoint.sh --tls", "nats"},
		{"envoyproxy/envoy:v1.35.0", "/docker-entrypoint.sh -c /etc/envoy/envoy.yaml", "envoy"},
		{"hashicorp/vault:1.20", "docker-entrypoint.sh server", "vault"},
		{"hashicorp/vault:1.20", "docker-entrypoint.sh agent -config=/etc/agent.hcl", ""},
		{"openbao/openbao", "docker-entrypoint.sh server -dev", "openbao"},
		{"quay.io/openbao/openbao-distroless:2.4", "/usr/bin/bao server -config=/etc/bao", "openbao"},
		{"minio/minio", "/usr/bin/docker-entrypoint.sh server /data", "minio"},
		{"docker.elastic.co/elasticsearch/elasticsearch:9.1.0", "/bin/tini -- /usr/local/bin/docker-entrypoint.sh eswrapper", "elasticsearch"},
		{"grafana/grafana", "/run.sh", "grafana"},
		{"coturn/coturn", "docker-entrypoint.sh --log-file=stdout --external-ip=$(detect-external-ip)", "coturn"},
		{"coturn/coturn", "docker-entrypoint.sh sh", ""},
		{"osixia/openldap:1.5.0", "/container/tool/run", "openldap"},
		{"registry:2", "/entrypoint.sh /etc/docker/registry/config.yml", "registry"},
		{"registry:3", "/entrypoint.sh /etc/distribution/config.yml", "registry"},
		{"registry:3", "/entrypoint.sh serve /config.yml", "registry"},
		{"mongo:8", "docker-entrypoint.sh mongod --tlsMode requireTLS", "mongodb"},
		{"mongodb/mongodb-community-server:8.0-ubi9", "python3 /usr/local/bin/docker-entrypoint.py mongod", "mongodb"},
		{"apache/kafka:4.1.0", "/__cacert_entrypoint.sh /etc/kafka/docker/run", "kafka"},
		{"traefik:v3.6", "/entrypoint.sh --providers.file.directory=/etc/traefik/dynamic", "traefik"},
		{"traefik:v3.6", "/entrypoint.sh sh", ""},
		{"unit:1.34.1-minimal", "/usr/local/bin/docker-entrypoint.sh unitd --no-daemon --control unix:/var/run/control.unit.sock", "unit"},
		{"example.com/shop", "nginx", ""},
	} {
		p, known, ok := spec.PresetOfImage(row.image)
		if !ok || !p.Starts(known, row.command) {
			p.Name = ""
		}
		if p.Name != row.want {
			t.Errorf("%s, %q: %q, want %q", row.image, row.command, p.Name, row.want)
		}
	}
}
