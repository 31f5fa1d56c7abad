package main

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/dockerd"
	"github.com/certwright/certwright/providers/files"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/reconcile"
)

// contractEnv has TestEngineContract run on the machine of the dockerd that it is about.
const contractEnv = "CERTWRIGHT_TEST_ENGINE_CONTRACT"

// TestEngineContract holds the dockerd of a machine with systemd to what the one in memory is held to.
func TestEngineContract(t *testing.T) {
	if os.Getenv(contractEnv) != "" {
		contract.DaemonsContract(t, thisEngine(t))
		return
	}
	t.Parallel()
	m := engineOf(t, "\n  \"hosts\": [\"unix:///run/docker.sock\"],", "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.run(contractEnv + "=1 " + self + " -test.run '^TestEngineContract$' -test.v 2>&1")
	note(out)
	if err != nil || strings.Count(out, "--- PASS: TestEngineContract/") < 7 {
		t.Fatalf("%v\n%s", err, out)
	}
	m.disarmed("in the end")
}

// thisEngine is the dockerd of this machine, which is one of a test.
func thisEngine(t *testing.T) contract.Dockerd {
	t.Helper()
	if _, err := os.Stat("/run/starts"); err != nil {
		t.Fatalf("it is for a machine of its own: %v", err)
	}
	var around reconcile.Around
	on := disk.Disk{Around: func(what string, do func() error) error { return around.Do(what, do) }}
	return contract.Dockerd{
		Daemons: dockerd.Machine{Disk: on},
		Places:  &files.Local{Disk: disk.Disk{}, Rand: rand.Reader, Now: time.Now},
		Around:  func(a reconcile.Around) { around = a },
		Restarts: func() int {
			starts, err := os.ReadFile("/run/starts")
			if err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(starts), "\n")
		},
		Back: func() {
			units := func(kind string) []string {
				out, err := exec.Command("systemctl", "list-units", "--no-legend", "--plain", "certwright-engine-rollback-*."+kind).Output()
				if err != nil {
					t.Fatal(err)
				}
				return strings.Fields(string(out))
			}
			timer := units("timer")
			if len(timer) == 0 {
				return
			}
			if out, err := exec.Command("systemctl", "start", strings.TrimSuffix(timer[0], ".timer")+".service").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			dockertest.Poll(t, time.Minute, "it to go back", func() error {
				if at := units("service"); len(at) > 0 {
					return errors.New(strings.Join(at, " "))
				}
				return nil
			})
			if out, err := exec.Command("systemctl", "stop", timer[0]).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		},
	}
}
