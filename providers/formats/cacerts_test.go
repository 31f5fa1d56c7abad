package formats_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// cacerts are keystores as JVMs have them, with a root of alias theirs.
func cacerts(t testing.TB, root []byte) map[string][]byte {
	t.Helper()
	jks, err := formats.Formats{}.Encode(spec.ContentTrustJKS, reconcile.Holding{Certificates: [][]byte{root}}, "theirs", "changeit")
	if err != nil {
		t.Fatal(err)
	}
	p12, err := formats.Cacerts{}.Retrust(nothing, map[string][]byte{"theirs": root}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"JKS": jks, "PKCS#12": p12}
}

// nothing is a PKCS#12 file of no password and no entries: an AuthenticatedSafe that is empty.
var nothing = []byte{0x30, 0x16, 0x02, 0x01, 0x03, 0x30, 0x11, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0xa0, 0x04, 0x04, 0x02, 0x30, 0x00}

// TestCacerts adds a root to the keystore of a JVM and takes it out again; the other one is there all the time.
func TestCacerts(t *testing.T) {
	theirs, ours := newMaterial(t, newECDSA(t)).root, newMaterial(t, newECDSA(t)).root
	for form, before := range cacerts(t, theirs) {
		t.Run(form, func(t *testing.T) {
			with, err := formats.Cacerts{}.Retrust(before, map[string][]byte{"ours": ours}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := formats.Cacerts{}.Trusted(with)
			if diff := cmp.Diff(map[string][]byte{"theirs": theirs, "ours": ours}, got); err != nil || diff != "" {
				t.Fatalf("error %v (-want +got):\n%s", err, diff)
			}
			after, err := formats.Cacerts{}.Retrust(with, nil, []string{"ours", "nobody's"})
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("it is not as it was (error %v)", err)
			}
		})
	}
}

// TestCacertsOfOthers refuses keystores that it would have to guess about.
func TestCacertsOfOthers(t *testing.T) {
	m := newMaterial(t, newECDSA(t))
	of := func(c spec.Content) []byte { return encode(t, c, m.holding(c)) }
	for name, row := range map[string]struct {
		data []byte
		want string
	}{
		"another password":        {of(spec.ContentTrustJKS), "it has another password than the usual one"},
		"PKCS#12 with a password": {of(spec.ContentTrustPKCS12), "it is PKCS#12 with a password"},
		"PEM":                     {of(spec.ContentCA), "neither a JKS nor a PKCS#12 file"},
		"cut off":                 {nothing[:len(nothing)-1], "neither a JKS nor a PKCS#12 file"},
		"empty":                   {nil, "neither a JKS nor a PKCS#12 file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (formats.Cacerts{}).Trusted(row.data); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want %q", err, row.want)
			}
			if _, err := (formats.Cacerts{}).Retrust(row.data, nil, []string{"x"}); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want %q", err, row.want)
			}
		})
	}
	if _, err := (formats.Cacerts{}).Retrust(nothing, map[string][]byte{"x": []byte("no certificate")}, nil); err == nil {
		t.Error("what is no certificate is added")
	}
}

// FuzzCacerts holds that a keystore that can be read can be given one root more, and is the same without it.
func FuzzCacerts(f *testing.F) {
	root := newMaterial(f, newECDSA(f)).root
	for _, data := range cacerts(f, root) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := formats.Cacerts{}.Trusted(data)
		if err != nil || before["ours"] != nil {
			return
		}
		with, err := formats.Cacerts{}.Retrust(data, map[string][]byte{"ours": root}, nil)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		want := maps.Clone(before)
		want["ours"] = root
		if got, err := (formats.Cacerts{}).Trusted(with); err != nil || !cmp.Equal(want, got) {
			t.Fatalf("written and read again it is something else (error %v)", err)
		}
	})
}
