package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// soaked is a server of the soak, and what its clients saw of it.
type soaked struct {
	s     *soak
	name  string // of its container, its identity and its binding
	port  int
	id    string
	certs string // the directory of its binding
	clients
}

// serve creates the container of a server, which starts when its engine does: always, since an engine that ends takes one
// of twenty containers that are to run unless-stopped for stopped (20.10.24).
func (s *soak) serve(name string, port int, kind dockertest.Kind, c container.Config, mounts ...mount.Mount) *soaked {
	s.t.Helper()
	v := &soaked{s: s, name: name, port: port, certs: filepath.Join(s.t.TempDir(), name)}
	if err := os.Mkdir(v.certs, 0o755); err != nil {
		s.t.Fatal(err)
	}
	c.Image = s.m.Image(s.t, kind)
	made, err := s.m.Client.ContainerCreate(s.t.Context(), &c, &container.HostConfig{
		Mounts:        append(mounts, bindMount(v.certs, "/certs")),
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways},
	}, nil, nil, name)
	if err != nil {
		s.t.Fatal(err)
	}
	v.id = made.ID
	return v
}

// start starts the server when its files are there, and then its clients, which trust what is placed there.
func (v *soaked) start() {
	t := v.s.t
	t.Helper()
	roots := x509.NewCertPool()
	dockertest.Poll(t, time.Minute, "the files of "+v.name, func() error {
		_, err := v.placed(roots)
		return err
	})
	v.down()
	if err := v.s.m.Client.ContainerStart(t.Context(), v.id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	v.back()
	v.connect(t, v.s.m, &tls.Config{ServerName: v.name + ".test", RootCAs: roots})
}

// back ends a time in which the server was down, when its container runs and its port takes connections: from then on a
// client has to be served. A server that had to be started twice did not find what it needs.
func (v *soaked) back() {
	v.s.t.Helper()
	var is container.InspectResponse
	address := ""
	dockertest.Poll(v.s.t, time.Minute, v.name+" to be back", func() (err error) {
		ctx, cancel := context.WithTimeout(v.s.t.Context(), time.Second)
		defer cancel()
		if is, err = v.s.m.Client.ContainerInspect(ctx, v.id); err != nil {
			return err
		}
		bridge := is.NetworkSettings.Networks["bridge"]
		if !is.State.Running || bridge == nil {
			return fmt.Errorf("it is %s", is.State.Status)
		}
		address = net.JoinHostPort(bridge.IPAddress, strconv.Itoa(v.port))
		conn, err := v.s.m.Dial(ctx, address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if is.RestartCount > 0 {
		v.s.t.Errorf("%s ended %d times before it ran", v.name, is.RestartCount)
	}
	v.up(address)
}

// placed is the certificate that lies in the server's place, if all there is as it should be. What clients trust is added
// to roots.
func (v *soaked) placed(roots *x509.CertPool) (leaf []byte, err error) {
	for name, mode := range map[string]fs.FileMode{"ca.pem": 0o644, "cert.pem": 0o644, "key.pem": 0o600} {
		info, err := os.Stat(filepath.Join(v.certs, name))
		if err == nil && info.Mode() != mode {
			err = fmt.Errorf("%s has the mode %s", name, info.Mode())
		}
		if err != nil {
			return nil, err
		}
	}
	ca, err := os.ReadFile(filepath.Join(v.certs, "ca.pem"))
	if err == nil && !roots.AppendCertsFromPEM(ca) {
		err = errors.New("ca.pem holds no certificate")
	}
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(v.certs, "cert.pem"), filepath.Join(v.certs, "key.pem"))
	if err != nil {
		return nil, err
	}
	return pair.Certificate[0], nil
}

// settled waits until both servers' files are in order, and clients that come now are shown them.
func (s *soak) settled(what string) {
	s.t.Helper()
	now := time.Now()
	for _, v := range []*soaked{s.nginx, s.server} {
		dockertest.Poll(s.t, 30*time.Second, what+": "+v.name+" to serve what is placed", func() error {
			leaf, err := v.placed(x509.NewCertPool())
			if err != nil {
				return err
			}
			seen := v.saw()
			if seen.Began.Before(now) || !bytes.Equal(seen.Leaf.Raw, leaf) {
				return errors.New("nobody was shown it")
			}
			return nil
		})
	}
}

// judge ends the load, and says what should not have been. The names of its certificate changed so often.
func (v *soaked) judge(lasts time.Duration, renamed int) {
	v.s.t.Helper()
	v.end()
	certificates := len(v.ledger.Serials)
	if least := int(lasts / (soakLife * 3 / 4)); certificates <= least {
		v.s.t.Errorf("%s had %d certificates, want more than %d: they are renewed late", v.name, certificates, least)
	}
	if most := int(v.ledger.Took/(soakLife*6/10)) + 1 + renamed; certificates > most {
		v.s.t.Errorf("%s had %d certificates, want %d at most: they are renewed early", v.name, certificates, most)
	}
}
