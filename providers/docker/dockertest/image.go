package dockertest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/gofrs/flock"
)

// Kind is a kind of image that Image can make.
type Kind string

// The kinds. Users, paths and the last word of the image's name are those of the official image, in its Debian flavour.
const (
	Nginx    Kind = "nginx"      // master root, workers 101; sites in /etc/nginx/conf.d; PID 1 is nginx
	Postgres Kind = "postgres"   // 999; data made at the first start from POSTGRES_USER and POSTGRES_DB; PID 1 is postgres
	Redis    Kind = "redis"      // 999; redis-server and redis-cli; arguments are the configuration
	HAProxy  Kind = "haproxy"    // 99; reads /usr/local/etc/haproxy/haproxy.cfg as a master with one worker
	Curl     Kind = "curl"       // 100:101; curl, psql, openssl and a shell; sleeps for ever
	GoClient Kind = "tlsload"    // the command tlsload alone, no shell: it keeps connecting and counts
	Own      Kind = "certwright" // certwright itself, alone
	GoServer Kind = "tlsserver"  // the command tlsserver alone, no shell; see its flags for how it takes new files

	// These read /certs; the ones whose configuration is in the image serve TLS on 8443.
	HTTPD      Kind = "httpd"             // root, workers 33; /usr/local/apache2/conf/httpd.conf, which includes /certs.conf if it is there
	MariaDB    Kind = "mariadb"           // 999; accounts made by MARIADB_INIT at the first start; arguments are mariadbd's
	Mosquitto  Kind = "eclipse-mosquitto" // starts as root, goes on as 1883; reads /mosquitto/config/mosquitto.conf
	Dovecot    Kind = "dovecot"           // root and three more; includes /etc/dovecot/more.conf
	Postfix    Kind = "postfix"           // root, 100; smtpd on 8443
	OpenLDAP   Kind = "openldap"          // 911; its configuration in slapd.d, to which root can write
	NATS       Kind = "nats"              // root; reads /etc/nats/nats-server.conf
	RabbitMQ   Kind = "rabbitmq"          // starts as root, goes on as 999; reads /etc/rabbitmq/rabbitmq.conf
	Etcd       Kind = "etcd"              // root; arguments are the configuration
	Registry   Kind = "registry"          // root; reads /etc/docker/registry/config.yml
	Caddy      Kind = "caddy"             // root; reads /etc/caddy/Caddyfile
	Prometheus Kind = "prometheus"        // 65534; reads /etc/prometheus/web.yml
	Vault      Kind = "vault"             // 100; cert.pem and key.pem, and clients of ca.pem
	MinIO      Kind = "minio"             // root; public.crt and private.key

	// These have a trust store and who reads it, sleep for ever, and are root. But for Debian's the tools of the distributions
	// are scripts in their place.
	Debian Kind = "debian" // curl, openssl, and update-ca-certificates
	Fedora Kind = "fedora"
	SUSE   Kind = "suse"
	Arch   Kind = "arch"   // as of before there was update-ca-trust
	Bundle Kind = "bundle" // curl and openssl, a bundle file, and no tool
	Java   Kind = "java"   // a JVM and keytool
	NSS    Kind = "nss"    // certutil and tstclnt, with a database in /etc/pki/nssdb
)

// images are the names of those this process has seen to. To gather what goes into one takes a second or two.
var images = struct {
	sync.Mutex
	names map[Kind]string
}{names: map[Kind]string{}}

// Image makes the image of a kind unless the engine has it, and returns its name. It stays for later runs; its tag
// is a hash of all that went into it.
func Image(t testing.TB, kind Kind) string {
	t.Helper()
	cli := Engine(t)
	images.Lock()
	defer images.Unlock()
	if images.names[kind] == "" {
		images.names[kind] = makeImage(t, cli, kind)
	}
	return images.names[kind]
}

func makeImage(t testing.TB, cli *client.Client, kind Kind) string {
	t.Helper()
	lay, ok := recipes[kind]
	if !ok {
		t.Fatalf("image: no recipe for %q", kind)
	}
	root := rootfs{t: t, nodes: map[string]node{}}
	root.basics()
	changes := append(lay(root), "LABEL "+Label+"=image")
	name := "certwright-test/" + string(kind) + ":" + root.hash(changes...)

	defer hold(t, "image-"+string(kind))()
	_, err := cli.ImageInspect(t.Context(), name)
	switch {
	case errdefs.IsNotFound(err):
		importImage(t, cli, root, name, changes)
	case err != nil:
		t.Fatalf("image %s: %v", name, err)
	}
	return name
}

func importImage(t testing.TB, cli *client.Client, root rootfs, name string, changes []string) {
	t.Helper()
	read, write := io.Pipe()
	go func() { write.CloseWithError(root.tar(write)) }()
	defer read.Close()
	reply, err := cli.ImageImport(t.Context(), image.ImportSource{Source: read, SourceName: "-"}, name, image.ImportOptions{Changes: changes})
	if err != nil {
		t.Fatalf("import image %s: %v", name, err)
	}
	defer reply.Close()
	// The engine answers 200 at once; a failure comes later, as a line of the stream.
	for lines := json.NewDecoder(reply); ; {
		var line struct{ Error string }
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return
		} else if err != nil || line.Error != "" {
			t.Fatalf("import image %s: %v %s", name, err, line.Error)
		}
	}
}

// hold waits until no other test process of this machine holds name, holds it, and returns how to let go.
// The lock goes with the process, so a killed test holds nothing.
func hold(t testing.TB, name string) (release func()) {
	t.Helper()
	lock := flock.New(filepath.Join(os.TempDir(), "certwright-test-"+name+".lock"))
	if _, err := lock.TryLockContext(t.Context(), 20*time.Millisecond); err != nil {
		t.Fatalf("wait for %s: %v", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }
}
