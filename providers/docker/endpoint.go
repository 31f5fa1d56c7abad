package docker

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/client"
)

// endpoint is where an engine listens and what proves it.
type endpoint struct {
	address    string // unix:///var/run/docker.sock, tcp://host:2376, ssh://user@host
	named      bool   // by a flag or the environment, not merely the default
	certs      string // a directory with ca.pem, cert.pem and key.pem, any of them may be absent; "" for no TLS
	skipVerify bool
}

// resolve finds the endpoint as the docker command does: the context, the endpoint, DOCKER_HOST, DOCKER_CONTEXT,
// the current context of config.json, the default.
func resolve(o Options) (endpoint, error) {
	config := o.Getenv("DOCKER_CONFIG")
	if config == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "/root"
		}
		config = filepath.Join(home, ".docker")
	}
	switch {
	case o.Context != "":
		e, err := fromContext(config, o.Context)
		if err == nil && o.TLS && e.unproved() {
			err = fmt.Errorf("docker context %q leads to %s without TLS that proves the engine, and keys would go there in the clear or to anybody: give it certificates and let it verify, or use ssh", o.Context, e.address)
		}
		return named(e, err)
	case o.Endpoint != "":
		return named(fromAddress(config, o.Endpoint, o.Getenv, o.TLS))
	case o.Getenv("DOCKER_HOST") != "":
		return named(fromAddress(config, o.Getenv("DOCKER_HOST"), o.Getenv, false))
	case o.Getenv("DOCKER_CONTEXT") != "":
		return named(fromContext(config, o.Getenv("DOCKER_CONTEXT")))
	}
	var file struct{ CurrentContext string }
	if err := readJSON(filepath.Join(config, "config.json"), &file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return endpoint{address: client.DefaultDockerHost}, fmt.Errorf("docker's configuration: %w", err)
	}
	if file.CurrentContext != "" {
		return fromContext(config, file.CurrentContext)
	}
	return endpoint{address: client.DefaultDockerHost}, nil
}

func named(e endpoint, err error) (endpoint, error) {
	e.named = true
	return e, err
}

// fromAddress takes TLS from DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, which count for tcp only.
func fromAddress(config, address string, getenv func(string) string, always bool) (endpoint, error) {
	e := endpoint{address: address}
	if strings.HasPrefix(address, "tcp://") && (always || getenv("DOCKER_TLS_VERIFY") != "") {
		e.certs = getenv("DOCKER_CERT_PATH")
		if e.certs == "" {
			e.certs = config
		}
	}
	return e, nil
}

// fromContext reads a context of the docker command: contexts/meta/<sha256 of the name>/meta.json, and its
// certificates in contexts/tls/<same>/docker.
func fromContext(config, name string) (endpoint, error) {
	if name == "default" {
		return endpoint{address: client.DefaultDockerHost}, nil
	}
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	e := endpoint{address: "context " + name}
	err := readJSON(filepath.Join(config, "contexts", "meta", id, "meta.json"), &meta)
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("no docker context named %q; list them with: docker context ls", name)
	}
	if err != nil {
		return e, fmt.Errorf("docker context %q: %w", name, err)
	}
	docker, ok := meta.Endpoints["docker"]
	if !ok || docker.Host == "" {
		return e, fmt.Errorf("docker context %q names no engine", name)
	}
	e.address, e.skipVerify = docker.Host, docker.SkipTLSVerify
	certs := filepath.Join(config, "contexts", "tls", id, "docker")
	if _, err := os.Stat(certs); err == nil {
		e.certs = certs
	}
	return e, nil
}

// readJSON reads a configuration file of at most a megabyte.
func readJSON(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// client makes the API client of an endpoint, which is that of a host. environ is the environment of ssh, refused takes the calls
// that are.
func (e endpoint) client(host string, environ []string, refused *refusals) (*client.Client, error) {
	transport := &http.Transport{MaxIdleConns: 6, IdleConnTimeout: answerTimeout}
	if e.certs != "" || e.skipVerify {
		config, err := e.tls()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	requests := &http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}
	opts := []client.Opt{
		client.WithHTTPClient(requests),
		client.WithAPIVersionNegotiation(),
	}
	if strings.HasPrefix(e.address, "ssh://") {
		dial, err := sshDialer(e.address, environ)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.WithHost("tcp://docker.invalid"), client.WithDialContext(dial))
	} else {
		opts = append(opts, client.WithHost(e.address))
	}
	cli, err := client.NewClientWithOpts(opts...)
	requests.Transport = timely{refusing{bounded{requests.Transport}, refused}, host + " at " + e.address} // only now: the client looks into its transport when it is made
	if strings.HasPrefix(e.address, "ssh://") {
		transport.Proxy = nil // WithHost sets it, and ssh has no use for an HTTP proxy
	}
	return cli, err
}

// tls reads what is there of ca.pem, cert.pem and key.pem.
func (e endpoint) tls() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: e.skipVerify, MinVersion: tls.VersionTLS12}
	if e.certs == "" {
		return config, nil
	}
	ca, err := os.ReadFile(filepath.Join(e.certs, "ca.pem"))
	switch {
	case err == nil:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%s/ca.pem holds no certificate", e.certs)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(e.certs, "cert.pem"), filepath.Join(e.certs, "key.pem"))
		return &pair, err
	}
	switch _, err := own(nil); {
	case err == nil:
		config.GetClientCertificate = own // for each connection: a watch lives longer than a certificate
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("client certificate of the engine in %s: %w", e.certs, err)
	}
	return config, nil
}

// unproved reports whether what is sent to the engine can be read on a network, or by whoever answers there.
func (e endpoint) unproved() bool {
	u, err := url.Parse(e.address)
	if err != nil || u.Scheme != "tcp" && u.Scheme != "http" || e.certs != "" && !e.skipVerify {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// onMachine reports whether the engine listens on a socket of this machine.
func (e endpoint) onMachine() bool { return strings.HasPrefix(e.address, "unix://") }

// publishedHost is the address under which the published ports of the engine's machine are reached.
func (e endpoint) publishedHost() string {
	if e.onMachine() {
		return "127.0.0.1"
	}
	u, err := url.Parse(e.address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
