package dockertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NodeCA is an external CA of a Swarm: a server that signs the certificates of nodes by the protocol of CFSSL.
type NodeCA struct {
	URL    string
	Root   *x509.Certificate
	Signed atomic.Int64 // certificates
	key    *ecdsa.PrivateKey
}

// NodeCA starts an external CA on the manager's machine. It ends with the test.
func (m Manager) NodeCA(t testing.TB) *NodeCA {
	t.Helper()
	ca := &NodeCA{}
	var err error
	if ca.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	root := &x509.Certificate{
		Subject: pkix.Name{CommonName: "outside"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if ca.Root, err = ca.sign(root, root, &ca.key.PublicKey); err != nil {
		t.Fatal(err)
	}
	own, err := ca.sign(&x509.Certificate{NotBefore: root.NotBefore, NotAfter: root.NotAfter, IPAddresses: []net.IP{net.ParseIP(m.Address)}}, ca.Root, &ca.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	l := m.listen(t)
	ca.URL = "https://" + l.Addr().String() + "/api/v1/cfssl/sign"
	server := &http.Server{
		Handler: http.HandlerFunc(ca.serve), ReadHeaderTimeout: 10 * time.Second,
		// Managers come with a certificate of the root of before while it is rotated.
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: ca.key}}, ClientAuth: tls.RequireAnyClientCert},
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return ca
}

// sign issues a certificate for the server itself, a node, or another CA.
func (ca *NodeCA) sign(template, parent *x509.Certificate, key any) (*x509.Certificate, error) {
	template.SerialNumber = big.NewInt(1 + ca.Signed.Load() + time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serve answers a request of swarmkit (ca/external.go: makeExternalSignRequest): the CSR gives the key, and the rest of the
// request what stands in the certificate.
func (ca *NodeCA) serve(w http.ResponseWriter, r *http.Request) {
	cert, err := ca.answer(r)
	type result struct {
		Certificate string `json:"certificate"`
	}
	type fault struct {
		Message string `json:"message"`
	}
	reply := struct {
		Success bool    `json:"success"`
		Result  *result `json:"result"`
		Errors  []fault `json:"errors"`
	}{Success: err == nil}
	if err != nil {
		reply.Errors = []fault{{err.Error()}}
	} else {
		ca.Signed.Add(1)
		reply.Result = &result{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))}
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func (ca *NodeCA) answer(r *http.Request) (*x509.Certificate, error) {
	var q struct {
		Request string   `json:"certificate_request"`
		Hosts   []string `json:"hosts"`
		Profile string   `json:"profile"`
		Subject struct {
			CN    string
			Names []struct{ O, OU string }
		} `json:"subject"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(q.Request))
	if block == nil {
		return nil, errors.New("no CSR")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: q.Subject.CN}, DNSNames: q.Hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range q.Subject.Names {
		c.Subject.Organization, c.Subject.OrganizationalUnit = append(c.Subject.Organization, n.O), append(c.Subject.OrganizationalUnit, n.OU)
	}
	if q.Profile == "CA" { // the root that comes after this one, so that both are believed for a while
		c.RawSubject, c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = csr.RawSubject, true, true, x509.KeyUsageCertSign, nil
	}
	return ca.sign(c, ca.Root, csr.PublicKey)
}

// listen opens a port on the manager's machine.
func (m Manager) listen(t testing.TB) (l net.Listener) {
	t.Helper()
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and is in another namespace by then
		opened <- func() error {
			namespace, err := os.Open("/run/netns/" + m.Namespace)
			if err != nil {
				return err
			}
			defer namespace.Close()
			if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			l, err = net.Listen("tcp", m.Address+":0")
			return err
		}()
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	return l
}
