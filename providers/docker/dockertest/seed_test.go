package dockertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// TestSeed proves the scenario of testdata/seed with certificates that certwright did not make.
func TestSeed(t *testing.T) {
	Engine(t)
	s, ca := Seed(t, t.TempDir()), newAuthority(t)
	s.web(t, ca)
	s.db(t, ca)
	client := ca.issue(t, seedClient, x509.ExtKeyUsageClientAuth)
	documented(t, s)
	swap(t, filepath.Join(s.Dir, "certs/client"), ca.files(t, client, "cert.pem", "key.pem", "ca.pem"), 100, 101)
	s.Start(t)

	t.Run("nginx lets the client in", func(t *testing.T) {
		want := `{"status": "ok", "client_cn": "api-client"}` + "\n200"
		if exit, out, errs := s.CurlWithClient(t); exit != 0 || out != want {
			t.Errorf("exit %d, output %q, errors %q; want %q", exit, out, errs, want)
		}
	})
	t.Run("nginx refuses without a certificate", func(t *testing.T) {
		exit, out, errs := s.CurlWithout(t)
		if exit != 0 || !strings.Contains(out, "No required SSL certificate was sent") || !strings.HasSuffix(out, "\n400") {
			t.Errorf("exit %d, output %q, errors %q", exit, out, errs)
		}
	})
	t.Run("postgres lets the client in", func(t *testing.T) {
		if exit, out, errs := s.Psql(t); exit != 0 || out != "api-client\n" {
			t.Errorf("exit %d, output %q, errors %q", exit, out, errs)
		}
	})
	t.Run("postgres refuses without a certificate", func(t *testing.T) {
		if exit, _, errs := s.PsqlWithout(t); exit == 0 || !strings.Contains(errs, "requires a valid client certificate") {
			t.Errorf("exit %d, errors %q", exit, errs)
		}
	})
	t.Run("postgres is the first process, as its user", func(t *testing.T) {
		exit, out, errs := Exec(t, s.DB.ID, "sh", "-c", "cat /proc/1/comm; stat -c %u /proc/1")
		if exit != 0 || out != "postgres\n999\n" {
			t.Errorf("exit %d, output %q, errors %q", exit, out, errs)
		}
	})
	t.Run("postgres takes a new certificate on HUP", func(t *testing.T) {
		want := s.db(t, ca)
		Signal(t, s.DB.ID, "HUP")
		Poll(t, 10*time.Second, "the new certificate", func() error {
			_, out, errs := Exec(t, s.Client.ID, "sh", "-c",
				"openssl s_client -starttls postgres -connect db-service:5432 </dev/null 2>/dev/null | openssl x509 -noout -serial")
			if !strings.EqualFold(strings.TrimLeft(strings.TrimSpace(strings.TrimPrefix(out, "serial=")), "0"), want) {
				return fmt.Errorf("it serves %q, want %s; errors %q", out, want, errs)
			}
			return nil
		})
	})
	t.Run("nginx keeps serving through 30 renewals", func(t *testing.T) { renewUnderLoad(t, s, ca, client) })
}

// documented holds docker-compose.yml against what Seed made: mounts and arguments.
func documented(t *testing.T, s SeedScenario) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	type service struct{ Command, Volumes []string }
	var want struct{ Services map[string]service }
	if err := yaml.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	got := map[string]service{}
	for _, c := range []Running{s.Web, s.DB, s.Client} {
		state := Inspect(t, c.ID)
		made := service{}
		if c != s.Web {
			made.Command = state.Config.Cmd
		}
		for _, m := range state.HostConfig.Mounts {
			made.Volumes = append(made.Volumes, strings.Replace(m.Source, s.Dir, ".", 1)+":"+m.Target+":ro")
		}
		got[c.Name] = made
	}
	if diff := cmp.Diff(want.Services, got); diff != "" {
		t.Errorf("docker-compose.yml (-) is not what the test bed makes (+):\n%s", diff)
	}
}

// renewUnderLoad swaps the web server's files and sends HUP 30 times while four clients make a new connection for
// every request. None of them may fail, and each certificate must be served.
func renewUnderLoad(t *testing.T, s SeedScenario, ca authority, client tls.Certificate) {
	at := Address(t, s.Web.ID) + ":443"
	ctx, stop := context.WithCancel(t.Context())
	var requests, failed atomic.Int64
	var load sync.WaitGroup
	asking := ca.client(client)
	asking.Transport.(*http.Transport).TLSClientConfig.ServerName = seedWeb
	defer load.Wait()
	defer stop()
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				requests.Add(1)
				if err := get(asking, "https://"+at); err != nil && failed.Add(1) == 1 {
					t.Errorf("first failed request: %v", err)
				}
			}
		})
	}
	for range 30 {
		want := s.web(t, ca)
		Signal(t, s.Web.ID, "HUP")
		Poll(t, 20*time.Second, "the new certificate", func() error {
			if got := served(t, ca, at, seedWeb); got != want {
				return fmt.Errorf("it serves %s, want %s", got, want)
			}
			return nil
		})
	}
	stop()
	load.Wait()
	t.Logf("%d requests, %d failed", requests.Load(), failed.Load())
	if requests.Load() < 100 || failed.Load() > 0 {
		t.Errorf("%d of %d requests failed; want none of at least 100", failed.Load(), requests.Load())
	}
}

func get(client *http.Client, url string) error {
	reply, err := client.Get(url)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", reply.Status, body)
	}
	return nil
}

// web gives the web server a new certificate and returns its serial.
func (s SeedScenario) web(t *testing.T, ca authority) string {
	t.Helper()
	c := ca.issue(t, seedWeb, x509.ExtKeyUsageServerAuth)
	swap(t, filepath.Join(s.Dir, "certs/web"), ca.files(t, c, "server-cert.pem", "server-key.pem", "ca-cert.pem"), 0, 0)
	return c.Leaf.SerialNumber.Text(16)
}

// db gives the database a new certificate, in its volume, and returns its serial.
func (s SeedScenario) db(t *testing.T, ca authority) string {
	t.Helper()
	volume, err := Engine(t).VolumeInspect(t.Context(), s.Volume)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.issue(t, seedDB, x509.ExtKeyUsageServerAuth)
	swap(t, volume.Mountpoint, ca.files(t, c, "cert.pem", "key.pem", "ca.pem"), 999, 999)
	return c.Leaf.SerialNumber.Text(16)
}

// swap puts files into dir as one unit: a new directory, then one rename of the link ..data that all names go through.
func swap(t *testing.T, dir string, files map[string][]byte, uid, gid int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	generation, err := os.MkdirTemp(dir, "..")
	must(err)
	must(os.Chmod(generation, 0o755))
	for name, data := range files {
		at := filepath.Join(generation, name)
		must(os.WriteFile(at, data, 0o600))
		must(os.Chown(at, uid, gid))
		if err := os.Symlink("..data/"+name, filepath.Join(dir, name)); !errors.Is(err, fs.ErrExist) {
			must(err)
		}
	}
	must(os.Symlink(filepath.Base(generation), filepath.Join(dir, "..new")))
	must(os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
}
