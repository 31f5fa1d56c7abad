package localca

import (
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

// profile is one kind of certificate this package makes, with all that leads to its root.
type profile struct {
	name  string
	leaf  []byte
	chain [][]byte // the root last
}

// profiles makes one of each for a kind of key.
func profiles(t *testing.T, kind spec.KeyKind) []profile {
	t.Helper()
	var c CA
	ofKind := func(l *spec.LocalCA) { l.Key = kind }
	root := create(t, &c, wantCA(ofKind), nil)
	limited := create(t, &c, wantCA(below("internal"), ofKind, func(l *spec.LocalCA) {
		l.Constraints = spec.NameConstraints{
			PermitDNS: []string{"web-service", "secure-network", "web.test"}, ExcludeDNS: []string{"example.com"},
			PermitIP: prefixes("127.0.0.0/8", "fd00::/8"), ExcludeIP: prefixes("10.0.0.0/8"),
		}
	}), &root)
	out := []profile{
		{"root", root.Certificate, [][]byte{root.Certificate}},
		{"intermediate", limited.Certificate, limited.Chain},
	}
	for name, edit := range map[string]func(*spec.Identity){
		"server": func(*spec.Identity) {},
		"client": func(id *spec.Identity) { id.Names, id.Usages = nil, []spec.Usage{spec.Client} },
		"both": func(id *spec.Identity) {
			id.Usages = []spec.Usage{spec.Server, spec.Client}
		},
		"email and uri": func(id *spec.Identity) {
			id.Names, id.Usages = names("email:ops@example.org", "uri:spiffe://shop.example.org/web"), []spec.Usage{spec.Client}
		},
		"named like its issuer": func(id *spec.Identity) {
			id.Subject = spec.Subject{CommonName: "Services CA", Organization: "MyOrg"}
		},
		"no subject": func(id *spec.Identity) { id.Subject = spec.Subject{} },
	} {
		for _, by := range []reconcile.Generation{root, limited} {
			id := wantLeaf(edit, func(id *spec.Identity) { id.Key = kind })
			issued, err := c.Issue(id, by, keyOf(t, kind), noon)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out = append(out, profile{name, issued.Certificate, append(slices.Clone(issued.Chain), issued.Root)})
		}
	}
	return out
}

// notForUs names the lints that are left out, by reason. All others of zlint hold for a private CA too.
var notForUs = map[string][]string{
	"a private CA publishes no policies, CRLs or issuer URLs": {
		"e_sub_cert_certificate_policies_missing", "e_sub_cert_cert_policy_empty", "e_sub_cert_aia_missing",
		"e_missing_crl_distrib_point", "e_sub_ca_crl_distribution_points_missing",
		"e_sub_ca_certificate_policies_missing", "e_invalid_ca_certificate_policies",
	},
	"internal names and addresses are what it is for": {
		"e_dnsname_not_valid_tld", "e_ext_san_contains_reserved_ip", "e_ext_nc_intersects_reserved_ip",
	},
	"the subject is the user's, and its name need not be a host's": {
		"e_subject_common_name_not_exactly_from_san", "e_organizational_unit_name_prohibited",
		"e_subject_contains_organizational_unit_name_and_no_organization_name",
		"e_sub_cert_province_must_appear", "e_sub_cert_locality_name_must_appear",
		"e_sub_cert_country_name_must_appear", "e_ca_country_name_missing", "e_dnsname_bad_character_in_label",
	},
	"Ed25519 is not yet allowed in public certificates; RFC 8410 has it": {
		"e_signature_algorithm_not_supported", "e_algorithm_identifier_improper_encoding",
	},
	"meant for leaves: a CA needs digitalSignature only to sign OCSP answers itself": {
		"e_cabf_ecc_allowed_key_usages",
	},
}

// Every profile with every kind of key has no error of zlint but those above, each of which is needed, and
// verifies with OpenSSL at its strictest.
func TestProfiles(t *testing.T) {
	unused := map[string]bool{}
	for _, names := range notForUs {
		for _, name := range names {
			unused[name] = true
		}
	}
	allowed := maps.Clone(unused)
	for _, kind := range spec.KeyKinds() {
		t.Run(string(kind), func(t *testing.T) {
			made := profiles(t, kind)
			for _, p := range made {
				for name, details := range lintErrors(t, p) {
					if delete(unused, name); !allowed[name] {
						t.Errorf("%s: %s: %s", p.name, name, details)
					}
				}
			}
			for _, p := range made {
				opensslVerify(t, p)
			}
		})
	}
	for name := range unused {
		t.Errorf("the lint %s is left out for nothing", name)
	}
}

func lintErrors(t *testing.T, p profile) map[string]string {
	t.Helper()
	cert, err := zx509.ParseCertificate(p.leaf)
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]string{}
	for name, result := range zlint.LintCertificate(cert).Results {
		if result.Status >= lint.Error {
			errs[name] = result.Details
		}
	}
	return errs
}

func opensslVerify(t *testing.T, p profile) {
	t.Helper()
	if out, ok := opensslAgrees(t, p, true); !ok {
		t.Errorf("%s: %s", p.name, out)
	}
}

// opensslAgrees asks OpenSSL whether it would accept a certificate, and gives its words.
func opensslAgrees(t *testing.T, p profile, accept bool) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	last := len(p.chain) - 1
	args := []string{"verify", "-x509_strict", "-check_ss_sig", "-attime", fmt.Sprint(noon.Unix()), "-CAfile", write(t, dir, "root.pem", pemOf(p.chain[last]))}
	if last > 0 {
		args = append(args, "-untrusted", write(t, dir, "chain.pem", pemOf(p.chain[:last]...)))
	}
	out, err := opensslTry(t, append(args, write(t, dir, "leaf.pem", pemOf(p.leaf)))...)
	return out, (err == nil && strings.HasSuffix(strings.TrimSpace(out), ": OK")) == accept
}

func pemOf(ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
