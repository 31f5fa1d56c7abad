// Command bare is the yardstick of the benchmarks: the least a Go program must do for the work of certwright.
//
// `bare cold DIR` makes the keys and certificates of the identities in DIR/tls.yaml and writes them with the
// durability and the layout of certwright; `bare same DIR` reads the YAML, the state and those files and hashes
// them. It looks at nothing else, keeps nothing and repairs nothing.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"
)

// tlsYAML is the part of a spec that the work needs.
type tlsYAML struct {
	Identities map[string]struct {
		CA    string   `yaml:"ca"`
		Names []string `yaml:"names"`
	} `yaml:"identities"`
	Bindings map[string]struct {
		Identity  string `yaml:"identity"`
		Directory string `yaml:"directory"`
	} `yaml:"bindings"`
}

// record is what the state keeps of an identity.
type record struct {
	Serial            string
	Certificate, Key  []byte
	NotBefore, Expiry time.Time
	Digests           map[string]string
}

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: bare cold|same DIR"))
	}
	dir := os.Args[2]
	var s tlsYAML
	data, err := os.ReadFile(filepath.Join(dir, "tls.yaml"))
	if err == nil {
		err = yaml.Unmarshal(data, &s)
	}
	fail(err)
	switch os.Args[1] {
	case "cold":
		fail(cold(dir, s))
	case "same":
		fail(same(dir, s))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

// cold issues everything, writes the state, and then every file: all staged, one sync, all switched, one sync.
func cold(dir string, s tlsYAML) error {
	root, rootKey, err := sign(&x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true}, nil, nil)
	if err != nil {
		return err
	}
	parent, err := x509.ParseCertificate(root)
	if err != nil {
		return err
	}
	names := sorted(s.Identities)
	records := make([]record, len(names))
	err = parallel(len(names), func(i int) error {
		var err error
		records[i], err = issue(names[i], s.Identities[names[i]].Names, parent, rootKey)
		return err
	})
	if err != nil {
		return err
	}
	state := map[string]record{}
	for i, n := range names {
		records[i].Digests = map[string]string{}
		for _, f := range files(records[i], root) {
			records[i].Digests[f.name] = digest(f.data)
		}
		state[n] = records[i]
	}
	if err := writeState(dir, state); err != nil {
		return err
	}
	bindings := sorted(s.Bindings)
	each := func(do func(dir string, r record) error) error {
		return parallel(len(bindings), func(i int) error {
			b := s.Bindings[bindings[i]]
			return do(filepath.Join(dir, b.Directory), state[b.Identity])
		})
	}
	if err := each(func(d string, r record) error { return stage(d, r, root) }); err != nil {
		return err
	}
	if err := syncfs(dir); err != nil {
		return err
	}
	if err := each(func(d string, _ record) error { return switchOver(d) }); err != nil {
		return err
	}
	return syncfs(dir)
}

func issue(name string, names []string, parent *x509.Certificate, by *ecdsa.PrivateKey) (record, error) {
	t := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, key, err := sign(t, parent, by)
	if err != nil {
		return record{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	return record{Serial: t.SerialNumber.Text(16), Certificate: der, Key: pkcs8, NotBefore: t.NotBefore, Expiry: t.NotAfter}, err
}

func sign(t, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, by = t, key
	}
	t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t.NotBefore, t.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(30*24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), by)
	return der, key, err
}

type file struct {
	name string
	mode os.FileMode
	data []byte
}

func files(r record, root []byte) []file {
	return []file{
		{"ca.pem", 0o644, block("CERTIFICATE", root)},
		{"cert.pem", 0o644, block("CERTIFICATE", r.Certificate)},
		{"key.pem", 0o600, block("PRIVATE KEY", r.Key)},
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

const generation = "..generation-00000001"

// stage writes a binding's three files and a manifest into a generation directory.
func stage(dir string, r record, root []byte) error {
	g := filepath.Join(dir, generation)
	if err := os.MkdirAll(g, 0o755); err != nil {
		return err
	}
	manifest := file{"manifest.json", 0o644, []byte(`{"files":["ca.pem","cert.pem","key.pem"]}`)}
	for _, f := range append(files(r, root), manifest) {
		if err := os.WriteFile(filepath.Join(g, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// switchOver makes the links that readers follow.
func switchOver(dir string) error {
	if err := os.Symlink(generation, filepath.Join(dir, "..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		return err
	}
	for _, n := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if err := os.Symlink("..data/"+n, filepath.Join(dir, n)); err != nil {
			return err
		}
	}
	return nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writeState(dir string, state map[string]record) error {
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "state.tmp"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(f.Name(), filepath.Join(dir, "state.json"))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func syncfs(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// same reads the state and the three files of every binding, and compares their hashes.
func same(dir string, s tlsYAML) error {
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return err
	}
	var state map[string]record
	if err := json.Unmarshal(data, &state); err != nil {
		return err
	}
	bindings := sorted(s.Bindings)
	return parallel(len(bindings), func(i int) error {
		d := filepath.Join(dir, s.Bindings[bindings[i]].Directory)
		for _, n := range []string{"ca.pem", "cert.pem", "key.pem"} {
			data, err := os.ReadFile(filepath.Join(d, n))
			if err != nil {
				return err
			}
			if r := state[s.Bindings[bindings[i]].Identity]; digest(data) != r.Digests[n] || !time.Now().Before(r.Expiry) {
				return fmt.Errorf("%s/%s is not as it should be", d, n)
			}
		}
		return nil
	})
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// parallel calls do for 0 … n-1 on every processor.
func parallel(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
