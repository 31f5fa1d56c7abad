package truststore

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// nss is an NSS database, by its directory. It is read and written by certutil, which knows its locks (certutil(1)).
type nss struct{ dir string }

const (
	nssLayout = "nss"
	// trusted says of a certificate that it may issue those of servers.
	trusted = "C,,"
)

func findNSS(ctx context.Context, c Container, dir string) (store, manifest, error) {
	there, err := c.Has(ctx, path.Join(dir, "cert9.db"))
	switch {
	case err != nil:
		return nil, manifest{}, err
	case !there:
		return nil, manifest{}, fmt.Errorf("there is no NSS database in %s (no cert9.db): let the program make it, or `certutil -N -d sql:%s --empty-password`", dir, dir)
	}
	for _, bin := range binaries {
		if there, err = c.Has(ctx, path.Join(bin, "certutil")); err != nil || there {
			return nss{dir}, manifest{Layout: nssLayout}, err
		}
	}
	return nil, manifest{}, fmt.Errorf("it has no certutil to change its NSS database with: add libnss3-tools (Debian) or nss-tools (Fedora, Alpine) to its image")
}

func (n nss) certutil(ctx context.Context, c Container, args ...string) (string, error) {
	said, err := c.Run(ctx, append([]string{"certutil", "-d", "sql:" + n.dir}, args...)...)
	if err != nil {
		return said, fmt.Errorf("certutil %s in %s: %w", args[0], n.dir, err)
	}
	return said, nil
}

// has lists the database once, and asks for the certificates of the nicknames that are ours.
func (n nss) has(ctx context.Context, c Container, roots []root) ([]root, error) {
	said, err := n.certutil(ctx, c, "-L")
	if err != nil {
		return nil, err
	}
	listed := nicknames(said)
	var all []root
	for _, r := range roots {
		if listed[r.Name] != trusted {
			continue
		}
		said, err := n.certutil(ctx, c, "-L", "-n", r.Name, "-a")
		if err != nil {
			return nil, err
		}
		all = append(all, among([]root{r}, []byte(said))...)
	}
	return all, nil
}

// flagged is how a line of `certutil -L` ends: in the trust flags of the nickname before.
var flagged = regexp.MustCompile(`^(.*\S)\s+([a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*)\s*$`)

// nicknames are those in what `certutil -L` prints, with their trust flags.
func nicknames(listed string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(listed) {
		if m := flagged.FindStringSubmatch(line); m != nil {
			all[m[1]] = m[2]
		}
	}
	return all
}

// under is the nickname that a root has in the database and that is not ours, "" if it has none. NSS gives a certificate one
// nickname, and adding it again would change the flags that somebody else gave it.
func (n nss) under(ctx context.Context, c Container, r root, listed map[string]string) (string, error) {
	for name := range listed {
		if name == r.Name {
			continue
		}
		said, err := n.certutil(ctx, c, "-L", "-n", name, "-a")
		if err != nil {
			return "", err
		}
		if len(among([]root{r}, []byte(said))) > 0 {
			return name, nil
		}
	}
	return "", nil
}

func (n nss) change(ctx context.Context, c Container, add, remove []root) error {
	said, err := n.certutil(ctx, c, "-L")
	if err != nil {
		return err
	}
	listed := nicknames(said)
	there, err := n.has(ctx, c, add)
	if err != nil {
		return err
	}
	for _, r := range add {
		if len(among([]root{r}, encode(there))) > 0 {
			continue
		}
		switch name, err := n.under(ctx, c, r, listed); {
		case err != nil:
			return err
		case name != "":
			return fmt.Errorf("a root is in the NSS database %s already, as %q, which is not certwright's: leave that one, and drop the binding, or delete it (`certutil -D`)", n.dir, name)
		}
		file := path.Join(state, r.Name+".crt")
		if err := c.Put(ctx, File{Path: file, Data: encode([]root{r}), Mode: 0o644}); err != nil {
			return err
		}
		_, err := n.certutil(ctx, c, "-A", "-n", r.Name, "-t", trusted, "-i", file)
		_, _ = c.Run(ctx, "rm", "-f", file) // what stays is a root, which is public
		if err != nil {
			return err
		}
	}
	for _, r := range remove {
		if _, is := listed[r.Name]; !is {
			continue
		}
		if _, err := n.certutil(ctx, c, "-D", "-n", r.Name); err != nil {
			return err
		}
	}
	return nil
}
