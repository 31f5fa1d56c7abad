package truststore

import (
	"context"
	"fmt"
	"path"
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
	listed, err := n.certutil(ctx, c, "-L")
	if err != nil {
		return nil, err
	}
	var all []root
	for _, r := range roots {
		if flags, there := listing(listed, r.Name); !there || flags != trusted {
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

// listing finds the trust flags of a nickname in what `certutil -L` prints.
func listing(listed, name string) (flags string, there bool) {
	for line := range strings.Lines(listed) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == name {
			return words[1], true
		}
	}
	return "", false
}

func (n nss) change(ctx context.Context, c Container, add, remove []root) error {
	listed, err := n.certutil(ctx, c, "-L")
	if err != nil {
		return err
	}
	there, err := n.has(ctx, c, add)
	if err != nil {
		return err
	}
	for _, r := range add {
		if len(among([]root{r}, encode(there))) > 0 {
			continue
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
		if _, is := listing(listed, r.Name); !is {
			continue
		}
		if _, err := n.certutil(ctx, c, "-D", "-n", r.Name); err != nil {
			return err
		}
	}
	there, err = n.has(ctx, c, add)
	if err == nil && len(there) < len(add) {
		// NSS has one nickname for a certificate: it is there under that of somebody else.
		return fmt.Errorf("a root is in the NSS database %s already, under a nickname that is not certwright's: `certutil -L -d sql:%s` shows which", n.dir, n.dir)
	}
	return err
}
