package dockertest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
)

// The names of the scenario in testdata/seed, as its tls.yaml and docker-compose.yml have them.
const (
	seedNetwork = "secure-network"
	seedVolume  = "db-certs"
	seedWeb     = "web-service"
	seedDB      = "db-service"
	seedClient  = "api-client"
)

// SeedScenario is the scenario of testdata/seed on the engine: nginx, PostgreSQL and a client of both.
type SeedScenario struct {
	Dir    string // holds tls.yaml; certs/web and certs/client below it are mounted
	Volume string // mounted at /certs of DB
	Web    Running
	DB     Running
	Client Running
}

// Seed lays the files of testdata/seed into dir, an empty directory of the test, and creates its network, volume
// and containers under the names tls.yaml has. Nothing is started: the servers want their certificates first.
// One test of the machine has the scenario at a time, others wait.
func Seed(t testing.TB, dir string) SeedScenario {
	t.Helper()
	laySeed(t, dir)
	nginx, postgres, curl := Image(t, Nginx), Image(t, Postgres), Image(t, Curl)
	for _, name := range []string{seedWeb, seedDB, seedClient} { // of a killed test; they would keep its network
		release := hold(t, "name-"+name)
		removeLeftover(t, Engine(t), name)
		release()
	}
	s := SeedScenario{Dir: dir, Volume: exactVolume(t, seedVolume)}
	exactNetwork(t, seedNetwork)
	s.Web = Run(t, Container{
		Name: seedWeb, Exact: true, Image: nginx, Network: seedNetwork,
		Restart: container.RestartPolicyUnlessStopped,
		Mounts:  []mount.Mount{bind(dir, "nginx.conf", "/etc/nginx/conf.d/default.conf"), bind(dir, "certs/web", "/etc/nginx/certs")},
	})
	s.DB = Run(t, Container{
		Name: seedDB, Exact: true, Image: postgres, Network: seedNetwork, StopSignal: "SIGINT",
		Restart: container.RestartPolicyUnlessStopped,
		Env:     []string{"POSTGRES_DB=myapp", "POSTGRES_USER=" + seedClient},
		Cmd: []string{
			"postgres", "-c", "hba_file=/etc/postgresql/pg_hba.conf", "-c", "ssl=on",
			"-c", "ssl_ca_file=/certs/ca.pem", "-c", "ssl_cert_file=/certs/cert.pem", "-c", "ssl_key_file=/certs/key.pem",
		},
		Mounts: []mount.Mount{
			bind(dir, "pg_hba.conf", "/etc/postgresql/pg_hba.conf"),
			{Type: mount.TypeVolume, Source: seedVolume, Target: "/certs", ReadOnly: true},
		},
	})
	s.Client = Run(t, Container{
		Name: seedClient, Exact: true, Image: curl, Network: seedNetwork,
		Mounts: []mount.Mount{bind(dir, "certs/client", "/certs")},
	})
	return s
}

// Start starts the three containers and waits until both servers take connections.
func (s SeedScenario) Start(t testing.TB) {
	t.Helper()
	for _, c := range []Running{s.DB, s.Web, s.Client} {
		Start(t, c.ID)
	}
	for c, port := range map[Running]string{s.DB: "5432", s.Web: "443"} {
		Poll(t, Patience, c.Name+" to listen", func() error {
			state := Inspect(t, c.ID)
			if state.RestartCount > 0 {
				t.Fatalf("%s ended with %d when it was started", c.Name, state.State.ExitCode)
			}
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(Address(t, c.ID), port), 5*time.Second)
			if err != nil {
				return err
			}
			return conn.Close()
		})
	}
}

// CurlWithClient asks the web server as the client, with its certificate. stdout is the body, a line break, and the
// HTTP status.
func (s SeedScenario) CurlWithClient(t testing.TB) (exit int, stdout, stderr string) {
	t.Helper()
	return s.curl(t, "--cert", "/certs/cert.pem", "--key", "/certs/key.pem")
}

// CurlWithout asks as CurlWithClient does, but shows no certificate.
func (s SeedScenario) CurlWithout(t testing.TB) (exit int, stdout, stderr string) {
	t.Helper()
	return s.curl(t)
}

func (s SeedScenario) curl(t testing.TB, more ...string) (exit int, stdout, stderr string) {
	t.Helper()
	argv := []string{"curl", "-sS", "--max-time", "10", "--cacert", "/certs/ca.pem", "-w", `\n%{http_code}`}
	return Exec(t, s.Client.ID, append(append(argv, more...), "https://"+seedWeb+"/")...)
}

// Psql logs in to the database as the client, with its certificate. stdout is the role and a line break.
func (s SeedScenario) Psql(t testing.TB) (exit int, stdout, stderr string) {
	t.Helper()
	return s.psql(t, "sslcert=/certs/cert.pem sslkey=/certs/key.pem")
}

// PsqlWithout tries to log in as Psql does, but shows no certificate.
func (s SeedScenario) PsqlWithout(t testing.TB) (exit int, stdout, stderr string) {
	t.Helper()
	return s.psql(t, "")
}

func (s SeedScenario) psql(t testing.TB, more string) (exit int, stdout, stderr string) {
	t.Helper()
	to := fmt.Sprintf("host=%s dbname=myapp user=%s connect_timeout=10 sslmode=verify-full sslrootcert=/certs/ca.pem %s", seedDB, seedClient, more)
	return Exec(t, s.Client.ID, "psql", "-X", "-A", "-t", "-c", "select current_user", to)
}

// laySeed copies testdata/seed of this module and makes the directories that are mounted.
func laySeed(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(moduleRoot(t), "testdata", "seed"))); err != nil {
		t.Fatalf("lay the seed scenario: %v", err)
	}
	for _, sub := range []string{"certs/web", "certs/client"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// moduleRoot is the directory of go.mod: tests run in the directory of their package.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// bind mounts what is at sub below dir, for reading.
func bind(dir, sub, target string) mount.Mount {
	return mount.Mount{Type: mount.TypeBind, Source: filepath.Join(dir, sub), Target: target, ReadOnly: true}
}

// exactNetwork makes a network of that name, in the place of one that a killed test left.
func exactNetwork(t testing.TB, name string) {
	t.Helper()
	objectName(t, "network-"+name, true)
	cli := Engine(t)
	there, err := cli.NetworkInspect(t.Context(), name, network.InspectOptions{})
	if err == nil {
		mustBeOurs(t, "network "+name, there.Labels)
		err = cli.NetworkRemove(t.Context(), there.ID)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatalf("make room for network %s: %v", name, err)
	}
	makeNetwork(t, name)
}

// exactVolume makes a volume of that name, in the place of one that a killed test left.
func exactVolume(t testing.TB, name string) string {
	t.Helper()
	objectName(t, "volume-"+name, true)
	cli := Engine(t)
	there, err := cli.VolumeInspect(t.Context(), name)
	if err == nil {
		mustBeOurs(t, "volume "+name, there.Labels)
		err = cli.VolumeRemove(t.Context(), name, false)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		t.Fatalf("make room for volume %s: %v", name, err)
	}
	return makeVolume(t, name)
}
