package docker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const redisPassword = "correct horse"

// TestRedis makes a real Redis take a new pair over its own protocol, and sees what it serves.
func TestRedis(t *testing.T) {
	dockertest.Servers(t, "redis-server")
	e, _ := engine(t, func(o *Options) {
		o.Secret = func(s spec.Source) ([]byte, error) {
			if s.Env == "" {
				return nil, errors.New("there is none")
			}
			return []byte(s.Env + "\n"), nil
		}
	})
	ca, dir := newAuthority(t), t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	soonOver := time.Now().Add(-time.Minute) // what it serves has expired already
	first := ca.issue(t, 1, soonOver)
	ca.lay(t, dir, first, first, 999)
	made := dockertest.Run(t, dockertest.Container{
		Image: dockertest.Image(t, dockertest.Redis), Name: "redis", Start: true,
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: dir, Target: "/certs"}},
		Cmd: []string{
			"--port", "0", "--tls-port", "6379", "--tls-cert-file", "/certs/cert.pem", "--tls-key-file", "/certs/key.pem",
			"--tls-ca-cert-file", "/certs/ca.pem", "--tls-auth-clients", "yes", "--requirepass", redisPassword,
		},
	})
	client := ca.issue(t, 9, time.Now().Add(time.Hour))
	env := reconcile.ReloadEnv{Container: find(t, e, made.ID), Port: 6379, Client: &client, Roots: [][]byte{ca.root.Raw}, ServerName: "redis"}
	target := reconcile.Target{Host: "local", Name: made.Name, ID: made.ID}
	dockertest.Poll(t, 10*time.Second, "redis", func() error { _, err := servedSerial(env); return err })
	reload := func(how spec.Reload, env reconcile.ReloadEnv) error {
		how.Preset = "redis"
		return e.Reload(soon(t), target, how, env)
	}
	password := &spec.Source{Env: redisPassword}
	serves := func(want string) {
		t.Helper()
		if got, err := servedSerial(env); err != nil || got != want {
			t.Errorf("serves %s, want %s: %v", got, want, err)
		}
	}

	second, third := ca.issue(t, 2, time.Now().Add(time.Hour)), ca.issue(t, 3, time.Now().Add(time.Hour))
	ca.lay(t, dir, second, second, 999)
	serves("1")
	expect(t, reload(spec.Reload{Username: "default", Password: password}, env), "")
	serves("2")
	ca.lay(t, dir, third, second, 999)
	expect(t, reload(spec.Reload{Password: password}, env), "Unable to update TLS configuration")
	serves("2")
	ca.lay(t, dir, third, third, 999)
	expect(t, reload(spec.Reload{}, env), "NOAUTH")
	err := reload(spec.Reload{Password: &spec.Source{Env: "wrong horse"}}, env)
	expect(t, err, "the server refused the username or password")
	if strings.Contains(err.Error(), "wrong horse") {
		t.Error("the password is in the error")
	}
	expect(t, reload(spec.Reload{Password: &spec.Source{}}, env), "password: there is none")
	stranger := env
	stranger.Roots = [][]byte{newAuthority(t).root.Raw}
	expect(t, reload(spec.Reload{Password: password}, stranger), "certificate signed by unknown authority")
	nobody := env
	nobody.Client = nil
	expect(t, reload(spec.Reload{Password: password}, nobody), "no client certificate could be offered")
	serves("2")
	expect(t, reload(spec.Reload{Password: password}, env), "")
	serves("3")
}

// servedSerial makes a handshake, without a client certificate, and looks.
func servedSerial(env reconcile.ReloadEnv) (string, error) {
	conn, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", env.Container.Addresses[0], env.Port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}
