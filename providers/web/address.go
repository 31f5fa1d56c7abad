package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// ErrPublic says that others could reach an address.
var ErrPublic = errors.New("others can reach it")

// Listen opens an address: unix:PATH, a socket for its owner alone, or HOST:PORT. One that others can reach is ErrPublic,
// unless it is meant to be public.
func Listen(address string, public bool) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(path)
	}
	var at *net.TCPAddr
	_, _, err := net.SplitHostPort(address)
	if err == nil {
		at, err = net.ResolveTCPAddr("tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("it is unix:PATH or HOST:PORT: %w", err)
	}
	if !loopback(at) && !public {
		return nil, fmt.Errorf("%s is no loopback address: %w", address, ErrPublic)
	}
	return net.ListenTCP("tcp", at)
}

// listenUnix makes the socket. One that a killed process left is taken away; one that is answered is not.
func listenUnix(path string) (net.Listener, error) {
	if path == "" || path[0] == '@' {
		return nil, errors.New("a socket without a path has no owner and no mode: everybody could reach it")
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there, and is no socket", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("somebody else listens at %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	defer syscall.Umask(syscall.Umask(0o177)) // the mode is right from the first moment on
	return net.Listen("unix", path)
}

func loopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// cause is why a request failed, without its method and URL, which nobody asked for.
func cause(err error) error {
	var why *url.Error
	if errors.As(err, &why) {
		return why.Err
	}
	return err
}

// Ask asks the watch at an address whether it is alive, and returns what it says; the error says why it is not.
func Ask(ctx context.Context, address string) (string, error) {
	network, at, host := "tcp", address, address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, at, host = "unix", path, "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/healthz", nil)
	if err != nil {
		return "", fmt.Errorf("%q is no address: unix:PATH or HOST:PORT", address)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("nobody answers at %s: %w", address, cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", err
	}
	said := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(body))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(said)
	}
	return said, nil
}
