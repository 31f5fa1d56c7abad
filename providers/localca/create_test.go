package localca

import (
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

func TestCreateFillsTheGeneration(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal")), &root)
	for name, g := range map[string]reconcile.Generation{"root": root, "intermediate": sub} {
		cert := parse(t, g.Certificate)
		want := reconcile.Generation{
			ID: 1, State: reconcile.GenerationActive, Certificate: cert.Raw, Chain: g.Chain, Key: g.Key,
			KeyID: hex.EncodeToString(cert.SubjectKeyId), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Created: noon,
		}
		if diff := cmp.Diff(want, g, cmp.Comparer(sameKey)); diff != "" {
			t.Errorf("%s (-certificate +generation):\n%s", name, diff)
		}
		if cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !cert.IsCA || cert.MaxPathLen != -1 {
			t.Errorf("%s: usage %b, CA %t, path length %d", name, cert.KeyUsage, cert.IsCA, cert.MaxPathLen)
		}
		if got := hex.EncodeToString(cert.AuthorityKeyId); got != root.KeyID {
			t.Errorf("%s: authority key id %s, want the root's %s", name, got, root.KeyID)
		}
	}
	if diff := cmp.Diff([][]byte{root.Certificate}, sub.Chain); diff != "" || root.Chain != nil {
		t.Errorf("chains are wrong: %v %s", root.Chain, diff)
	}
}

func sameKey(a, b reconcile.PrivateKey) bool { return string(a.PKCS8()) == string(b.PKCS8()) }

// The order of a subject's parts is the one `openssl req -subj` gives to the same parts.
func TestSubjectOrder(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Subject.OrganizationalUnit = "Düsseldorf" }), nil)
	dir := t.TempDir()
	theirs, key := dir+"/theirs.pem", dir+"/key.pem"
	openssl(t, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8", "-keyout", key, "-out", theirs,
		"-subj", "/C=US/ST=California/L=SanFrancisco/O=MyOrg/OU=Düsseldorf/CN=Docker Internal CA")
	subject := func(path string) string {
		return openssl(t, "x509", "-in", path, "-noout", "-subject", "-nameopt", "sep_comma_plus,utf8,sname")
	}
	want := subject(theirs)
	if !strings.Contains(want, "C=US,ST=California,L=SanFrancisco,O=MyOrg,OU=") {
		t.Fatalf("openssl printed %q", want)
	}
	if got := subject(write(t, dir, "ours.pem", pemOf(root.Certificate))); got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
}

func TestGenerationsDiffer(t *testing.T) {
	long := strings.Repeat("ä", 64)
	for _, row := range []struct {
		name string
		id   int
		want string
	}{
		{"Docker Internal CA", 1, "Docker Internal CA"},
		{"Docker Internal CA", 2, "Docker Internal CA G2"},
		{"Docker Internal CA", 11, "Docker Internal CA G11"},
		{"", 1, "internal"},
		{"", 2, "internal G2"},
		{long, 1, long},
		{long, 3, strings.Repeat("ä", 61) + " G3"},
	} {
		var c CA
		ca := wantCA(func(l *spec.LocalCA) { l.Subject.CommonName = row.name })
		g, err := c.Create(ca, nil, row.id, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := parse(t, g.Certificate).Subject.CommonName; got != row.want || g.ID != row.id {
			t.Errorf("generation %d of %q is %d %q, want %q", row.id, row.name, g.ID, got, row.want)
		}
	}
}

func TestDates(t *testing.T) {
	second := noon.Truncate(time.Second)
	for _, row := range []struct {
		life      time.Duration
		now       time.Time
		notBefore time.Time
	}{
		{10 * 365 * day, noon, second.Add(-time.Hour)},
		{11 * time.Hour, noon, second.Add(-time.Hour)},
		{10 * time.Hour, noon, second.Add(-time.Hour)},
		{5 * time.Hour, noon, second.Add(-30 * time.Minute)},
		{time.Hour, noon, second.Add(-6 * time.Minute)},
		{10 * time.Second, noon, second.Add(-time.Second)},
		{time.Second, noon, second},
		{time.Hour, noon.In(time.FixedZone("", 5*3600)), second.Add(-6 * time.Minute)},
		{50 * 365 * day, noon, second.Add(-time.Hour)}, // past 2050 X.509 writes dates otherwise
		{time.Hour, time.Unix(0, 0), time.Unix(0, 0).Add(-6 * time.Minute).UTC()},
	} {
		var c CA
		g, err := c.Create(wantCA(lasting(row.life)), nil, 1, row.now)
		if err != nil {
			t.Fatalf("%s: %v", row.life, err)
		}
		cert := parse(t, g.Certificate)
		if want := row.now.UTC().Add(row.life).Truncate(time.Second); !cert.NotAfter.Equal(want) || !g.NotAfter.Equal(want) {
			t.Errorf("%s from %s ends at %s and %s, want %s", row.life, row.now, cert.NotAfter, g.NotAfter, want)
		}
		if !cert.NotBefore.Equal(row.notBefore) || !g.NotBefore.Equal(row.notBefore) {
			t.Errorf("%s from %s begins at %s and %s, want %s", row.life, row.now, cert.NotBefore, g.NotBefore, row.notBefore)
		}
		if g.NotAfter.Location() != time.UTC || g.Created.Location() != time.UTC {
			t.Errorf("%s: dates are not in UTC", row.life)
		}
	}
}

func TestConstraintsAreCritical(t *testing.T) {
	var c CA
	g := create(t, &c, wantCA(func(l *spec.LocalCA) {
		l.Constraints = spec.NameConstraints{
			PermitDNS: []string{"test", ".corp.test"}, ExcludeDNS: []string{"example.com"},
			PermitIP: prefixes("10.1.2.3/8"), ExcludeIP: prefixes("fd00::/8"),
		}
	}), nil)
	text := openssl(t, "x509", "-noout", "-text", "-in", write(t, t.TempDir(), "ca.pem", pemOf(g.Certificate)))
	for _, want := range []string{
		"Name Constraints: critical", "Permitted:", "DNS:test", "DNS:.corp.test", "IP:10.0.0.0/255.0.0.0",
		"Excluded:", "DNS:example.com", "IP:FD00:0:0:0:0:0:0:0/FF00:0:0:0:0:0:0:0",
		"Basic Constraints: critical", "CA:TRUE", "Key Usage: critical", "Certificate Sign, CRL Sign\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openssl does not see %q in\n%s", want, text)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(lasting(100*day)), nil)
	brought := func(l *spec.LocalCA) { l.Certificate = "ca.pem" }
	for name, row := range map[string]struct {
		c      *CA
		ca     spec.CA
		parent *reconcile.Generation
		now    time.Time
		want   string
	}{
		"another kind of CA":     {&c, spec.CA{Name: "internal", Exec: &spec.ExecCA{}}, nil, noon, "not one that certwright makes"},
		"brought along":          {&c, wantCA(brought), nil, noon, "not one that certwright makes"},
		"a parent too few":       {&c, wantCA(below("internal")), nil, noon, "its parent"},
		"a parent too many":      {&c, wantCA(), &root, noon, "its parent"},
		"unknown kind of key":    {&c, wantCA(func(l *spec.LocalCA) { l.Key = "dsa" }), nil, noon, `"dsa"`},
		"no life":                {&c, wantCA(lasting(0)), nil, noon, "too short"},
		"long organization":      {&c, wantCA(func(l *spec.LocalCA) { l.Subject.Organization = strings.Repeat("x", 65) }), nil, noon, "subject.organization"},
		"not UTF-8":              {&c, wantCA(func(l *spec.LocalCA) { l.Subject.Locality = "\xff" }), nil, noon, "subject"},
		"named like its parent":  {&c, wantCA(below("internal"), func(l *spec.LocalCA) { l.Subject = wantCA().Local.Subject }), &root, noon, "give it another commonName"},
		"expired parent":         {&c, wantCA(below("internal")), &root, noon.Add(101 * day), "expired on 2027-03-02T12:00:00Z: bring a renewed one of the same key, or put another CA beside it"},
		"parent about to expire": {&c, wantCA(below("internal")), &root, noon.Add(100*day - 30*time.Second), "too soon"},
		"clock behind":           {&c, wantCA(below("internal")), &root, noon.Add(-2 * time.Hour), "check the clock"},
		"no randomness":          {&CA{Rand: dry{}}, wantCA(), nil, noon, errSource.Error()},
		"broken randomness":      {&CA{Rand: zeros{}}, wantCA(), nil, noon, "is zero"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := row.c.Create(row.ca, row.parent, 1, row.now)
			wantError(t, err, `CA "internal": `, row.want)
			if g.Certificate != nil || g.Key.PKCS8() != nil {
				t.Error("there is a generation beside the error")
			}
		})
	}
}

func TestIntermediateEndsWithItsParent(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(lasting(100*day)), nil)
	sub := create(t, &c, wantCA(below("internal"), lasting(365*day)), &root)
	if !sub.NotAfter.Equal(root.NotAfter) || !parse(t, sub.Certificate).NotAfter.Equal(root.NotAfter) {
		t.Errorf("the intermediate ends on %s, its parent on %s", sub.NotAfter, root.NotAfter)
	}
}

func TestCheck(t *testing.T) {
	var c CA
	root := create(t, &c, wantCA(lasting(100*day)), nil)
	other := create(t, &c, wantCA(), nil)
	sub := create(t, &c, wantCA(below("internal"), lasting(50*day)), &root)
	leaf := issue(t, &c, wantLeaf(), root)
	flipped := func(b []byte) []byte { b = append([]byte(nil), b...); b[len(b)-1] ^= 1; return b }
	for name, row := range map[string]struct {
		edit func(*reconcile.Generation)
		now  time.Time
		want string
	}{
		"good":            {func(*reconcile.Generation) {}, noon, ""},
		"good to the end": {func(*reconcile.Generation) {}, noon.Add(50*day - time.Second), ""},
		"expired":         {func(*reconcile.Generation) {}, noon.Add(51 * day), `CA "Services CA" expired`},
		"not yet valid":   {func(*reconcile.Generation) {}, noon.Add(-61 * time.Minute), "is not valid before"},
		"no key":          {func(g *reconcile.Generation) { g.Key = reconcile.PrivateKey{} }, noon, "no key"},
		"damaged key":     {func(g *reconcile.Generation) { g.Key = reconcile.NewPrivateKey([]byte("x")) }, noon, "damaged"},
		"another key":     {func(g *reconcile.Generation) { g.Key = other.Key }, noon, "belongs to another certificate"},
		"another key id":  {func(g *reconcile.Generation) { g.KeyID = other.KeyID }, noon, "as recorded"},
		"no certificate":  {func(g *reconcile.Generation) { g.Certificate = nil }, noon, "certificate 1"},
		"damaged chain":   {func(g *reconcile.Generation) { g.Chain = [][]byte{root.Certificate[:99]} }, noon, "certificate 2"},
		"another root":    {func(g *reconcile.Generation) { g.Chain = [][]byte{other.Certificate} }, noon, "was not signed by"},
		"no root":         {func(g *reconcile.Generation) { g.Chain = nil }, noon, "is no root"},
		"wrong signature": {func(g *reconcile.Generation) { g.Certificate = flipped(g.Certificate) }, noon, "was not signed by"},
		"a leaf's":        {func(g *reconcile.Generation) { g.Certificate, g.Key, g.KeyID = leaf.Certificate, leaf.Key, "" }, noon, "is not a CA"},
	} {
		t.Run(name, func(t *testing.T) {
			g := sub
			row.edit(&g)
			err := c.Check(g, row.now)
			if row.want != "" {
				wantError(t, err, row.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The test signature is held against the certificate. Nothing that opens gets this far with a key that does not
// sign, so the key is exchanged behind the back of the checks before it.
func TestTestSignature(t *testing.T) {
	for _, kind := range spec.KeyKinds() {
		var c CA
		by, err := c.open(create(t, &c, wantCA(func(l *spec.LocalCA) { l.Key = kind }), nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := by.testSign(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		broken := *by
		if broken.signer, err = parsePKCS8(keyOf(t, kind).PKCS8()); err != nil {
			t.Fatal(err)
		}
		wantError(t, broken.testSign(), "does not verify")
	}
}

func TestSignatureFollowsTheIssuer(t *testing.T) {
	for kind, want := range map[spec.KeyKind]x509.SignatureAlgorithm{
		spec.ECDSAP256: x509.ECDSAWithSHA256, spec.ECDSAP384: x509.ECDSAWithSHA384, spec.ECDSAP521: x509.ECDSAWithSHA512,
		spec.Ed25519: x509.PureEd25519, spec.RSA2048: x509.SHA256WithRSA,
	} {
		var c CA
		root := create(t, &c, wantCA(func(l *spec.LocalCA) { l.Key = kind }), nil)
		leaf := issue(t, &c, wantLeaf(), root)
		if got := parse(t, leaf.Certificate).SignatureAlgorithm; got != want {
			t.Errorf("%s signs with %s, want %s", kind, got, want)
		}
	}
}

func TestSerials(t *testing.T) {
	const many = 100_000
	var c CA
	seen := make(map[string]bool, many)
	top := 0
	for range many {
		n, err := c.serial()
		if err != nil {
			t.Fatal(err)
		}
		if n.Sign() != 1 || n.BitLen() > 127 {
			t.Fatalf("serial %s is not positive or too long", serialText(n))
		}
		if n.Bit(126) == 1 {
			top++
		}
		seen[serialText(n)] = true
	}
	if len(seen) != many {
		t.Errorf("%d of %d serials came twice", many-len(seen), many)
	}
	// Half of them use the highest bit, give or take ten standard deviations.
	if top < many/2-1600 || top > many/2+1600 {
		t.Errorf("the highest bit is set in %d of %d", top, many)
	}
}
