package dockertest

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// configurations are the files the images bring along.
//
//go:embed images
var configurations embed.FS

// recipes fill a root and return the changes to the image's configuration (docker import --change).
var recipes = map[Kind]func(rootfs) []string{
	Nginx:    nginx,
	Postgres: postgres,
	Redis:    redis,
	HAProxy:  haproxy,
	Curl:     curl,
	GoServer: goServer,
	GoClient: goClient,
	Own:      own,

	HTTPD:      httpd,
	MariaDB:    mariadb,
	Mosquitto:  mosquitto,
	Dovecot:    dovecot,
	Postfix:    postfix,
	OpenLDAP:   openldap,
	NATS:       nats,
	RabbitMQ:   rabbitmq,
	Etcd:       etcd,
	Registry:   registry,
	Caddy:      caddy,
	Prometheus: prometheus,
	Vault:      vault,
	MinIO:      minio,

	Debian: debian,
	Fedora: extracting("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/usr/bin/update-ca-trust"),
	SUSE:   extracting("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "/etc/pki/trust/anchors", "/var/lib/ca-certificates/ca-bundle.pem", "/usr/sbin/update-ca-certificates"),
	Arch:   extracting("ID=arch\n", "/etc/ca-certificates/trust-source/anchors", "/etc/ca-certificates/extracted/tls-ca-bundle.pem", "/usr/libexec/p11-kit/trust-extract-compat"),
	Bundle: bundleOnly,
	Java:   java,
	NSS:    nssTools,
}

const searchPath = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// basics is what every image has: root, name resolution, and the directories that programs take for granted.
func (r rootfs) basics() {
	r.file("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	r.file("/etc/group", 0o644, []byte("root:x:0:\n"))
	r.file("/etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files dns\n"))
	r.dir("/tmp", 0o777|os.ModeSticky, 0)
	r.dir("/root", 0o700, 0)
	r.dir("/run", 0o755, 0)
	r.dir("/var/run", 0o755, 0)
}

// user adds a user and its group to /etc.
func (r rootfs) user(name string, uid, gid int, home string) {
	passwd, group := r.nodes["/etc/passwd"], r.nodes["/etc/group"]
	r.file("/etc/passwd", 0o644, fmt.Appendf(passwd.data, "%s:x:%d:%d::%s:/bin/sh\n", name, uid, gid, home))
	r.file("/etc/group", 0o644, fmt.Appendf(group.data, "%s:x:%d:\n", name, gid))
}

// shell brings /bin/sh and the few programs that scripts and tests call.
func (r rootfs) shell() {
	r.t.Helper()
	r.programs("/bin", "dash")
	r.nodes["/bin/sh"] = node{mode: 0o777 | os.ModeSymlink, link: "dash"}
	r.programs("/usr/bin", "cat", "chmod", "chown", "id", "ls", "mkdir", "sleep", "stat")
}

// configuration puts a file of the images directory at a path.
func (r rootfs) configuration(name, at string, mode os.FileMode) {
	r.t.Helper()
	data, err := configurations.ReadFile("images/" + name)
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
	r.file(at, mode, data)
}

func nginx(r rootfs) []string {
	r.shell()
	r.user("nginx", 101, 101, "/nonexistent")
	r.programs("/usr/sbin", "nginx")
	r.configuration("nginx.conf", "/etc/nginx/nginx.conf", 0o644)
	r.dir("/etc/nginx/conf.d", 0o755, 0)
	r.dir("/var/lib/nginx", 0o755, 101)
	r.dir("/var/log/nginx", 0o755, 0)
	return []string{searchPath, "EXPOSE 80", `CMD ["nginx", "-g", "daemon off;"]`}
}

func postgres(r rootfs) []string {
	r.shell()
	r.user("postgres", 999, 999, "/var/lib/postgresql")
	Servers(r.t, "postgres", "initdb", "psql", "setpriv")
	bin := filepath.Dir(program("postgres"))
	version := filepath.Base(filepath.Dir(bin))
	for _, name := range []string{"postgres", "initdb", "psql", "pg_isready", "pg_ctl"} {
		r.elf(filepath.Join(bin, name), filepath.Join(bin, name))
	}
	for _, name := range []string{"plpgsql.so", "dict_snowball.so"} { // initdb loads both
		library := filepath.Join(filepath.Dir(bin), "lib", name)
		r.elf(library, library)
	}
	r.tree("/usr/share/postgresql/"+version, "man", "contrib")
	r.copy("/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC")
	r.programs("/usr/bin", "setpriv")
	r.configuration("postgres-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh", 0o755)
	r.dir("/var/lib/postgresql", 0o755, 999)
	r.dir("/var/lib/postgresql/data", 0o700, 999)
	r.dir("/var/run/postgresql", 0o755, 999)
	return []string{
		fmt.Sprintf("%s:%s", searchPath, bin), "ENV PGDATA=/var/lib/postgresql/data TZ=UTC",
		"VOLUME /var/lib/postgresql/data", "EXPOSE 5432",
		`ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]`, `CMD ["postgres"]`,
	}
}

func redis(r rootfs) []string {
	r.shell()
	r.user("redis", 999, 999, "/data")
	r.programs("/usr/bin", "redis-server", "redis-cli")
	r.dir("/data", 0o755, 999)
	return []string{searchPath, "USER 999:999", "WORKDIR /data", "EXPOSE 6379", `ENTRYPOINT ["redis-server"]`}
}

func haproxy(r rootfs) []string {
	r.shell()
	r.user("haproxy", 99, 99, "/var/lib/haproxy")
	r.programs("/usr/sbin", "haproxy")
	r.dir("/usr/local/etc/haproxy", 0o755, 0)
	r.dir("/var/lib/haproxy", 0o755, 99)
	return []string{
		searchPath, "USER 99:99",
		`CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]`,
	}
}

func curl(r rootfs) []string {
	r.shell()
	r.user("curl_user", 100, 101, "/tmp")
	r.programs("/usr/bin", "curl", "openssl", "psql")
	r.file("/etc/ssl/openssl.cnf", 0o644, nil)
	return []string{searchPath, "USER 100:101", `CMD ["sleep", "infinity"]`}
}

func goServer(r rootfs) []string {
	r.program("tlsserver", "providers/docker/dockertest/tlsserver")
	return []string{"EXPOSE 8443", `ENTRYPOINT ["/tlsserver"]`}
}

func goClient(r rootfs) []string {
	r.program("tlsload", "providers/probe/load/tlsload")
	return []string{`ENTRYPOINT ["/tlsload"]`}
}

func own(r rootfs) []string {
	r.program("certwright", "cmd/certwright")
	return []string{`ENTRYPOINT ["/certwright"]`}
}

// commands are those of this repository that were built already: each engine of a test's own has its images made anew.
var commands known[[]byte]

// program builds a command of this repository.
func (r rootfs) program(name, path string) {
	r.t.Helper()
	Servers(r.t, "go")
	r.file("/"+name, 0o755, commands.get(path, func() []byte {
		out := filepath.Join(r.t.TempDir(), name)
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "github.com/certwright/certwright/"+path)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if reply, err := build.CombinedOutput(); err != nil {
			r.t.Fatalf("build %s: %v\n%s", name, err, reply)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			r.t.Fatal(err)
		}
		return data
	}))
}
