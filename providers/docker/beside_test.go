package docker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/reconcile"
)

func TestNetworkID(t *testing.T) {
	id := strings.Repeat("0a", 32)
	const host = "23 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n30 1 8:1 /srv/containers/x /etc/hosts rw - ext4 /dev/sda1 rw\n"
	for name, row := range map[string]struct{ info, want string }{
		"no container":        {host, ""},
		"one":                 {host + "734 722 254:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n", id},
		"another data root":   {"734 722 254:1 /docker/containers/" + id + "/hosts /etc/hosts rw - ext4 /dev/vda rw\n", id},
		"the machine's own":   {"734 722 254:1 /var/lib/docker/containers/" + id + "/mounts/shm /dev/shm rw - ext4 /dev/vda rw\n", ""},
		"an id cut too short": {"734 722 254:1 /var/lib/docker/containers/" + id[2:] + "/hosts /etc/hosts rw - ext4 /dev/vda rw\n", ""},
	} {
		if got := networkID([]byte(row.info)); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}

// TestInOurs sees mounts of another container through one of ours.
func TestInOurs(t *testing.T) {
	volume := func(name, at string) reconcile.Mount {
		return reconcile.Mount{Type: "volume", Name: name, Source: "/x", Destination: at}
	}
	bind := func(source, at string) reconcile.Mount {
		return reconcile.Mount{Type: "bind", Source: source, Destination: at}
	}
	for name, row := range map[string]struct {
		own, other reconcile.Mount
		want       *reconcile.Mount
	}{
		"the same volume":      {volume("certs", "/certs"), volume("certs", "/etc/nginx/certs"), &reconcile.Mount{Type: "bind", Source: "/certs", Destination: "/etc/nginx/certs"}},
		"another volume":       {volume("certs", "/certs"), volume("other", "/certs"), nil},
		"a volume and a bind":  {volume("certs", "/certs"), bind("/x", "/certs"), nil},
		"the same directory":   {bind("/srv/certs", "/c"), bind("/srv/certs/", "/d"), &reconcile.Mount{Type: "bind", Source: "/c", Destination: "/d"}},
		"one below ours":       {bind("/srv", "/c"), bind("/srv/certs/web", "/d"), &reconcile.Mount{Type: "bind", Source: "/c/certs/web", Destination: "/d"}},
		"one above ours":       {bind("/srv/certs/web", "/c"), bind("/srv", "/d"), &reconcile.Mount{Type: "bind", Source: "/c", Destination: "/d/certs/web"}},
		"one beside ours":      {bind("/srv/certs", "/c"), bind("/srv/certs-old", "/d"), nil},
		"all of the machine":   {bind("/", "/host"), bind("/srv/certs", "/d"), &reconcile.Mount{Type: "bind", Source: "/host/srv/certs", Destination: "/d"}},
		"what is in no volume": {reconcile.Mount{Type: "tmpfs", Destination: "/c"}, reconcile.Mount{Type: "tmpfs", Destination: "/c"}, nil},
	} {
		got, same := inOurs(row.own, row.other)
		if same != (row.want != nil) {
			t.Errorf("%s: the same is %t", name, same)
		} else if same {
			if diff := cmp.Diff(*row.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestOwnContainer finds the container that certwright is in by its mounts, where several are in one network.
func TestOwnContainer(t *testing.T) {
	first, second := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	info := "734 722 254:1 /var/lib/docker/containers/" + first + "/hosts /etc/hosts rw - ext4 /dev/vda rw\n735 722 254:1 /x /certs rw - ext4 /dev/vda rw\n"
	with := func(id string, at ...string) reconcile.Container {
		c := reconcile.Container{ID: id}
		for _, a := range at {
			c.Mounts = append(c.Mounts, reconcile.Mount{Type: "volume", Destination: a})
		}
		return c
	}
	network := func(id string) string {
		if id == second {
			return "container:" + first
		}
		return "bridge"
	}
	for name, row := range map[string]struct {
		all  []reconcile.Container
		want string
	}{
		"its own network":        {[]reconcile.Container{with(first, "/certs"), with("other", "/certs")}, first},
		"another's network":      {[]reconcile.Container{with(first, "/data"), with(second, "/certs")}, second},
		"in doubt":               {[]reconcile.Container{with(first, "/certs"), with(second, "/certs")}, ""},
		"of an engine elsewhere": {[]reconcile.Container{with("other", "/certs")}, ""},
		"none with these mounts": {[]reconcile.Container{with(first, "/data")}, ""},
	} {
		got := ""
		if own := ownContainer([]byte(info), row.all, network); own != nil {
			got = own.ID
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}
