package localca

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func TestIssueFillsIssued(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	for name, row := range map[string]struct {
		by    reconcile.Generation
		chain [][]byte
	}{
		"by a root":          {root, nil},
		"by an intermediate": {sub, [][]byte{sub.Certificate}},
	} {
		got := issue(t, &c, wantLeaf(), row.by)
		cert := parse(t, got.Certificate)
		want := reconcile.Issued{
			Serial: hex.EncodeToString(cert.SerialNumber.Bytes()), Certificate: cert.Raw, Chain: row.chain, Root: root.Certificate,
			Key: got.Key, CA: "internal", IssuerKeyID: row.by.KeyID, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, IssuedAt: noon,
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameKey)); diff != "" {
			t.Errorf("%s (-certificate +issued):\n%s", name, diff)
		}
		if key, err := parsePKCS8(got.Key.PKCS8()); err != nil || !samePublic(key.Public(), cert.PublicKey) {
			t.Errorf("%s: the key is not the certificate's: %v", name, err)
		}
		if life := cert.NotAfter.Sub(noon.Truncate(time.Second)); life != 30*day || noon.Truncate(time.Second).Sub(cert.NotBefore) != time.Hour {
			t.Errorf("%s: valid from %s for %s", name, cert.NotBefore, life)
		}
		_, err := cert.Verify(x509.VerifyOptions{
			DNSName: "web-service", Roots: pool(parse(t, got.Root)), Intermediates: pool(parse(t, sub.Certificate)), CurrentTime: noon,
		})
		if err != nil {
			t.Errorf("%s: a client refuses it: %v", name, err)
		}
	}
}

func TestLeafExtensions(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	usages := func(u ...spec.Usage) func(*spec.Identity) { return func(id *spec.Identity) { id.Usages = u } }
	named := func(n ...string) func(*spec.Identity) { return func(id *spec.Identity) { id.Names = names(n...) } }
	key := func(k spec.KeyKind) func(*spec.Identity) { return func(id *spec.Identity) { id.Key = k } }
	for name, row := range map[string]struct {
		edits []func(*spec.Identity)
		with  []string
		not   []string
	}{
		"server": {nil, []string{
			"Extended Key Usage: \n                TLS Web Server Authentication\n", "Key Usage: critical\n                Digital Signature\n",
			"Basic Constraints: critical\n                CA:FALSE", "Subject: OU = edge, CN = web\n",
			"Subject Alternative Name: \n                DNS:web-service, DNS:web-service.secure-network, DNS:*.web.test, IP Address:127.0.0.1, IP Address:FD00:0:0:0:0:0:0:1\n",
			"X509v3 Authority Key Identifier", "X509v3 Subject Key Identifier",
		}, nil},
		"server with RSA": {[]func(*spec.Identity){key(spec.RSA2048)}, []string{"Digital Signature, Key Encipherment\n"}, nil},
		"client with RSA": {
			[]func(*spec.Identity){key(spec.RSA2048), usages(spec.Client)},
			[]string{"TLS Web Client Authentication\n", "Digital Signature\n"},
			[]string{"Encipherment"},
		},
		"both": {
			[]func(*spec.Identity){usages(spec.Server, spec.Client)},
			[]string{"TLS Web Server Authentication, TLS Web Client Authentication\n"},
			nil,
		},
		"client without names": {[]func(*spec.Identity){usages(spec.Client), named()}, []string{"CN = web\n"}, []string{"Alternative Name"}},
		"every kind of name": {
			[]func(*spec.Identity){named("email:ops@example.com", "uri:https://example.com/a?b=c", "dns:a", "ip:::ffff:10.0.0.1")},
			[]string{"DNS:a, email:ops@example.com, IP Address:10.0.0.1, URI:https://example.com/a?b=c\n"},
			nil,
		},
		"no subject": {
			[]func(*spec.Identity){func(id *spec.Identity) { id.Subject = spec.Subject{} }},
			[]string{"Subject: \n", "Subject Alternative Name: critical\n"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := wantLeaf(row.edits...)
			issued, err := c.Issue(id, root, keyOf(t, id.Key), noon)
			if err != nil {
				t.Fatal(err)
			}
			text := openssl(t, "x509", "-noout", "-text", "-in", write(t, t.TempDir(), "leaf.pem", pemOf(issued.Certificate)))
			for _, want := range row.with {
				if !strings.Contains(text, want) {
					t.Errorf("openssl does not see %q in\n%s", want, text)
				}
			}
			for _, not := range row.not {
				if strings.Contains(text, not) {
					t.Errorf("openssl sees %q in\n%s", not, text)
				}
			}
		})
	}
}

func TestLeafNeverOutlivesItsIssuers(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(lasting(100*day)), nil)
	sub := create(t, &c, wantCA(below("internal"), lasting(50*day)), &root)
	end := sub.NotAfter
	for name, row := range map[string]struct {
		now   time.Time
		life  time.Duration
		ends  time.Time
		after time.Duration // from the beginning to now
		err   string
	}{
		"with time to spare":     {noon, 30 * day, noon.Add(30 * day).Truncate(time.Second), time.Hour, ""},
		"to the end":             {noon, 80 * day, end, time.Hour, ""},
		"ten hours left":         {end.Add(-10 * time.Hour), 30 * day, end, time.Hour, ""},
		"one hour left":          {end.Add(-time.Hour), 30 * day, end, 6 * time.Minute, ""},
		"one minute left":        {end.Add(-time.Minute), 30 * day, end, 6 * time.Second, ""},
		"less than a minute":     {end.Add(-59 * time.Second), 30 * day, time.Time{}, 0, "too soon"},
		"enough for a short one": {end.Add(-40 * time.Second), 30 * time.Second, end.Add(-10 * time.Second), 3 * time.Second, ""},
		"just expired":           {end.Add(time.Second), 30 * day, time.Time{}, 0, "expired on"},
		"an hour ago":            {end.Add(time.Hour), 30 * day, time.Time{}, 0, "expired on"},
		"not yet":                {noon.Add(-2 * time.Hour), 30 * day, time.Time{}, 0, "check the clock"},
		"just made":              {noon.Add(-59 * time.Minute).Truncate(time.Second), 30 * day, noon.Add(30*day - 59*time.Minute).Truncate(time.Second), time.Minute, ""},
		"no life":                {noon, 0, time.Time{}, 0, "too short"},
	} {
		t.Run(name, func(t *testing.T) {
			id := wantLeaf(func(id *spec.Identity) { id.Lifetime = row.life })
			issued, err := c.Issue(id, sub, reconcile.PrivateKey{}, row.now)
			if row.err != "" {
				wantError(t, err, `identity "web": `, row.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cert := parse(t, issued.Certificate); !cert.NotAfter.Equal(row.ends) || !issued.NotAfter.Equal(row.ends) {
				t.Errorf("ends %s, want %s", cert.NotAfter, row.ends)
			}
			if after := row.now.Truncate(time.Second).Sub(issued.NotBefore); after != row.after {
				t.Errorf("backdated by %s, want %s", after, row.after)
			}
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	keyless := root
	keyless.Key = reconcile.PrivateKey{}
	for name, row := range map[string]struct {
		c     *CA
		edit  func(*spec.Identity)
		by    reconcile.Generation
		reuse reconcile.PrivateKey
		want  string
	}{
		"issuer without a key":   {&c, nil, keyless, reconcile.PrivateKey{}, "no key"},
		"key of another kind":    {&c, nil, root, keyOf(t, spec.RSA2048), "the key to be kept is rsa-2048 and the spec wants ecdsa-p256"},
		"damaged key":            {&c, nil, root, reconcile.NewPrivateKey([]byte("x")), "the key to be kept"},
		"unknown kind of key":    {&c, func(id *spec.Identity) { id.Key = "" }, root, reconcile.PrivateKey{}, "kind"},
		"no usage":               {&c, func(id *spec.Identity) { id.Usages = nil }, root, reconcile.PrivateKey{}, "set usages"},
		"address that is none":   {&c, func(id *spec.Identity) { id.Names = names("ip:localhost") }, root, reconcile.PrivateKey{}, `"localhost" is no address`},
		"address with a zone":    {&c, func(id *spec.Identity) { id.Names = names("ip:fe80::1%eth0") }, root, reconcile.PrivateKey{}, "is no address"},
		"name not in ASCII":      {&c, func(id *spec.Identity) { id.Names = names("dns:bücher.test") }, root, reconcile.PrivateKey{}, "bücher.test"},
		"name of unknown kind":   {&c, func(id *spec.Identity) { id.Names = names("dn:x") }, root, reconcile.PrivateKey{}, `unknown kind "dn"`},
		"URI that is none":       {&c, func(id *spec.Identity) { id.Names = names("uri:http://[::1") }, root, reconcile.PrivateKey{}, "is no URI"},
		"long organization unit": {&c, func(id *spec.Identity) { id.Subject.OrganizationalUnit = strings.Repeat("x", 65) }, root, reconcile.PrivateKey{}, "subject.organizationalUnit"},
		"no randomness":          {&CA{Rand: dry{}}, nil, root, reconcile.PrivateKey{}, errSource.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			id := wantLeaf()
			if row.edit != nil {
				row.edit(&id)
			}
			issued, err := row.c.Issue(id, row.by, row.reuse, noon)
			wantError(t, err, `identity "web": `, row.want)
			if issued.Certificate != nil || issued.Key.PKCS8() != nil {
				t.Error("there is a certificate beside the error")
			}
		})
	}
}

func TestReuseKeepsTheKey(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	for _, kind := range spec.KeyKinds() {
		id := wantLeaf(func(id *spec.Identity) { id.Key = kind })
		first, err := c.Issue(id, root, keyOf(t, kind), noon)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Issue(id, root, first.Key, noon)
		if err != nil {
			t.Fatal(err)
		}
		a, b := parse(t, first.Certificate), parse(t, again.Certificate)
		if !sameKey(again.Key, keyOf(t, kind)) || !samePublic(a.PublicKey, b.PublicKey) || first.Serial == again.Serial {
			t.Errorf("%s: key or serial is wrong", kind)
		}
	}
	if sameKey(issue(t, &c, wantLeaf(), root).Key, issue(t, &c, wantLeaf(), root).Key) {
		t.Error("two leaves share a key that nobody wanted to keep")
	}
}

// Each of these certificates is signed by the right CA and wrong in one way; none gets past confirm.
func TestWrongCertificatesEndHere(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(lasting(100*day)), nil)
	other := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Subject.CommonName = "Other CA" }), nil)
	by, err := c.open(root)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := c.open(other)
	if err != nil {
		t.Fatal(err)
	}
	key, stranger := newSigner(t), newSigner(t)
	for name, row := range map[string]struct {
		edit func(*x509.Certificate)
		by   *issuer
		want string
	}{
		"none":               {func(*x509.Certificate) {}, by, ""},
		"foreign key":        {func(c *x509.Certificate) { c.PublicKey = stranger.Public() }, by, "key"},
		"serial":             {func(c *x509.Certificate) { c.SerialNumber = big.NewInt(1) }, by, "serial"},
		"subject":            {func(c *x509.Certificate) { c.RawSubject = by.cert.RawSubject }, by, "subject"},
		"issuer":             {func(*x509.Certificate) {}, foreign, "issuer"},
		"no key id":          {func(c *x509.Certificate) { c.SubjectKeyId = nil }, by, "key id"},
		"expired":            {func(c *x509.Certificate) { c.NotAfter = noon.Add(-day) }, by, "dates"},
		"not yet valid":      {func(c *x509.Certificate) { c.NotBefore = noon.Add(day) }, by, "dates"},
		"a name less":        {func(c *x509.Certificate) { c.DNSNames = c.DNSNames[1:] }, by, "DNS names"},
		"a name more":        {func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil.test") }, by, "DNS names"},
		"an address less":    {func(c *x509.Certificate) { c.IPAddresses = nil }, by, "addresses"},
		"an e-mail address":  {func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b.test"} }, by, "e-mail"},
		"a URI less":         {func(c *x509.Certificate) { c.URIs = nil }, by, "URIs"},
		"other usage":        {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, by, "usages"},
		"any usage":          {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, by, "usages"},
		"signs certificates": {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, by, "usages"},
		"a CA":               {func(c *x509.Certificate) { c.IsCA = true }, by, "basic constraints"},
		"no constraints":     {func(c *x509.Certificate) { c.BasicConstraintsValid = false }, by, "basic constraints"},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := c.leafTemplate(wantLeaf(func(id *spec.Identity) { id.Names = names("dns:a.test", "ip:10.0.0.1", "uri:spiffe://a.test/b") }))
			if err != nil {
				t.Fatal(err)
			}
			want.NotBefore, want.NotAfter = noon.Truncate(time.Second), noon.Truncate(time.Second).Add(day)
			want.SubjectKeyId, want.PublicKey = keyID(key.Public()), key.Public()
			made := *want
			row.edit(&made)
			der, err := x509.CreateCertificate(rand.Reader, &made, row.by.cert, made.PublicKey, row.by.signer)
			if err != nil {
				t.Fatal(err)
			}
			err = confirm(der, want, by, key.Public())
			if row.want != "" {
				wantError(t, err, "has other "+row.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClient(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	got, err := c.Client(root, noon)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, got.Certificate)
	if cert.Subject.String() != "CN=certwright probe" || kindOf(cert.PublicKey) != spec.ECDSAP256 || len(cert.DNSNames) != 0 {
		t.Errorf("it is %s, %s, %q", cert.Subject, kindOf(cert.PublicKey), cert.DNSNames)
	}
	if life := cert.NotAfter.Sub(noon.Truncate(time.Second)); life != 5*time.Minute {
		t.Errorf("it lives %s", life)
	}
	if diff := cmp.Diff([]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage); diff != "" {
		t.Error(diff)
	}
}

// Many goroutines issue by the same generations, which are opened once each.
func TestIssueConcurrently(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	const each = 20
	serials := make(chan string, 4*each)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range each {
				issued, err := c.Issue(wantLeaf(), []reconcile.Generation{root, sub}[i%2], reconcile.PrivateKey{}, noon)
				if err != nil {
					t.Error(err)
				}
				serials <- issued.Serial
			}
		})
	}
	wg.Wait()
	close(serials)
	seen := map[string]bool{}
	for s := range serials {
		seen[s] = true
	}
	if len(seen) != 4*each || len(c.issuers) != 2 {
		t.Errorf("%d serials of %d leaves, %d issuers kept", len(seen), 4*each, len(c.issuers))
	}
}

// What is kept is found by its whole content: another key or chain beside the same certificate is another issuer.
func TestKeptIssuersAreNotMixedUp(t *testing.T) {
	var c CA
	root, other := create(t, &c, wantCA(), nil), create(t, &c, wantCA(), nil)
	issue(t, &c, wantLeaf(), root)
	mixed := root
	mixed.Key = other.Key
	if _, err := c.Issue(wantLeaf(), mixed, reconcile.PrivateKey{}, noon); err == nil {
		t.Error("the key of one root signs for another")
	}
	mixed = root
	mixed.Chain = [][]byte{other.Certificate}
	if _, err := c.Issue(wantLeaf(), mixed, reconcile.PrivateKey{}, noon); err == nil {
		t.Error("a chain that does not fit is not seen")
	}
	for range keptIssuers + 1 {
		if _, err := c.open(create(t, &c, wantCA(), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.issuers) > keptIssuers {
		t.Errorf("%d issuers are kept", len(c.issuers))
	}
}
