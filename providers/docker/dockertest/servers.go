package dockertest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/providers/servertest"
)

// threads brings the library that glibc loads when a thread ends, and that no program names.
func (r rootfs) threads() {
	r.t.Helper()
	found, _ := filepath.Glob("/lib/*/libgcc_s.so.1")
	for _, library := range found {
		r.copy(library, library)
	}
}

func httpd(r rootfs) []string {
	r.shell()
	Servers(r.t, "apache2")
	r.user("www-data", 33, 33, "/var/www")
	r.elf(program("apache2"), "/usr/local/apache2/bin/httpd")
	r.threads()
	for _, m := range []string{"mpm_event", "authz_core", "ssl"} {
		library := "/usr/lib/apache2/modules/mod_" + m + ".so"
		r.elf(library, library)
	}
	r.configuration("httpd.conf", "/usr/local/apache2/conf/httpd.conf", 0o644)
	return []string{searchPath + ":/usr/local/apache2/bin", `CMD ["httpd", "-DFOREGROUND", "-f", "/usr/local/apache2/conf/httpd.conf"]`}
}

func mariadb(r rootfs) []string {
	r.shell()
	Servers(r.t, "mariadbd")
	r.user("mysql", 999, 999, "/var/lib/mysql")
	r.programs("/usr/sbin", "mariadbd")
	for _, name := range []string{"mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql", "english/errmsg.sys"} {
		r.copy("/usr/share/mysql/"+name, "/usr/share/mysql/"+name)
	}
	r.tree("/usr/share/mysql/charsets")
	r.configuration("mariadb-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh", 0o755)
	r.dir("/var/lib/mysql", 0o755, 999)
	r.dir("/run/mysqld", 0o755, 999)
	return []string{searchPath, "USER 999:999", `ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]`, `CMD ["mariadbd"]`}
}

func mosquitto(r rootfs) []string {
	r.shell()
	r.user("mosquitto", 1883, 1883, "/var/empty")
	r.programs("/usr/sbin", "mosquitto")
	return []string{searchPath, `CMD ["mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]`}
}

func dovecot(r rootfs) []string {
	r.shell()
	r.user("dovecot", 1000, 1000, "/nonexistent")
	r.user("dovenull", 1001, 1001, "/nonexistent")
	r.user("nobody", 65534, 65534, "/nonexistent")
	r.programs("/usr/sbin", "dovecot")
	r.programs("/usr/bin", "doveadm", "doveconf")
	services, _ := filepath.Glob("/usr/lib/dovecot/*")
	for _, name := range services { // the master wants to see every one that its configuration has by default
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && !strings.Contains(name, ".") {
			r.elf(name, name)
		}
	}
	module := "/usr/lib/dovecot/modules/libssl_iostream_openssl.so"
	r.elf(module, module)
	r.configuration("dovecot.conf", "/etc/dovecot/dovecot.conf", 0o644)
	return []string{searchPath, `CMD ["dovecot", "-F"]`}
}

func postfix(r rootfs) []string {
	r.shell()
	Servers(r.t, "postfix")
	r.user("postfix", 100, 101, "/var/spool/postfix")
	r.user("nobody", 65534, 65534, "/nonexistent")
	group := r.nodes["/etc/group"]
	r.file("/etc/group", 0o644, append(group.data, "postdrop:x:102:\n"...))
	r.programs("/usr/sbin", "postfix", "postconf", "postlog", "postsuper")
	r.programs("/bin", "sed")
	for _, name := range []string{"master", "smtpd", "pickup", "cleanup", "qmgr", "tlsmgr", "trivial-rewrite", "anvil", "postlogd"} {
		r.elf("/usr/lib/postfix/sbin/"+name, "/usr/lib/postfix/sbin/"+name)
	}
	r.copy("/usr/lib/postfix/sbin/postfix-script", "/usr/lib/postfix/sbin/postfix-script")
	r.configuration("postfix-main.cf", "/etc/postfix/main.cf", 0o644)
	r.configuration("postfix-master.cf", "/etc/postfix/master.cf", 0o644)
	r.dir("/var/lib/postfix", 0o700, 100)
	r.dir("/var/spool/postfix", 0o755, 0)
	r.dir("/var/spool/postfix/pid", 0o755, 0)
	for _, name := range []string{
		"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "private", "public", "saved", "trace",
	} {
		r.dir("/var/spool/postfix/"+name, 0o700, 100)
	}
	return []string{searchPath, `CMD ["/usr/lib/postfix/sbin/master", "-i", "-c", "/etc/postfix"]`}
}

func openldap(r rootfs) []string {
	r.shell()
	Servers(r.t, "slapd")
	r.user("openldap", 911, 911, "/nonexistent")
	r.threads()
	r.programs("/usr/sbin", "slapd")
	r.elf(program("slapd"), "/usr/sbin/slapadd") // one program under two names
	r.copy("/etc/ldap/schema/core.ldif", "/etc/ldap/schema/core.ldif")
	r.dir("/etc/ldap/slapd.d", 0o700, 911)
	r.dir("/var/run/slapd", 0o755, 911)
	r.configuration("openldap-config.ldif", "/etc/ldap/config.ldif", 0o644)
	r.configuration("openldap-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh", 0o755)
	return []string{searchPath, `ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]`, `CMD ["slapd", "-d", "0"]`}
}

func nats(r rootfs) []string {
	r.shell()
	r.programs("/usr/bin", "nats-server")
	return []string{searchPath, `CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]`}
}

func rabbitmq(r rootfs) []string {
	r.shell()
	Servers(r.t, "rabbitmq-server", "setpriv")
	r.user("rabbitmq", 999, 999, "/var/lib/rabbitmq")
	r.programs("/usr/bin", "setpriv", "basename", "date", "dirname", "expr", "readlink", "sed")
	r.below("/usr/lib/erlang", "src", "include", "examples")
	r.below("/usr/lib/rabbitmq/lib")
	machines, _ := filepath.Glob("/usr/lib/erlang/erts-*/bin/*")
	for _, name := range machines {
		r.elf(name, name)
	}
	r.nodes["/usr/bin/erl"] = node{mode: 0o777 | os.ModeSymlink, link: "/usr/lib/erlang/bin/erl"}
	sbin, _ := filepath.Glob("/usr/lib/rabbitmq/lib/*/sbin")
	r.threads()
	r.configuration("rabbitmq-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh", 0o755)
	r.dir("/var/lib/rabbitmq", 0o755, 999)
	r.dir("/var/log/rabbitmq", 0o755, 999)
	return []string{
		searchPath + ":" + strings.Join(sbin, ":"), "ENV HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-",
		`ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]`, `CMD ["rabbitmq-server"]`,
	}
}

func etcd(r rootfs) []string {
	r.shell()
	r.programs("/usr/bin", "etcd")
	return []string{searchPath, `ENTRYPOINT ["etcd"]`}
}

func registry(r rootfs) []string {
	r.shell()
	Servers(r.t, "docker-registry")
	r.elf(program("docker-registry"), "/bin/registry")
	return []string{searchPath, `CMD ["registry", "serve", "/etc/docker/registry/config.yml"]`}
}

func caddy(r rootfs) []string {
	r.shell()
	r.programs("/usr/bin", "caddy")
	return []string{searchPath, "ENV XDG_DATA_HOME=/tmp XDG_CONFIG_HOME=/tmp", `CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]`}
}

func prometheus(r rootfs) []string {
	r.shell()
	r.user("nobody", 65534, 65534, "/nonexistent")
	r.programs("/bin", "prometheus")
	r.dir("/prometheus", 0o755, 65534)
	r.file("/etc/prometheus/prometheus.yml", 0o644, nil)
	return []string{
		searchPath, "USER 65534:65534", "WORKDIR /prometheus",
		`CMD ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus", "--web.listen-address=:8443", "--web.config.file=/etc/prometheus/web.yml"]`,
	}
}

// These are built from their Go modules, as Debian has none.
var (
	vaultTool = servertest.NewTool("vault", "vault")
	minioTool = servertest.NewTool("minio", "minio")
)

func vault(r rootfs) []string {
	r.shell()
	r.user("vault", 100, 1000, "/nonexistent")
	r.copy(vaultTool.Path(r.t), "/bin/vault")
	return []string{
		searchPath, "USER 100:1000",
		`CMD ["vault", "-address", "0.0.0.0:8443", "-certificate", "/certs/cert.pem", "-key", "/certs/key.pem", "-clients", "/certs/ca.pem"]`,
	}
}

func minio(r rootfs) []string {
	r.shell()
	r.copy(minioTool.Path(r.t), "/usr/bin/minio")
	r.dir("/data", 0o755, 0)
	return []string{searchPath, `ENTRYPOINT ["minio"]`, `CMD ["server", "--address", ":8443", "--certs-dir", "/certs", "/data"]`}
}
