package spec

import (
	"slices"
	"strings"
)

// Preset is a server that is known: how it takes new files up, what it wants of them, and how that is seen. It is data; a
// server is added by adding a row.
type Preset struct {
	Name     string
	Images   []string // the last path elements of images that are surely this server
	Entry    []string // what a command has that starts it and does not name it: the entry points of its images put the name before
	User     string   // who must be able to read the files, by name in the container; "" for root
	Files    string   // what its files hold, in the words of `files`
	Act      Reload   // what makes it read them again: a signal, a command, a restart or nothing; or empty beside Ask
	Ask      string   // or what it is told over its own protocol, which is that of its probe
	Protocol string   // of its probe, "" for TLS at once
	Port     int      // where it serves TLS
	Proved   bool     // on the real server, by a test; else it is only what its documentation says
	Source   string   // whose words Act and Ask are
	NoPair   NoPair   // what it does with files that are no pair
	Misses   bool     // a handshake that comes just then may fail
	Does     string   // what Act comes to in words, where it is long
	Note     string   // what else to know, for the documentation
}

// NoPair is what a server does when it is to take up files that are no pair, as measured on those that are proved.
type NoPair string

const (
	Keeps  NoPair = "keeps the old one"
	Breaks NoPair = "serves none until it is mended"
	Ends   NoPair = "ends"
)

const twoFiles = "fullchain, key"

// options is how the command of an image begins that has the server's options alone.
const options = "docker-entrypoint.sh -"

// Presets are the servers that are known, each once.
var Presets = []Preset{
	{
		Name: "nginx", Images: []string{"nginx"}, Files: twoFiles, Act: Reload{Signal: "HUP"}, Port: 443,
		NoPair: Keeps, Proved: true, Source: "nginx.org, Controlling nginx",
	},
	{
		Name: "haproxy", Images: []string{"haproxy"}, Entry: []string{options},
		User: "haproxy", Files: "combined", Act: Reload{Signal: "HUP"}, Port: 443,
		NoPair: Keeps, Proved: true, Source: "HAProxy, management guide, 3", Note: "to its master: run it with `-W`",
	},
	{
		Name: "httpd", Images: []string{"httpd"}, Files: twoFiles, Act: Reload{Signal: "USR1"}, Port: 443,
		NoPair: Ends, Proved: true, Source: "httpd.apache.org, Stopping and Restarting",
	},
	{
		Name: "caddy", Images: []string{"caddy"}, Files: twoFiles,
		Act: Reload{Exec: []string{"caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile"}}, Port: 443,
		NoPair: Keeps, Proved: true, Source: "caddyserver.com, Command Line", Misses: true, Note: "its admin endpoint must be on; it resets connections that wait for it just then, [unless](#missed-handshakes)",
	},
	{
		Name: "postgres", Images: []string{"postgres", "timescaledb"}, Entry: []string{options},
		User: "postgres", Files: twoFiles, Act: Reload{Signal: "HUP"},
		Protocol: "postgres", Port: 5432, NoPair: Keeps, Proved: true, Source: "PostgreSQL manual, 19.9",
	},
	{
		Name: "mariadb", Images: []string{"mariadb"}, Entry: []string{options},
		User: "mysql", Files: twoFiles, Ask: "FLUSH SSL", Protocol: "mysql", Port: 3306,
		NoPair: Keeps, Proved: true, Source: "mariadb.com, FLUSH", Note: "since 10.4; by an account with RELOAD",
	},
	{
		Name: "mysql", Images: []string{"mysql"}, Entry: []string{options},
		User: "mysql", Files: twoFiles, Ask: "ALTER INSTANCE RELOAD TLS", Protocol: "mysql", Port: 3306,
		Source: "MySQL manual, ALTER INSTANCE", Note: "since 8.0.16; by an account with CONNECTION_ADMIN",
	},
	{
		Name: "redis", Images: []string{"redis", "valkey"}, Entry: []string{options},
		User: "redis", Files: twoFiles, Ask: "CONFIG SET tls-cert-file", Protocol: "redis",
		Port: 6379, NoPair: Keeps, Proved: true, Source: "redis.io, CONFIG SET", Note: "of the same paths; also Valkey",
	},
	{
		Name: "mosquitto", Images: []string{"eclipse-mosquitto", "mosquitto"}, User: "mosquitto", Files: twoFiles, Act: Reload{Signal: "HUP"},
		Protocol: "mqtt", Port: 8883, NoPair: Breaks, Proved: true, Source: "mosquitto(8), since 2.0",
	},
	{
		Name: "nats", Images: []string{"nats", "nats-server"}, Entry: []string{options}, Files: twoFiles, Act: Reload{Signal: "HUP"}, Protocol: "nats", Port: 4222,
		NoPair: Keeps, Proved: true, Source: "docs.nats.io, Signals",
	},
	{
		Name: "rabbitmq", Images: []string{"rabbitmq"}, User: "rabbitmq", Files: twoFiles,
		Act:      Reload{Exec: []string{"rabbitmqctl", "eval", "ssl:clear_pem_cache()."}},
		Protocol: "amqp", Port: 5671, NoPair: Breaks, Proved: true, Source: "rabbitmq.com, TLS Support, Certificate and Private Key Rotation",
		Note: "without it within two minutes",
	},
	{
		Name: "dovecot", Images: []string{"dovecot"}, Files: twoFiles, Act: Reload{Exec: []string{"doveadm", "reload"}}, Protocol: "imap", Port: 143,
		NoPair: Breaks, Proved: true, Source: "doveadm(1)",
	},
	{
		Name: "postfix", Images: []string{"postfix"}, Files: "combined-key-first", Act: Reload{Exec: []string{"postfix", "reload"}}, Protocol: "smtp",
		Port: 25, NoPair: Breaks, Proved: true, Source: "postfix(1), TLS_README", Note: "as `smtpd_tls_chain_files`",
	},
	{
		Name: "openldap", Images: []string{"openldap"}, Entry: []string{"/container/tool/run"},
		User: "openldap", Files: twoFiles, Act: Reload{Restart: true}, Protocol: "ldap",
		Port: 389, NoPair: Ends, Proved: true, Source: "slapd(8), slapd-config(5)",
		Note: "HUP ends it",
	},
	{
		Name: "etcd", Images: []string{"etcd"}, Files: twoFiles, Act: Reload{None: true}, Port: 2379,
		Misses: true, NoPair: Breaks, Proved: true, Source: "etcd, client/pkg/transport/listener.go", Note: "reads both files at each handshake, which fails if they change between, [unless](#missed-handshakes); its CA at the start alone",
	},
	{
		Name: "prometheus", Images: []string{"prometheus"}, User: "nobody", Files: twoFiles,
		Act: Reload{None: true}, Port: 9090, Misses: true, NoPair: Breaks, Proved: true, Source: "prometheus.io, HTTPS and authentication", Note: "reads both files at each handshake, which fails if they change between, [unless](#missed-handshakes)",
	},
	{
		Name: "registry", Images: []string{"registry"}, Entry: []string{"entrypoint.sh /etc/distribution/", "entrypoint.sh serve"},
		Files: twoFiles, Act: Reload{Restart: true}, Port: 5000,
		NoPair: Ends, Proved: true, Source: "distribution, registry.go", Note: "loads its pair once",
	},
	{
		Name: "vault", Images: []string{"vault"}, Entry: []string{"docker-entrypoint.sh server"},
		User: "vault", Files: twoFiles, Act: Reload{Signal: "HUP"}, Port: 8200,
		NoPair: Keeps, Proved: true, Source: "developer.hashicorp.com, Vault, TCP listener",
	},
	{
		Name: "openbao", Images: []string{"openbao", "openbao-ubi", "openbao-distroless"}, Entry: []string{"docker-entrypoint.sh server", "bao server"},
		User: "openbao", Files: twoFiles, Act: Reload{Signal: "HUP"}, Port: 8200,
		Source: "openbao.org, TCP listener",
	},
	{
		Name: "minio", Images: []string{"minio"}, Entry: []string{"docker-entrypoint.sh server"},
		Files: twoFiles, Act: Reload{Signal: "HUP"}, Port: 9000,
		NoPair: Keeps, Proved: true, Source: "min.io, Network Encryption", Note: "files `public.crt` and `private.key`",
	},
	{
		Name: "mongodb", Images: []string{"mongo", "mongodb-community-server", "mongodb-enterprise-server"}, Entry: []string{"mongod"}, User: "mongodb", Files: "combined",
		Act:  Reload{Exec: []string{"mongosh", "--quiet", "--tls", "--tlsAllowInvalidCertificates", "--eval", "db.adminCommand({rotateCertificates: 1})"}},
		Port: 27017, Source: "MongoDB manual, rotateCertificates", Note: "since 5.0; where it has accounts, as an `exec` with one of them",
	},
	{
		Name: "kafka", Images: []string{"kafka"}, Entry: []string{"/etc/kafka/docker/run"}, User: "appuser", Files: "pkcs12",
		Act: Reload{Exec: []string{
			"/opt/kafka/bin/kafka-configs.sh", "--bootstrap-server", "localhost:9092", "--entity-type", "brokers", "--entity-name", "1",
			"--alter", "--add-config", "listener.name.ssl.ssl.keystore.location=/etc/kafka/secrets/keystore.p12",
		}},
		Port: 9093, Source: "kafka.apache.org, Updating SSL Keystore of an Existing Listener",
		Note: "the same path again makes it look at the file; as an `exec` where broker, listener or path are others",
	},
	{
		Name: "traefik", Images: []string{"traefik"}, Entry: []string{"/entrypoint.sh -"}, Files: twoFiles, Act: Reload{None: true}, Port: 443,
		Source: "doc.traefik.io, File provider", Note: "where the files lie in `providers.file.directory`; else `{signal: HUP}`, which is since 3.0 and ends earlier ones; instead of files that are no pair it serves a certificate of its own",
	},
	{
		Name: "unit", Images: []string{"unit"}, Entry: []string{"unitd"}, Files: "combined", Act: Reload{Exec: []string{"sh", "-c", unitReload}}, Port: 443,
		Source: "unit.nginx.org, Certificates", Does: "uploads `/certs/combined.pem` as a new bundle over its control socket, gives it to the listener `*:443`, and deletes the one before",
		Note: "a bundle that was not made so is left",
	},
	{
		Name: "elasticsearch", Images: []string{"elasticsearch"}, Entry: []string{"docker-entrypoint.sh eswrapper"},
		User: "elasticsearch", Files: twoFiles, Act: Reload{None: true}, Port: 9200,
		Source: "elastic.co, Update TLS certificates", Note: "looks every five seconds",
	},
	{
		Name: "envoy", Images: []string{"envoy"}, Entry: []string{options}, User: "envoy", Files: twoFiles, Act: Reload{None: true}, Port: 443,
		Source: "envoyproxy.io, SDS, Certificate rotation", Note: "by SDS from files, with `watched_directory`",
	},
	{
		Name: "coturn", Images: []string{"coturn"}, Entry: []string{options}, User: "nobody", Files: twoFiles, Act: Reload{Signal: "USR2"}, Port: 5349,
		Source: "coturn, README.turnserver",
	},
	{
		Name: "grafana", Images: []string{"grafana", "grafana-oss", "grafana-enterprise"}, Entry: []string{"/run.sh"},
		User: "grafana", Files: twoFiles, Act: Reload{Restart: true}, Port: 3000,
		Source: "grafana.com, Configure Grafana, server", Note: "with `certs_watch_interval` it looks by itself: `reload: none`",
	},
}

// PresetNamed returns the row of a name.
func PresetNamed(name string) (Preset, bool) {
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, false
	}
	return Presets[i], true
}

// ImageName is the last path element of an image, without its tag and digest: nginx of docker.io/library/nginx:1.27-alpine.
func ImageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return name
}

// PresetOfImage returns the row of an image such as docker.io/library/nginx:1.27-alpine, and the name by which it is known.
func PresetOfImage(image string) (p Preset, known string, ok bool) {
	known = ImageName(image)
	i := slices.IndexFunc(Presets, func(p Preset) bool { return slices.Contains(p.Images, known) })
	if i < 0 {
		return Preset{}, "", false
	}
	return Presets[i], known, true
}

// Starts reports whether a command starts the server of an image that is known by a name. An image can run something else, a
// shell for one, which a signal ends. A command that is not known, "", is taken for the image's own.
func (p Preset) Starts(known, command string) bool {
	words := append([]string{known, p.Name}, p.Entry...)
	return command == "" || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(command, w) })
}

// How says in a few words what makes the server read its files again.
func (p Preset) How() string {
	switch {
	case p.Does != "":
		return p.Does
	case p.Ask != "":
		return "`" + p.Ask + "` over its own protocol"
	case p.Act.Signal != "":
		return p.Act.Signal
	case len(p.Act.Exec) > 0:
		return "`" + strings.Join(p.Act.Exec, " ") + "` in the container"
	case p.Act.Restart:
		return "a restart, if it is named"
	}
	return "nothing: it notices by itself"
}

func presetNames() []string {
	names := make([]string, len(Presets))
	for i, p := range Presets {
		names[i] = p.Name
	}
	return names
}
