package web_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/web"
)

// TestListen is about addresses: who can reach them, and what is at a path already.
func TestListen(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		if _, err := web.Listen(address, false); !errors.Is(err, web.ErrPublic) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "9000", "127.0.0.1:99999", "unix:", "unix:@certwright"} {
		if l, err := web.Listen(address, true); err == nil {
			t.Errorf("%q: listens at %s", address, l.Addr())
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := web.Listen(address, false)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	l, err := web.Listen("0.0.0.0:0", true)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()

	path := filepath.Join(t.TempDir(), "socket")
	first, err := web.Listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := web.Listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "somebody else listens") {
		t.Errorf("beside another one: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that is killed
	_ = first.Close()
	next, err := web.Listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = next.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := web.Listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("over a file: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

// TestAsk asks one that lives, one that is stuck, and nobody.
func TestAsk(t *testing.T) {
	s := newSite(t)
	if said, err := web.Ask(t.Context(), s.address); err != nil || said != "alive: something moved 0s ago" {
		t.Errorf("%q, %v", said, err)
	}
	s.later(time.Hour)
	if said, err := web.Ask(t.Context(), s.address); err == nil || !strings.HasPrefix(err.Error(), "stuck: ") {
		t.Errorf("%q, %v", said, err)
	}
	for _, address := range []string{"unix:" + filepath.Join(t.TempDir(), "none"), "127.0.0.1:1", "no address", ""} {
		if said, err := web.Ask(t.Context(), address); err == nil {
			t.Errorf("%q: %q", address, said)
		}
	}
}
