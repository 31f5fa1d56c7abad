// Package steptest gives tests a real step-ca server on loopback, built from its Go module in testdata/step-ca, so that
// what it depends on stays out of the product's go.mod. Only tests import it.
package steptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/servertest"
)

// Password decrypts the keys of the JWK provisioners.
const Password = "the password of all provisioners"

// The provisioners that every CA has. Birth is of the type X5C, the others of JWK, and Once renews nothing.
const (
	Docker = "docker"
	Once   = "once"
	Birth  = "birth certificates"
	ACME   = "acme-0" // gives five minutes, to names that are proved at the addresses below
)

// CA is a server with a root and an intermediate, whose certificates live from ten seconds to a year.
type CA struct {
	t           testing.TB
	dir         string
	URL         string
	Fingerprint string // of the root, as the spec has it
	Root        []byte // DER
	HTTP01      string // the address at which names are proved to provisioners of the type ACME
	TLSALPN01   string // likewise
	Key         *ecdsa.PrivateKey
	issuer      servertest.Issuer
	birth       servertest.Issuer
	server      *servertest.Server
}

var tool = servertest.NewTool("step-ca", "step-ca")

// Start makes a CA of its own for a test, and has its server answer. Where it cannot be built the test is skipped, or fails
// when CERTWRIGHT_TEST_REQUIRE has `servers`.
func Start(t testing.TB) *CA {
	t.Helper()
	tool.Need(t)
	ca := &CA{t: t, dir: t.TempDir()}
	root := servertest.NewIssuer(t, "Root", nil)
	ca.issuer = servertest.NewIssuer(t, "Intermediate", &root)
	ca.birth = servertest.NewIssuer(t, "Birth", nil)
	ca.Root = root.Certificate.Raw
	sum := sha256.Sum256(ca.Root)
	ca.Fingerprint = hex.EncodeToString(sum[:])
	ca.file("root.pem", root.PEM())
	ca.file("crt.pem", ca.issuer.PEM())
	ca.file("key.pem", ca.issuer.KeyPEM(t))
	ca.configure()
	ca.Up()
	t.Cleanup(ca.Down)
	return ca
}

func (ca *CA) configure() {
	t := ca.t
	t.Helper()
	var err error
	if ca.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	address := servertest.FreeAddress(t)
	ca.URL = "https://" + address
	ca.HTTP01, ca.TLSALPN01 = servertest.FreeAddress(t), servertest.FreeAddress(t)
	// More than fit on one page of the list, before and after those that are used.
	provisioners := []map[string]any{}
	for i := range 130 {
		provisioners = append(provisioners, map[string]any{
			"type": "ACME", "name": fmt.Sprintf("acme-%d", i), "claims": map[string]any{"defaultTLSCertDuration": "5m"},
		})
	}
	provisioners = append(provisioners,
		ca.jwk(Docker, nil), ca.jwk(Once, map[string]any{"disableRenewal": true}),
		map[string]any{"type": "X5C", "name": Birth, "roots": ca.birth.PEM()},
	)
	config, err := json.Marshal(map[string]any{
		"root": ca.path("root.pem"), "crt": ca.path("crt.pem"), "key": ca.path("key.pem"),
		"address": address, "dnsNames": []string{"127.0.0.1", "localhost"}, "logger": map[string]any{"format": "text"},
		"db": map[string]any{"type": "badgerv2", "dataSource": ca.path("db")},
		"authority": map[string]any{
			"claims":       map[string]any{"minTLSCertDuration": "10s", "maxTLSCertDuration": "8760h"},
			"provisioners": provisioners,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ca.file("ca.json", config)
}

// jwk is a provisioner whose key is encrypted as the step command does it.
func (ca *CA) jwk(name string, more map[string]any) map[string]any {
	t := ca.t
	t.Helper()
	key := jose.JSONWebKey{Key: ca.Key, KeyID: name, Algorithm: string(jose.ES256), Use: "sig"}
	plain, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	to := jose.Recipient{Algorithm: jose.PBES2_HS256_A128KW, Key: []byte(Password), PBES2Count: 600_000}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, to, (&jose.EncrypterOptions{}).WithContentType("jwk+json"))
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := encrypter.Encrypt(plain)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"type": "JWK", "name": name, "key": key.Public(), "encryptedKey": encrypted, "claims": more}
}

// Up starts the server and waits for it to answer.
func (ca *CA) Up() {
	t := ca.t
	t.Helper()
	_, http01, _ := net.SplitHostPort(ca.HTTP01)
	_, tlsALPN01, _ := net.SplitHostPort(ca.TLSALPN01)
	ca.server = tool.Start(t, ca.dir, "--insecure", "--acme-http-port", http01, "--acme-tls-port", tlsALPN01, ca.path("ca.json"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(PEM(ca.Root)))
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	dockertest.Poll(t, dockertest.Patience, "step-ca to answer", func() error {
		response, err := client.Get(ca.URL + "/health")
		if err != nil {
			return fmt.Errorf("%w; it says\n%s", err, ca.server.Said())
		}
		return response.Body.Close()
	})
}

// Down stops the server; what it has stays.
func (ca *CA) Down() {
	if ca.server != nil {
		ca.server.Stop()
		ca.server = nil
	}
}

func (ca *CA) path(name string) string { return filepath.Join(ca.dir, name) }

func (ca *CA) file(name string, data []byte) {
	ca.t.Helper()
	if err := os.WriteFile(ca.path(name), data, 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// Vouch writes birth.pem and birth.key into a directory: a certificate that the provisioner Birth takes until its end.
func (ca *CA) Vouch(dir string, end time.Time) {
	ca.t.Helper()
	ca.birth.Leaf(ca.t, "a machine", end).Write(ca.t, filepath.Join(dir, "birth.pem"), filepath.Join(dir, "birth.key"))
}
