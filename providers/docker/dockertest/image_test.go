package dockertest

import (
	"strings"
	"testing"
)

// TestImages runs each image's main program, as the user and with the libraries it will have.
func TestImages(t *testing.T) {
	Engine(t)
	for kind, want := range map[Kind]struct {
		argv []string
		says string
	}{
		Nginx:    {[]string{"nginx", "-V"}, "nginx version"},
		Postgres: {[]string{"postgres", "--version"}, "postgres (PostgreSQL)"},
		Redis:    {[]string{"redis-server", "--version"}, "Redis server v"},
		HAProxy:  {[]string{"haproxy", "-v"}, "HAProxy version"},
		Curl:     {[]string{"sh", "-c", "curl --version && psql --version && openssl version && id -u"}, "100\n"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			image := Image(t, kind)
			if again := makeImage(t, Engine(t), kind); again != image {
				t.Errorf("the same inputs gave %s, then %s", image, again)
			}
			c := Run(t, Container{Image: image, Entrypoint: []string{"sleep", "60"}, Start: true})
			exit, out, errs := Exec(t, c.ID, want.argv...)
			if exit != 0 || !strings.Contains(out+errs, want.says) {
				t.Errorf("%q: exit %d, output %q, errors %q", want.argv, exit, out, errs)
			}
		})
	}
}
