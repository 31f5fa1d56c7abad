package spec_test

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/certwright/certwright/spec"
)

const day = 24 * time.Hour

func ok(t *testing.T, name string) *spec.Spec {
	t.Helper()
	s, err := parse(t, filepath.Join(testdata, "ok", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func same[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	anywhere := cmpopts.IgnoreTypes(spec.Pos{})
	if diff := cmp.Diff(want, got, anywhere, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

func TestValuesMinimal(t *testing.T) {
	same(t, "spec", spec.Spec{Project: "shop", Files: []string{"tls.yaml"}, Store: spec.Store{Directory: ".certwright"}}, *ok(t, "minimal"))
}

func TestValuesExample(t *testing.T) {
	s := ok(t, "example")
	same(t, "store", spec.Store{Directory: ".certwright", Passphrase: &spec.Source{Env: "CERTWRIGHT_PASSPHRASE"}}, s.Store)
	same(t, "CAs", []spec.CA{
		{Name: "internal", Local: &spec.LocalCA{
			Subject: spec.Subject{CommonName: "Docker Internal CA", Organization: "MyOrg", Locality: "SanFrancisco", Province: "California", Country: "US"},
			Key:     spec.RSA4096, Lifetime: 3650 * day, Constraints: spec.NameConstraints{ExcludeDNS: []string{"example.com"}},
		}},
		{Name: "services", Local: &spec.LocalCA{Parent: &spec.Ref{Name: "internal"}, Subject: spec.Subject{CommonName: "services"}, Key: spec.ECDSAP256, Lifetime: 365 * day}},
		{Name: "company", Local: &spec.LocalCA{Certificate: "ca.pem", KeyFile: "ca-key.pem", Passphrase: &spec.Source{File: "ca.pass"}}},
	}, s.CAs)
	same(t, "identity", spec.Identity{
		Name: "web", CA: spec.Ref{Name: "services"}, Usages: []spec.Usage{spec.Server},
		Names: []spec.Name{
			{Kind: spec.DNSName, Value: "web-service"},
			{Kind: spec.DNSName, Value: "web-service.secure-network"},
			{Kind: spec.DNSName, Value: "localhost"},
			{Kind: spec.IPName, Value: "127.0.0.1"},
		},
		Subject: spec.Subject{CommonName: "web", OrganizationalUnit: "edge"},
		Key:     spec.ECDSAP256, Lifetime: 14 * day, Renew: spec.Renew{Num: 2, Den: 3},
	}, *s.IdentityByName("web"))
	same(t, "identity from elsewhere", spec.Identity{
		Name: "legacy", Usages: []spec.Usage{spec.Server, spec.Client}, Subject: spec.Subject{CommonName: "legacy"},
		From: &spec.From{Certificate: "live/fullchain.pem", Key: "live/privkey.pem", CA: "live/root.pem"},
	}, *s.IdentityByName("legacy"))
	same(t, "binding", spec.Binding{
		Name: "web", Identity: &spec.Ref{Name: "web"}, Trust: []spec.Ref{{Name: "internal"}}, Host: spec.Ref{Name: "local"},
		Consumer: &spec.Consumer{Container: "web-service"}, Place: spec.Place{Directory: "certs/web"}, Layout: spec.Atomic,
		Files: []spec.File{
			{Name: "server-cert.pem", Content: spec.ContentFullchain, Mode: 0o644},
			{Name: "server-key.pem", Content: spec.ContentKey, Mode: 0o600, Owner: &spec.Owner{UID: 101, GID: 101}},
			{Name: "ca-cert.pem", Content: spec.ContentCA, Mode: 0o644},
		},
		Reload: []spec.Reload{{Preset: "nginx"}}, ReloadGiven: true,
		Probe:  &spec.Probe{Port: 443, Protocol: "tls", ServerName: "web-service", ClientAuth: spec.ClientAuthRequired, Timeout: 5 * time.Second},
		Limits: spec.Limits{RestartsPerHour: 3, IssuesPerHour: 5},
	}, *s.BindingByName("web"))
	same(t, "default files", []spec.File{
		{Name: "ca.pem", Content: spec.ContentCA, Mode: 0o644},
		{Name: "cert.pem", Content: spec.ContentFullchain, Mode: 0o644},
		{Name: "key.pem", Content: spec.ContentKey, Mode: 0o600},
	}, s.BindingByName("db").Files)
	same(t, "owner", &spec.Owner{UID: 999, GID: 999}, s.BindingByName("db").Owner)
	same(t, "files of trust alone", []spec.File{{Name: "ca.pem", Content: spec.ContentCA, Mode: 0o644}}, s.BindingByName("batch-trust").Files)
}

func TestPositions(t *testing.T) {
	s := ok(t, "example")
	web := s.BindingByName("web")
	got := []string{
		web.Pos.String(), web.Identity.Pos.String(), web.Trust[0].Pos.String(), web.Files[1].Pos.String(),
		s.IdentityByName("web").Names[3].Pos.String(), s.CAByName("services").Local.Parent.Pos.String(),
	}
	want := []string{"tls.yaml:40:3", "tls.yaml:41:5", "tls.yaml:42:13", "tls.yaml:47:7", "tls.yaml:27:65", "tls.yaml:20:13"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestValuesInterpolation(t *testing.T) {
	s := ok(t, "interpolation")
	got := []any{
		s.Project, s.Store.Directory, s.CAs[0].Local.Key, s.CAs[0].Local.Subject.Locality, s.CAs[0].Local.Lifetime, s.Identities[0].Names[0].Value, s.Identities[0].ReuseKey,
		s.Bindings[0].Place.Volume, s.Bindings[0].Probe.Port, s.Bindings[0].Limits.RestartsPerHour,
	}
	want := []any{"shop", "state/$HOME/$NAME", spec.Ed25519, "for $5 at $NAME", 3650 * day, "shop.internal", true, "shop-certs", 8443, 7}
	same(t, "values", want, got)
}

func TestValuesAnchors(t *testing.T) {
	s := ok(t, "anchors")
	same(t, "CAs", []string{"root", "spare"}, []string{s.CAs[0].Name, s.CAs[1].Name})
	same(t, "the nearer CA", spec.ECDSAP256, s.CAByName("root").Local.Key)
	same(t, "subject", spec.Subject{CommonName: "other", Organization: "MyOrg", Country: "NO"}, withName(s.Identities[1].Subject, "other"))
	other := s.BindingByName("other")
	same(t, "layout", spec.Plain, other.Layout)
	same(t, "ladder", []spec.Reload{{Preset: "nginx"}, {Restart: true}}, other.Reload)
	same(t, "port", 8443, other.Probe.Port)
	same(t, "names", []spec.Name{{Kind: spec.DNSName, Value: "other"}}, s.Identities[1].Names)
}

func withName(s spec.Subject, name string) spec.Subject {
	s.CommonName = name
	return s
}

func TestValuesNames(t *testing.T) {
	same(t, "names", []spec.Name{
		{Kind: spec.DNSName, Value: "localhost"},
		{Kind: spec.DNSName, Value: "3com.example"},
		{Kind: spec.DNSName, Value: "*.example.com"},
		{Kind: spec.DNSName, Value: "xn--bcher-kva.example"},
		{Kind: spec.IPName, Value: "127.0.0.1"},
		{Kind: spec.IPName, Value: "::1"},
		{Kind: spec.IPName, Value: "10.0.0.1"},
		{Kind: spec.EmailName, Value: "Ops@example.com"},
		{Kind: spec.URIName, Value: "spiffe://example.org/ns/shop/web"},
		{Kind: spec.URIName, Value: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
	}, ok(t, "names").Identities[0].Names)
}

func TestValuesLives(t *testing.T) {
	s := ok(t, "lives")
	same(t, "lives", []time.Duration{36500 * day, 760 * day, 182 * day}, []time.Duration{s.CAs[0].Local.Lifetime, s.CAs[1].Local.Lifetime, s.CAs[2].Local.Lifetime})
	same(t, "renewals", []spec.Renew{{Num: 2, Den: 3}, {Num: 1, Den: 2}, {Before: 6*time.Hour + 30*time.Minute}},
		[]spec.Renew{s.Identities[0].Renew, s.Identities[1].Renew, s.Identities[2].Renew})
}

func TestValuesLimits(t *testing.T) {
	s := ok(t, "limits")
	same(t, "identities", []spec.Identity{
		{
			Name: "web", CA: spec.Ref{Name: "root"}, Names: []spec.Name{{Kind: spec.DNSName, Value: "web"}}, Usages: []spec.Usage{spec.Server},
			Subject: spec.Subject{CommonName: "web"}, Key: spec.Ed25519, Lifetime: 20 * day, Renew: spec.Renew{Before: 5 * day}, ReuseKey: true,
		},
		{
			Name: "own", CA: spec.Ref{Name: "root"}, Names: []spec.Name{{Kind: spec.DNSName, Value: "own"}}, Usages: []spec.Usage{spec.Server},
			Subject: spec.Subject{CommonName: "own"}, Key: spec.Ed25519, Lifetime: 20 * day, Renew: spec.Renew{Num: 3, Den: 4},
		},
	}, s.Identities)
	same(t, "limits", spec.Limits{RestartsPerHour: 1, IssuesPerHour: 0}, s.Bindings[0].Limits)
}

func TestValuesReloads(t *testing.T) {
	s := ok(t, "reloads")
	same(t, "redis", []spec.Reload{{Preset: "redis", Username: "admin", Password: &spec.Source{File: "redis.pass"}}}, s.BindingByName("mapping").Reload)
	same(t, "signals", []spec.Reload{{Signal: "HUP"}, {Signal: "USR1"}, {Restart: true}}, s.BindingByName("signal").Reload)
	same(t, "exec", []spec.Reload{{Exec: []string{"nginx", "-s", "reload", ""}, ExecUser: "root", Timeout: 5 * time.Second}}, s.BindingByName("exec").Reload)
	same(t, "http", []spec.Reload{
		{HTTP: &spec.HTTPReload{Method: "PUT", URL: "http://localhost:2019/load", Body: "{}\n"}, Timeout: time.Minute},
		{HTTP: &spec.HTTPReload{Method: "POST", URL: "https://localhost/reload"}, Timeout: 30 * time.Second},
	}, s.BindingByName("http").Reload)
	same(t, "wait", []spec.Reload{{None: true}, {Restart: true}}, s.BindingByName("wait").Reload)
}

func TestValuesConsumers(t *testing.T) {
	var got []string
	for _, b := range ok(t, "consumers").Bindings {
		text := "nobody"
		if b.Consumer != nil {
			text = b.Consumer.String()
		}
		got = append(got, text)
	}
	same(t, "consumers", []string{"nobody", "shop-web-1", "shop/web", "tier=edge", "com.example.tls"}, got)
}

func TestValuesConstraints(t *testing.T) {
	same(t, "the words", "permit DNS internal,example.com; exclude DNS secret.internal; permit IP 10.0.0.0/8,fd00::/8; exclude IP 10.9.0.0/16",
		ok(t, "constraints").CAs[0].Local.Constraints.String())
	same(t, "constraints", spec.NameConstraints{
		PermitDNS: []string{"internal", "example.com"}, ExcludeDNS: []string{"secret.internal"},
		PermitIP:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		ExcludeIP: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
	}, ok(t, "constraints").CAs[0].Local.Constraints)
}

func TestValuesSecrets(t *testing.T) {
	s := ok(t, "secrets")
	plain, owned := s.Bindings[0], s.Bindings[1]
	same(t, "place", spec.Place{Secrets: &spec.Secrets{}}, plain.Place)
	same(t, "consumer", &spec.Consumer{Service: "shop_web"}, plain.Consumer)
	same(t, "files", []spec.File{
		{Name: "ca.pem", Content: spec.ContentCA, Mode: 0o644},
		{Name: "cert.pem", Content: spec.ContentFullchain, Mode: 0o644},
		{Name: "key.pem", Content: spec.ContentKey, Mode: 0o600},
	}, plain.Files)
	same(t, "owner", &spec.Owner{UID: 999, GID: 998}, owned.Owner)
	same(t, "files of their own", []spec.File{
		{Name: "cert.pem", Content: spec.ContentCert, Mode: 0o400},
		{Name: "key.pem", Content: spec.ContentKey, Mode: 0o440, Owner: &spec.Owner{UID: 7, GID: 7}},
	}, owned.Files)
	same(t, "mode", 0o444, int(s.Bindings[2].Files[0].Mode))
}

func TestValuesConfigs(t *testing.T) {
	s := ok(t, "configs")
	web, plain, trust := s.Bindings[0], s.Bindings[1], s.Bindings[2]
	same(t, "place", spec.Place{
		Secrets: &spec.Secrets{Mode: 0o400, Owner: &spec.Owner{UID: 999, GID: 999}},
		Configs: &spec.Secrets{Mode: 0o444, Owner: &spec.Owner{}},
	}, web.Place)
	same(t, "files", []spec.File{
		{Name: "ca.pem", Content: spec.ContentCA, Mode: 0o444, Owner: &spec.Owner{}},
		{Name: "cert.pem", Content: spec.ContentCert, Mode: 0o440, Owner: &spec.Owner{UID: 7, GID: 7}},
		{Name: "key.pem", Content: spec.ContentKey, Mode: 0o400},
		{Name: "all.pem", Content: spec.ContentCombined, Mode: 0o400},
	}, web.Files)
	var configs []string
	for _, f := range web.Files {
		if web.Place.Config(f.Content) {
			configs = append(configs, f.Name)
		}
	}
	same(t, "configs", []string{"ca.pem", "cert.pem"}, configs)
	same(t, "files that have nothing of their own", []spec.File{
		{Name: "ca.pem", Content: spec.ContentCA, Mode: 0o644},
		{Name: "cert.pem", Content: spec.ContentFullchain, Mode: 0o644},
		{Name: "key.pem", Content: spec.ContentKey, Mode: 0o400},
	}, plain.Files)
	same(t, "trust alone", spec.Place{Configs: &spec.Secrets{Owner: &spec.Owner{UID: 8, GID: 8}}}, trust.Place)
	same(t, "its owner", &spec.Owner{UID: 8, GID: 8}, trust.Owner)
}

func TestValuesSwarm(t *testing.T) {
	two := 2
	same(t, "swarm", &spec.Swarm{NodeCertLifetime: 30 * day, Rotation: &two}, ok(t, "swarm").Swarm)
	same(t, "external CA", &spec.Swarm{External: &spec.ExternalCA{URL: "https://ca.shop.test:8888/api/v1/cfssl/sign", Root: "nodes/root.pem"}}, ok(t, "swarm-external").Swarm)
	s, err := spec.Parse([]spec.Input{{Name: "tls.yaml", Data: []byte("version: 1\nproject: shop\nswarm: {}\n")}}, env)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "swarm that is only looked at", &spec.Swarm{}, s.Swarm)
}
