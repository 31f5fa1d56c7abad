package dockertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Login is how to log in to a host.
type Login struct {
	Config     string // a configuration of ssh
	KnownHosts string // the file where ssh looks for the key of the host
	Dir        string // holds a command named ssh that uses Config
}

// SSH starts a server of OpenSSH on the machine of a host, at its address and port 22, that lets root in with a key made for
// it. It ends with the test.
func (h Host) SSH(t testing.TB) Login {
	t.Helper()
	Servers(t, "sshd", "ssh", "ssh-keygen")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	l := Login{Config: at("ssh_config"), KnownHosts: at("known_hosts"), Dir: at("bin")}
	for _, key := range []string{"host", "user"} {
		command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at(key))
	}
	hostKey, err := os.ReadFile(at("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sshd_config": fmt.Sprintf("ListenAddress %s:22\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n",
			h.Address, at("host"), at("user.pub")),
		"ssh_config":  fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nUserKnownHostsFile %s\nStrictHostKeyChecking yes\nBatchMode yes\n", at("user"), l.KnownHosts),
		"known_hosts": h.Address + " " + string(hostKey),
		"bin/ssh":     fmt.Sprintf("#!/bin/sh\nexec %s -F %s \"$@\"\n", program("ssh"), l.Config),
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// /run is the machine's own, and goes with it. Root's home is empty: what somebody runs at each login may keep the next one waiting.
	sshd := exec.Command("nsenter", "--target", fmt.Sprint(h.machine.process.Process.Pid), "--mount", "--uts", "--net", "--pid", "unshare", "--mount", "sh", "-c",
		"mkdir -p /run/sshd && mount -t tmpfs tmpfs /root && exec "+program("sshd")+" -D -e -f "+at("sshd_config"))
	sshd.Stderr = h.machine.output
	if err := sshd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sshd.Process.Kill()
		_ = sshd.Wait()
	})
	Poll(t, Patience, "sshd to answer", func() error {
		conn, err := h.Dial(t.Context(), h.Address+":22")
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return l
}
