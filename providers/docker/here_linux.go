package docker

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sharesRoot reports whether the process that listens on a unix socket has the root directory that this one has:
// a certwright in a container that was given the engine's socket has another, and paths mean something else
// there. The listener is dockerd, or the service manager that listens for it.
func sharesRoot(address string) bool {
	theirs, err := os.Stat(ofListener(address, "root")) // proc_pid_root(5)
	if err != nil {
		return false
	}
	ours, err := os.Stat("/")
	return err == nil && os.SameFile(ours, theirs)
}

// hasOwnNetwork reports whether the process that listens on a unix socket is in another network than this one. Where that
// cannot be seen, as by a user without rights, it is taken to be in the same.
func hasOwnNetwork(address string) bool {
	theirs, err := os.Stat(ofListener(address, "ns/net")) // network_namespaces(7)
	if err != nil {
		return false
	}
	ours, err := os.Stat("/proc/self/ns/net")
	return err == nil && !os.SameFile(ours, theirs)
}

// ofListener names a file of /proc about the process that listens on a unix socket, or is "".
func ofListener(address, file string) string {
	conn, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
	if err != nil {
		return ""
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return ""
	}
	var peer *unix.Ucred
	err = raw.Control(func(fd uintptr) { peer, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || peer == nil || peer.Pid == 0 { // 0: a process of an outer pid namespace
		return ""
	}
	return filepath.Join("/proc", strconv.Itoa(int(peer.Pid)), file)
}
