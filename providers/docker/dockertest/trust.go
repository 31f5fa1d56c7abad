package dockertest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mozilla are a few roots of Debian's, as those of an image, in the order that tools have them in.
var mozilla = []string{"DigiCert_Global_Root_G2", "GlobalSign_Root_CA_-_R3", "ISRG_Root_X1"}

// client is an image of which curl, and whoever else has OpenSSL, reads the roots of bundle.
func (r rootfs) client(release, bundle string) {
	r.shell()
	r.programs("/usr/bin", "curl", "openssl")
	r.file("/etc/ssl/openssl.cnf", 0o644, nil)
	if release != "" {
		r.file("/etc/os-release", 0o644, []byte(release))
	}
	var roots []byte
	for _, name := range mozilla {
		roots = append(roots, r.mozilla(name)...)
	}
	r.file(bundle, 0o644, roots)
	if debian := "/etc/ssl/certs/ca-certificates.crt"; bundle != debian {
		r.nodes[debian] = node{mode: 0o777 | os.ModeSymlink, link: bundle} // where curl of Debian looks
	}
}

func (r rootfs) mozilla(name string) []byte {
	r.t.Helper()
	data, err := os.ReadFile("/usr/share/ca-certificates/mozilla/" + name + ".crt")
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
	return data
}

func debian(r rootfs) []string {
	r.client("ID=debian\n", "/etc/ssl/certs/ca-certificates.crt")
	Servers(r.t, "update-ca-certificates")
	r.programs("/bin", "rm", "mv", "ln")
	r.copy("/usr/sbin/update-ca-certificates", "/usr/sbin/update-ca-certificates")
	r.programs("/usr/bin", "find", "readlink", "sed", "mktemp", "sort", "wc", "basename", "test", "run-parts")
	r.dir("/usr/local/share/ca-certificates", 0o755, 0)
	list := ""
	for _, name := range mozilla {
		r.file("/usr/share/ca-certificates/mozilla/"+name+".crt", 0o644, r.mozilla(name))
		list += "mozilla/" + name + ".crt\n"
	}
	r.file("/etc/ca-certificates.conf", 0o644, []byte(list))
	return asleep()
}

func asleep() []string { return []string{searchPath, `CMD ["sleep", "infinity"]`} }

// extracting is an image whose bundle p11-kit's trust(1) makes of the roots that came with it and of those in anchors. tool is the
// script of a distribution around that, whose own makes more bundles than the one for servers.
func extracting(release, anchors, bundle, tool string) func(rootfs) []string {
	return func(r rootfs) []string {
		r.client(release, bundle)
		Servers(r.t, "trust")
		r.programs("/bin", "rm", "mv")
		r.programs("/usr/bin", "trust")
		const modules = "/usr/lib/x86_64-linux-gnu/pkcs11/" // where libp11-kit looks for them
		r.elf(modules+"p11-kit-trust.so", modules+"p11-kit-trust.so")
		r.file("/usr/share/p11-kit/modules/p11-kit-trust.module", 0o644, fmt.Appendf(nil, "module: p11-kit-trust.so\ntrust-policy: yes\nx-init-reserved: paths=/usr/share/roots:%s\n", path.Dir(anchors)))
		r.dir(anchors, 0o755, 0)
		for _, name := range mozilla {
			r.file("/usr/share/roots/anchors/"+name+".pem", 0o644, r.mozilla(name))
		}
		r.file(tool, 0o755, fmt.Appendf(nil, "#!/bin/sh\nexec trust extract --format=pem-bundle --filter=ca-anchors --overwrite --purpose server-auth %s\n", bundle))
		return asleep()
	}
}

// bundleOnly is an image that somebody put a bundle into, and nothing that makes one: it has neither
// rm nor mv.
func bundleOnly(r rootfs) []string {
	r.client("", "/etc/ssl/certs/ca-certificates.crt")
	r.nodes["/etc/ssl/cert.pem"] = node{mode: 0o777 | os.ModeSymlink, link: "certs/ca-certificates.crt"}
	return asleep()
}

// java is a JVM with what keytool needs, and the cacerts it came with.
func java(r rootfs) []string {
	Servers(r.t, "keytool")
	r.shell()
	bin, err := filepath.EvalSymlinks(program("keytool"))
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
	home := filepath.Dir(filepath.Dir(bin))
	for _, name := range []string{"java", "keytool"} {
		r.elf(filepath.Join(home, "bin", name), filepath.Join(home, "bin", name))
	}
	r.threads()
	r.below(filepath.Join(home, "lib"), "src.zip", "ct.sym")
	r.below(filepath.Join(home, "conf"))
	r.copy("/etc/ssl/certs/java/cacerts", "/etc/ssl/certs/java/cacerts")
	r.nodes[filepath.Join(home, "lib/security/cacerts")] = node{mode: 0o777 | os.ModeSymlink, link: "/etc/ssl/certs/java/cacerts"}
	return []string{searchPath + ":" + home + "/bin", "ENV JAVA_HOME=" + home, `CMD ["sleep", "infinity"]`}
}

// below brings the files below a directory, where links lead to as well, with what libraries there need.
func (r rootfs) below(dir string, skip ...string) {
	r.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		r.t.Fatalf("image: %v", err)
	}
next:
	for _, e := range entries {
		for _, s := range skip {
			if e.Name() == s {
				continue next
			}
		}
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		switch {
		case err != nil: // it leads to what is not installed
		case info.IsDir():
			r.below(name, skip...)
		case strings.HasSuffix(name, ".so"):
			r.elf(name, name)
		default:
			r.copy(name, name)
		}
	}
}

// nssTools is an image with the tools of NSS, a database, and a client of it.
func nssTools(r rootfs) []string {
	r.shell()
	r.programs("/bin", "rm")
	r.programs("/usr/bin", "certutil", "tstclnt")
	found, _ := filepath.Glob("/usr/lib/*/libsoftokn3.so")
	if len(found) == 0 {
		r.t.Fatal("image: there is no libsoftokn3.so")
	}
	for _, name := range []string{"libsoftokn3.so", "libfreebl3.so", "libfreeblpriv3.so", "libnssckbi.so"} {
		library := filepath.Join(filepath.Dir(found[0]), name)
		r.elf(library, library)
	}
	r.dir("/etc/pki", 0o755, 0)
	r.dir("/etc/pki/nssdb", 0o755, 0)
	return []string{searchPath, `CMD ["sh", "-c", "certutil -N -d sql:/etc/pki/nssdb --empty-password && exec sleep infinity"]`}
}
