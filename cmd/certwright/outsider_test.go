package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/providers/step/steptest"
	"github.com/certwright/certwright/providers/vault/vaulttest"
)

// outsider is a server before a real CA, of each kind: it may answer what it likes, and somebody else may be where it was.
type outsider struct {
	*forger
	*line
	spec string // what tls.yaml says of the CA
	vars map[string]string

	mu  sync.Mutex
	lie *lie // what it answers instead of a certificate, if it is not nil
	// fault, if it is not nil, sees each request first; what it reports true of it has answered.
	fault func(http.ResponseWriter, *http.Request) bool
}

// set has the server fail or lie from now on, or neither.
func (o *outsider) set(l *lie, fault func(http.ResponseWriter, *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lie, o.fault = l, fault
}

func (o *outsider) answers(csr *x509.CertificateRequest) (answer []byte, lies bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lie == nil {
		return nil, false
	}
	return o.lie.answer(o.forger, csr), true
}

func (o *outsider) fails(w http.ResponseWriter, r *http.Request) bool {
	o.mu.Lock()
	fault := o.fault
	o.mu.Unlock()
	return fault != nil && fault(w, r)
}

// outsiders start a CA of each kind in a scene's folder.
var outsiders = map[string]func(t *testing.T, dir string) *outsider{"exec": execOutsider, "step": stepOutsider, "acme": acmeOutsider, "vault": vaultOutsider}

// execOutsider is a command that has a server sign.
func execOutsider(t *testing.T, dir string) *outsider {
	o := &outsider{forger: newForger(t)}
	o.line = newLine(t, o.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.fails(w, r) {
			return
		}
		body, err := io.ReadAll(r.Body)
		block, _ := pem.Decode(body)
		if err != nil || block == nil {
			http.Error(w, "no PEM", http.StatusBadRequest)
			return
		}
		csr := request(t, block.Bytes)
		answer, lies := o.answers(csr)
		if !lies {
			answer = o.answer(csr, func(*x509.Certificate) {})
		}
		_, _ = w.Write(answer)
	})))
	o.place(dir, "roots.pem", o.root.PEM())
	o.spec = `exec: {command: [curl, -sSf, --noproxy, "*", --cacert, ` + dir + `/roots.pem, --data-binary, "@-", "` + o.address + `"], roots: roots.pem, timeout: 20s}`
	return o
}

// stepOutsider is a front before step-ca that has its key.
func stepOutsider(t *testing.T, _ string) *outsider {
	ca := steptest.Start(t)
	root, err := x509.ParseCertificate(ca.Root)
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{forger: forgerWith(t, servertest.Issuer{Certificate: root}, ca.Issuer()), vars: map[string]string{"STEP_PASSWORD": steptest.Password}}
	o.line = newLine(t, ca.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		if o.fails(w, r) {
			return true
		}
		question, is := asks(r)
		if !is {
			return false
		}
		answer, lies := o.answers(request(t, question))
		if lies {
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{"certChain": inChain(answer)})
		}
		return lies
	}))
	o.spec = fmt.Sprintf(`step: {url: "%s", fingerprint: %s, provisioner: %s, password: {env: STEP_PASSWORD}}`, o.address, ca.Fingerprint, steptest.Docker)
	return o
}

// vaultOutsider is a front before Vault with a root of its own among those of the CA.
func vaultOutsider(t *testing.T, dir string) *outsider {
	server := vaulttest.Start(t)
	o := &outsider{forger: newForger(t), vars: map[string]string{"VAULT_TOKEN": server.Token(map[string]any{"ttl": "1h"})}}
	learn("VAULT_TOKEN", []byte(o.vars["VAULT_TOKEN"]))
	o.line = newLine(t, server.Front(t, func(w http.ResponseWriter, r *http.Request) bool {
		if o.fails(w, r) {
			return true
		}
		question, is := asks(r)
		if !is {
			return false
		}
		answer, lies := o.answers(request(t, question))
		if lies {
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"certificate": string(answer)}})
		}
		return lies
	}))
	o.place(dir, "roots.pem", append(servertest.PEM("CERTIFICATE", server.Root), o.root.PEM()...))
	o.spec = fmt.Sprintf(`vault: {address: "%s", serverRoots: "%s", roots: roots.pem, mount: pki, role: docker, token: {env: VAULT_TOKEN}}`, o.address, server.ServerRoots)
	return o
}

// asks is the CSR in a request in JSON, if there is one. The request is left as it was.
func asks(r *http.Request) (csr []byte, is bool) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var question struct{ CSR string }
	if err != nil || json.Unmarshal(body, &question) != nil {
		return nil, false
	}
	block, _ := pem.Decode([]byte(question.CSR))
	if block == nil {
		return nil, false
	}
	return block.Bytes, true
}

// acmeOutsider is a front before Pebble with a root of its own among those of the CA. What it gave for an order once it gives
// again.
func acmeOutsider(t *testing.T, dir string) *outsider {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := newPebble(pebble(t), dir, "-http", port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.end)
	o := &outsider{forger: newForger(t)}
	at, err := url.Parse(server.Directory)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: at.Scheme, Host: at.Host})
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is on loopback
	var mu sync.Mutex
	var csr *x509.CertificateRequest // of the one identity
	given := map[string][]byte{}     // by path
	proxy.ModifyResponse = func(r *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		path := r.Request.URL.Path
		answer, err := io.ReadAll(r.Body)
		switch {
		case path == at.Path: // what it is asked about renewal is of certificates that it does not know
			answer = bytes.Replace(answer, []byte(`"renewalInfo"`), []byte(`"notThere"`), 1)
		case strings.HasPrefix(path, "/certZ/") && r.StatusCode == http.StatusOK:
			if before, known := given[path]; known {
				answer = before
			} else if lie, lies := o.answers(csr); lies {
				answer = lie
			}
			given[path] = answer
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
		r.Header.Set("Content-Length", fmt.Sprint(len(answer)))
		return err
	}
	o.line = newLine(t, o.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.fails(w, r) {
			return
		}
		if strings.HasPrefix(r.URL.Path, "/finalize-order/") {
			mu.Lock()
			csr = finalized(t, r)
			mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	})))
	roots := filepath.Join(dir, "roots.pem")
	o.place(dir, "roots.pem", append(read(t, roots), o.root.PEM()...))
	o.spec = fmt.Sprintf(`acme: {directory: "%s%s", roots: roots.pem, http01: {listen: "127.0.0.1:%s"}}`, o.address, at.Path, port)
	return o
}

// finalized is the request in one to finalize an order, which is left as it was.
func finalized(t testing.TB, r *http.Request) *x509.CertificateRequest {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Payload string }
	err = errors.Join(err, json.Unmarshal(body, &signed))
	payload, bad := base64.RawURLEncoding.DecodeString(signed.Payload)
	var question struct{ CSR string }
	err = errors.Join(err, bad, json.Unmarshal(payload, &question))
	der, bad := base64.RawURLEncoding.DecodeString(question.CSR)
	if err = errors.Join(err, bad); err != nil {
		t.Error(err)
		return nil
	}
	return request(t, der)
}

func request(t testing.TB, der []byte) *x509.CertificateRequest {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Error(err)
		return nil
	}
	return csr
}

func (o *outsider) place(dir, name string, data []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// asking is a scene with an identity of a CA outside that is placed.
func asking(t *testing.T, kind string) (scene, *outsider) {
	t.Helper()
	s := offline(t)
	o := outsiders[kind](t, s.dir)
	s.vars = o.vars
	s.write("tls.yaml", `version: 1
project: `+kind+`
cas:
  company: {`+o.spec+`}
identities:
  web: {ca: company, names: [web.test, www.web.test]}
bindings:
  web: {identity: web, trust: [company], directory: ./certs}
`)
	s.want(exitDone, "apply")
	return s, o
}

// good is what is placed, the leaf first, when a client that trusts what lies beside it takes it.
func good(t *testing.T, dir string) []byte {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(dir, "ca.pem")))
	others.AppendCertsFromPEM(read(t, filepath.Join(dir, "cert.pem")))
	for _, name := range []string{"web.test", "www.web.test"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: others}); err != nil {
			t.Error(err)
		}
	}
	return read(t, filepath.Join(dir, "cert.pem"))
}
