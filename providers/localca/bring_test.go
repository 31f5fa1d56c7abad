package localca

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const secret = "correct horse"

// broughtBy resolves every source to one passphrase.
func broughtBy(passphrase string) *CA {
	return &CA{
		Passphrase: func(spec.Source) ([]byte, error) { return []byte(passphrase), nil },
		Now:        func() time.Time { return time.Now() }, // openssl 3.0 dates what it makes by the clock alone
	}
}

func broughtCA(cert, key string) spec.CA {
	return spec.CA{Name: "company", Local: &spec.LocalCA{Certificate: cert, KeyFile: key, Passphrase: &spec.Source{Env: "CA_PASS"}}}
}

// opensslCA makes a root with openssl, and gives the paths of its certificate and plain PKCS#8 key.
func opensslCA(t testing.TB, dir string, genpkey ...string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	openssl(t, append([]string{"genpkey", "-out", key}, genpkey...)...)
	openssl(t, "req", "-x509", "-new", "-key", key, "-out", cert, "-days", "3650", "-subj", "/O=Company/CN=Company Root",
		"-addext", "keyUsage=critical,keyCertSign,cRLSign")
	return cert, key
}

// Every form in which openssl writes keys opens, and signs a leaf that openssl accepts.
func TestBringEveryKeyForm(t *testing.T) {
	pass := "pass:" + secret
	topk8 := func(args ...string) []string {
		return append([]string{"pkcs8", "-topk8", "-passout", pass}, args...)
	}
	for kind, algorithm := range map[string]struct {
		genpkey []string
		forms   map[string][]string
	}{
		"rsa": {[]string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, map[string][]string{
			"PKCS#1":                  {"rsa", "-traditional"},
			"PKCS#1, AES-256":         {"rsa", "-traditional", "-aes256", "-passout", pass},
			"PKCS#1, AES-128":         {"rsa", "-traditional", "-aes128", "-passout", pass},
			"PKCS#1, triple DES":      {"rsa", "-traditional", "-des3", "-passout", pass},
			"PKCS#8":                  {"pkcs8", "-topk8", "-nocrypt"},
			"PKCS#8, default":         topk8(),
			"PKCS#8, AES-128":         topk8("-v2", "aes-128-cbc"),
			"PKCS#8, AES-256, SHA-1":  topk8("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"),
			"PKCS#8, triple DES":      topk8("-v2", "des3"),
			"PKCS#8, 600,000 rounds":  topk8("-v2", "aes-256-cbc", "-iter", "600000"),
			"PKCS#8, scrypt":          topk8("-scrypt"),
			"PKCS#8, scrypt, careful": topk8("-scrypt", "-scrypt_N", "16384", "-scrypt_r", "8", "-scrypt_p", "4"),
		}},
		"ec": {[]string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"}, map[string][]string{
			"SEC1":            {"ec"},
			"SEC1, AES-256":   {"ec", "-aes256", "-passout", pass},
			"PKCS#8":          {"pkcs8", "-topk8", "-nocrypt"},
			"PKCS#8, default": topk8(),
		}},
		"ed25519": {[]string{"-algorithm", "ED25519"}, map[string][]string{
			"PKCS#8":          {"pkcs8", "-topk8", "-nocrypt"},
			"PKCS#8, default": topk8(),
		}},
	} {
		dir := t.TempDir()
		cert, plain := opensslCA(t, dir, algorithm.genpkey...)
		for form, args := range algorithm.forms {
			t.Run(kind+" "+form, func(t *testing.T) {
				key := filepath.Join(t.TempDir(), "key.pem")
				openssl(t, append(args, "-in", plain, "-out", key)...)
				c := broughtBy(secret)
				g, err := c.Bring(broughtCA(cert, key))
				if err != nil {
					t.Fatal(err)
				}
				opensslAccepts(t, c, g)
				if slices.Contains(args, pass) {
					_, err := broughtBy("wrong horse").Bring(broughtCA(cert, key))
					wantError(t, err, `CA "company": `+key+": the passphrase is wrong")
				}
			})
		}
	}
}

// opensslAccepts issues a leaf now and lets openssl verify it with the root's file.
func opensslAccepts(t *testing.T, c *CA, g reconcile.Generation) {
	t.Helper()
	issued, err := c.Issue(wantLeaf(), g, reconcile.PrivateKey{}, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	openssl(t, "verify", "-x509_strict", "-CAfile", write(t, dir, "root.pem", pemOf(issued.Root)),
		"-untrusted", write(t, dir, "chain.pem", pemOf(append(issued.Chain, issued.Root)...)), write(t, dir, "leaf.pem", pemOf(issued.Certificate)))
}

func TestBringFillsTheGeneration(t *testing.T) {
	dir := t.TempDir()
	cert, key := opensslCA(t, dir, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	g, err := broughtBy("").Bring(broughtCA(cert, key))
	if err != nil {
		t.Fatal(err)
	}
	parsed := parse(t, g.Certificate)
	want := reconcile.Generation{
		ID: 1, State: reconcile.GenerationActive, Certificate: parsed.Raw, Key: g.Key,
		KeyID: fmt.Sprintf("%x", parsed.SubjectKeyId), NotBefore: parsed.NotBefore, NotAfter: parsed.NotAfter,
	}
	if diff := cmp.Diff(want, g, cmp.Comparer(sameKey)); diff != "" {
		t.Error(diff)
	}
	if text := openssl(t, "x509", "-in", cert, "-noout", "-ext", "subjectKeyIdentifier"); !strings.Contains(strings.ToLower(strings.ReplaceAll(text, ":", "")), g.KeyID) {
		t.Errorf("openssl has another key id than %s: %s", g.KeyID, text)
	}
}

// A CA without a key id gets the one this package would have given, and its leaves name it.
func TestBringWithoutKeyID(t *testing.T) {
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "k.pem"), filepath.Join(dir, "c.pem")
	config := write(t, dir, "openssl.cnf", []byte("[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nsubjectKeyIdentifier=none\nbasicConstraints=critical,CA:TRUE\n"))
	openssl(t, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=Old Root", "-config", config)
	c := broughtBy("")
	g, err := c.Bring(broughtCA(cert, key))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := c.Issue(wantLeaf(), g, reconcile.PrivateKey{}, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", parse(t, issued.Certificate).AuthorityKeyId); len(g.KeyID) != 40 || got != g.KeyID || issued.IssuerKeyID != g.KeyID {
		t.Errorf("the CA is %s, the leaf says %s", g.KeyID, got)
	}
}

// A CA signs for no longer than its issuers live: a leaf that is due must not be renewed for an end it cannot have.
func TestBringLivesAsLongAsItsChain(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	signer, err := x509.ParsePKCS8PrivateKey(root.Key.PKCS8())
	if err != nil {
		t.Fatal(err)
	}
	short := parse(t, root.Certificate)
	short.NotAfter = noon.Add(3 * day).Truncate(time.Second)
	der, err := x509.CreateCertificate(rand.Reader, short, short, short.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	dir, files := t.TempDir(), pairOf(t, sub)
	files.cert = pemOf(sub.Certificate, der)
	at := &CA{Now: func() time.Time { return noon }}
	g, err := at.Bring(broughtCA(write(t, dir, "ca.pem", files.cert), write(t, dir, "key.pem", files.key)))
	if err != nil {
		t.Fatal(err)
	}
	if leaf := issue(t, at, wantLeaf(), g); !g.NotAfter.Equal(short.NotAfter) || !leaf.NotAfter.Equal(g.NotAfter) {
		t.Errorf("it ends %s and its leaves %s, want %s", g.NotAfter, leaf.NotAfter, short.NotAfter)
	}
}

// pair is a CA of this package written into files, with an intermediate or without.
type pair struct{ cert, key []byte }

func pairOf(t testing.TB, g reconcile.Generation) pair {
	t.Helper()
	return pair{
		pemOf(append([][]byte{g.Certificate}, g.Chain...)...),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: g.Key.PKCS8()}),
	}
}

func TestBringTolerates(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	good := pairOf(t, sub)
	crlf := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }
	for name, p := range map[string]pair{
		"as it is":                good,
		"CRLF":                    {crlf(good.cert), crlf(good.key)},
		"text around it":          {[]byte("subject=CN = x\n" + string(good.cert) + "\nthe end"), []byte("Bag Attributes\n    x: y\n" + string(good.key))},
		"a byte order mark":       {append([]byte("\ufeff"), good.cert...), append([]byte("\ufeff"), good.key...)},
		"all in one file":         {append(bytes.Clone(good.key), good.cert...), append(bytes.Clone(good.cert), good.key...)},
		"parameters of the curve": {good.cert, append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), good.key...)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := &CA{Now: func() time.Time { return noon }}
			g, err := c.Bring(broughtCA(write(t, dir, "ca.pem", p.cert), write(t, dir, "key.pem", p.key)))
			if err != nil {
				t.Fatal(err)
			}
			want := sub
			want.Created = time.Time{}
			if diff := cmp.Diff(want, g, cmp.Comparer(sameKey)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBringRefuses(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	other := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal"), lasting(10*day)), &root)
	leaf := issue(t, &c, wantLeaf(), root)
	good := pairOf(t, sub)
	leafOnly := pair{append(pemOf(leaf.Certificate), pemOf(root.Certificate)...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: leaf.Key.PKCS8()})}
	unknown := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("x")}) }
	for name, row := range map[string]struct {
		pair
		now  time.Time
		want []string
	}{
		"expired":                {good, noon.Add(11 * day), []string{"ca.pem: ", `CA "Services CA" expired on 2026-12-02T12:00:00Z`, "renewed"}},
		"not yet valid":          {good, noon.Add(-2 * time.Hour), []string{"ca.pem: ", "check the clock"}},
		"another's key":          {pair{good.cert, pairOf(t, other).key}, noon, []string{"key.pem is not the key of the first certificate in ", "ca.pem"}},
		"not a CA":               {leafOnly, noon, []string{"ca.pem: ", "is not a CA", "CA:TRUE"}},
		"no issuers":             {pair{pemOf(sub.Certificate), good.key}, noon, []string{"ca.pem: ", `CA "Services CA" is no root: add the certificate of its issuer, "CN=Docker Internal CA`}},
		"another issuer":         {pair{pemOf(sub.Certificate, other.Certificate), good.key}, noon, []string{"was not signed by"}},
		"root first":             {pair{pemOf(root.Certificate, sub.Certificate), pairOf(t, root).key}, noon, []string{"was not signed by"}},
		"empty certificate":      {pair{nil, good.key}, noon, []string{"ca.pem holds no certificate"}},
		"empty key":              {pair{good.cert, nil}, noon, []string{"key.pem holds no private key"}},
		"certificate and no key": {pair{good.cert, good.cert}, noon, []string{"key.pem holds no private key"}},
		"truncated certificate":  {pair{good.cert[:300], good.key}, noon, []string{"ca.pem: PEM block 1 of 1 is truncated or damaged"}},
		"truncated issuer":       {pair{good.cert[:len(good.cert)-100], good.key}, noon, []string{"ca.pem: PEM block 2 of 2 is truncated or damaged"}},
		"damaged first block":    {pair{bytes.Replace(good.cert, []byte("MII"), []byte("M!I"), 1), good.key}, noon, []string{"truncated or damaged"}},
		"truncated key":          {pair{good.cert, good.key[:100]}, noon, []string{"key.pem: PEM block 1 of 1 is truncated or damaged"}},
		"certificate of noise":   {pair{unknown("CERTIFICATE"), good.key}, noon, []string{"ca.pem: certificate 1: "}},
		"key of noise":           {pair{good.cert, unknown("PRIVATE KEY")}, noon, []string{"key.pem: ", "damaged or of an unknown kind"}},
		"PKCS#1 of noise":        {pair{good.cert, unknown("RSA PRIVATE KEY")}, noon, []string{"key.pem: ", "damaged or of an unknown kind"}},
		"encrypted noise":        {pair{good.cert, unknown("ENCRYPTED PRIVATE KEY")}, noon, []string{"key.pem: ", "not supported: encrypt it anew with openssl pkcs8"}},
		"OpenSSH's":              {pair{good.cert, unknown("OPENSSH PRIVATE KEY")}, noon, []string{"key.pem: ", "OPENSSH PRIVATE KEY", "convert it"}},
		"two keys":               {pair{good.cert, append(bytes.Clone(good.key), good.key...)}, noon, []string{"key.pem holds more than one key"}},
		"DER":                    {pair{sub.Certificate, good.key}, noon, []string{"ca.pem is DER, not PEM"}},
		"large certificate":      {pair{bytes.Repeat([]byte("x"), maxCertificateFile+1), good.key}, noon, []string{"ca.pem is larger than 256 KiB"}},
		"large key":              {pair{good.cert, bytes.Repeat([]byte("x"), maxKeyFile+1)}, noon, []string{"key.pem is larger than 64 KiB"}},
		"large key block":        {pair{good.cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: make([]byte, maxKey+1)})}, noon, []string{"key.pem: a key of 13001 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := broughtBy(secret)
			c.Now = func() time.Time { return row.now }
			g, err := c.Bring(broughtCA(write(t, dir, "ca.pem", row.cert), write(t, dir, "key.pem", row.key)))
			wantError(t, err, append(row.want, `CA "company": `)...)
			if g.Certificate != nil || g.Key.PKCS8() != nil {
				t.Error("there is a generation beside the error")
			}
		})
	}
}

func TestBringRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := opensslCA(t, dir, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	for name, row := range map[string]struct {
		ca   spec.CA
		want string
	}{
		"no certificate":    {broughtCA(dir+"/none.pem", key), "none.pem: no such file"},
		"no key":            {broughtCA(cert, dir+"/none.pem"), "none.pem: no such file"},
		"a directory":       {broughtCA(dir, key), "is not a regular file"},
		"a device":          {broughtCA(cert, "/dev/zero"), "is not a regular file"},
		"not brought along": {wantCA(), "not one that was brought along"},
	} {
		_, err := broughtBy("").Bring(row.ca)
		wantError(t, err, row.want)
		_ = name
	}
}

func TestPassphraseSources(t *testing.T) {
	dir := t.TempDir()
	cert, plain := opensslCA(t, dir, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	key := filepath.Join(dir, "encrypted.pem")
	openssl(t, "pkcs8", "-topk8", "-in", plain, "-out", key, "-passout", "pass:"+secret)
	without := broughtCA(cert, key)
	without.Local.Passphrase = nil
	_, err := broughtBy(secret).Bring(without)
	wantError(t, err, key, `the key is encrypted: set passphrase of the CA "company"`)
	_, err = (&CA{}).Bring(broughtCA(cert, key))
	wantError(t, err, "the key is encrypted")
	_, err = broughtBy("").Bring(broughtCA(cert, key))
	wantError(t, err, key, "the passphrase given is empty")
	_, err = (&CA{Passphrase: func(spec.Source) ([]byte, error) { return nil, errSource }}).Bring(broughtCA(cert, key))
	wantError(t, err, key, errSource.Error())

	var asked []spec.Source
	c := &CA{Passphrase: func(s spec.Source) ([]byte, error) { asked = append(asked, s); return []byte(secret), nil }}
	for _, k := range []string{key, plain} { // nobody is asked for the passphrase of a plain key
		if _, err := c.Bring(broughtCA(cert, k)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]spec.Source{{Env: "CA_PASS"}}, asked); diff != "" {
		t.Error(diff)
	}
}

// What would take long or much memory to open is refused before it is tried.
func TestEncryptionIsBounded(t *testing.T) {
	dir := t.TempDir()
	cert, plain := opensslCA(t, dir, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"iterations": {[]string{"-v2", "aes-256-cbc", "-iter", "2000001"}, "too long (a cost of 2000001, at most 2000000)"},
		"scrypt":     {[]string{"-scrypt", "-scrypt_N", "16384", "-scrypt_r", "8", "-scrypt_p", "5"}, "too long (a cost of 655360, at most 524288)"},
		"PKCS#5 1.5": {[]string{"-v1", "PBE-SHA1-3DES"}, "not supported: encrypt it anew with openssl pkcs8 -topk8 -v2"},
	} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "key.pem")
			openssl(t, append([]string{"pkcs8", "-topk8", "-in", plain, "-out", key, "-passout", "pass:" + secret}, row.args...)...)
			began := time.Now()
			_, err := broughtBy(secret).Bring(broughtCA(cert, key))
			wantError(t, err, key, row.want)
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %s to refuse", took)
			}
		})
	}
}

// TestRoot reads the certificate of a CA outside from a file of that and nothing else.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	cert, key := opensslCA(t, dir, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	leaf := filepath.Join(dir, "leaf.pem")
	openssl(t, "req", "-x509", "-new", "-key", key, "-out", leaf, "-subj", "/CN=leaf", "-addext", "basicConstraints=critical,CA:FALSE")
	der, err := (&CA{}).Root(cert)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := x509.ParseCertificate(der); err != nil || c.Subject.CommonName != "Company Root" {
		t.Errorf("%v, %v", c, err)
	}
	for file, want := range map[string]string{leaf: "is no certificate of a CA", key: "holds no certificate", filepath.Join(dir, "none"): "no such file"} {
		if _, err := (&CA{}).Root(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", file, err, want)
		}
	}
}
